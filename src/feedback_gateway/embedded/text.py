"""Reading user text: cleaning, sentences and clauses with their spans, words; knows nothing of tasks.

Every span is a piece of the original text, so that a quote is verbatim by construction.
"""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

READ_CHARACTERS = 20_000
"""What is read of one text; the rest of a longer one is ignored."""
EMBED_CHARACTERS = 480
"""What an embedder reads of one text: its beginning carries the subject, and the time stays bounded."""
QUOTE_CHARACTERS = 240
"""Longest quote given as evidence."""

_CONTROL = "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\u202a-\u202e\u2066-\u2069\ufffd"
_UNREADABLE = re.compile(f"[{_CONTROL}\u200b\ufeff]+")
_MARKUP = re.compile(r"<[^<>]{1,200}>")
_LINK = re.compile(r"(?:https?://|www\.)\S+")
_HANDLE = re.compile(r"(?<![\w.])@\w+")
_TAG = re.compile(r"#(\w+)")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|_")
_SPACE = re.compile(r"\s+")
_EDGE = re.compile(r"(?:\s|(?<![\w.])@\w+(?![\w'’])|(?:https?://|www\.)\S+|#\w+|[-–—:,;|>*\"“”])+")  # noqa: RUF001
_BREAK = re.compile(
    "[.!?…。！？]+[\"'”’)]*(?=\\s|$)|[。！？]|\\n+|<[^<>]{1,200}>"  # noqa: RUF001 full stops of other scripts
    f"|[{_CONTROL}]+",
)
_CLAUSE = re.compile(
    r"[;:]\s|,\s(?=but|however|though|although|yet|while|aber|mais|pero)|\s(?=(?:but|however|although|though)\s)|\s[-–—]+\s",  # noqa: RUF001
    re.IGNORECASE,
)
_WORD = re.compile(r"\w+(?:['’]\w+)?")  # noqa: RUF001


@dataclass(frozen=True)
class Span:
    """A verbatim piece of a text; `start` counts code points."""

    start: int
    text: str

    @cached_property
    def words(self) -> tuple[str, ...]:
        """Its words in lower case."""
        return words(self.text)


def words(text: str) -> tuple[str, ...]:
    """Words in lower case, apostrophes straight."""
    return tuple(word.lower().replace("’", "'") for word in _WORD.findall(text))  # noqa: RUF001


def clean(text: str) -> str:
    """Prose of `text` without markup, links, handles and what cannot be printed; hashtags become words."""
    text = _UNREADABLE.sub(" ", text[:READ_CHARACTERS])
    text = html.unescape(_MARKUP.sub(" ", text))
    text = _UNREADABLE.sub(" ", text)
    text = _HANDLE.sub(" ", _LINK.sub(" ", text))
    text = _TAG.sub(lambda tag: _HUMP.sub(" ", tag[1]), text)
    return _SPACE.sub(" ", text).strip()


def sentences(text: str) -> list[Span]:
    """Sentences and lines of `text`, trimmed of surrounding handles, links and dashes."""
    return [span for span in _split(text[:READ_CHARACTERS], _BREAK, keep_mark=True) if span.text]


def clauses(sentence: Span) -> list[Span]:
    """Clauses of one sentence, cut where a contrast or a new thought begins."""
    parts = _split(sentence.text, _CLAUSE, keep_mark=False)
    return [Span(sentence.start + part.start, part.text) for part in parts if part.text]


def quote(span: Span) -> str:
    """The beginning of `span` that fits a quote, cut at a word where it can be."""
    if len(span.text) <= QUOTE_CHARACTERS:
        return span.text
    head = span.text[:QUOTE_CHARACTERS]
    cut = head.rfind(" ")
    return head[:cut] if cut > QUOTE_CHARACTERS // 2 else head


def any_quote(text: str) -> str:
    """A quote from a text that may hold no sentence at all; empty if nothing in it can be quoted."""
    for span in sentences(text):
        return quote(span)
    for piece in _UNREADABLE.split(text[:READ_CHARACTERS]):
        if piece.strip():
            return piece.strip()[:QUOTE_CHARACTERS]
    return ""


def _split(text: str, separator: re.Pattern[str], *, keep_mark: bool) -> Iterator[Span]:
    start = 0
    for mark in separator.finditer(text):
        printable = keep_mark and mark[0][:1] in ".!?…。！？"  # noqa: RUF001
        yield _trim(text, start, mark.end() if printable else mark.start())
        start = mark.end()
    yield _trim(text, start, len(text))


def _trim(text: str, start: int, end: int) -> Span:
    edge = _EDGE.match(text, start, end)
    if edge:
        start = edge.end()
    while end > start and text[end - 1].isspace():
        end -= 1
    tail = re.search(r"(?:\s+(?:(?:https?://|www\.)\S+|@\w+))+$", text[start:end][-400:])
    if tail:
        end -= len(tail[0])
    return Span(start, text[start:end])
