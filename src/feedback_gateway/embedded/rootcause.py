"""The root-cause-suggest task: error lines, stated reasons and near knowledge; a cause is always a quoted line.

It retrieves and counts; what no line shows it lists as missing.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from feedback_gateway.embedded.embedders import Embedder
from feedback_gateway.embedded.text import Span, clean, quote, sentences, words

READ_LINES = 5_000
MOST_HYPOTHESES = 3
NEAR = 0.35
"""Cosine from which a knowledge article counts as near a hypothesis."""
REPEATED = 3
UNSUPPORTED = "Not supported by the input."

_ERROR = re.compile(
    r"\b(?:fatal|panic|critical|emerg|severe|error|err|exception|traceback|caused by|oom|out of memory|killed|segfault|"
    r"timed? ?out|deadline exceeded|refused|unreachable|unavailable|no instances|denied|forbidden|unauthori[sz]ed|"
    r"deadlock|corrupt\w*|no space left|too many|overflow|fail(?:ed|ure|s)?|cannot|could not|"
    r"(?:status|code|http/[12.]+\"?)\W{0,3}5\d\d)\b"
    r"|\w+(?:Exception|Error)\b",
    re.IGNORECASE,
)
_GRAVE = re.compile(
    r"\b(?:fatal|panic|critical|emerg|severe|error|caused by|oom|out of memory|segfault|no space left|deadlock)\b"
    r"|\w+(?:Exception|Error)\b",
    re.IGNORECASE,
)
_ORIGIN = re.compile(r"caused by|root cause|out of memory|no space left|refused|no instances|deadlock", re.IGNORECASE)
_VARIABLE = re.compile(r"0x[0-9a-f]+|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{12,}|\d+", re.IGNORECASE)
_STAMP = re.compile(r"^[\s\[(]*(?:#(?:[-:.,/TZ+\s]|#)*)+")
_REASON = re.compile(
    r"\b(?:because(?! of (?:this|that|it)\b)|due to|caused by|as a result of|"
    r"(?:the|its|root) (?:cause|reason) (?:is|was)|"
    r"weil|wegen|aufgrund|parce que|à cause d\w|a causa de|debido a|porque)(?!\w)",
    re.IGNORECASE,
)
"""Words that state a cause. "Since" and "after" tell when, which is not why."""
_WHEN = re.compile(
    r"\b(?:\d{1,2}:\d\d|\d{4}-\d\d-\d\d|today|yesterday|since|(?:mon|tues|wednes|thurs|fri)day)\b", re.IGNORECASE
)
_VERSION = re.compile(r"\bv?\d+\.\d+|\bversion\b|\bbuild\b", re.IGNORECASE)
_CHANGE = re.compile(r"\b(?:updat|upgrad|deploy|releas|migrat|chang|config|rollout|install)\w*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Pattern:
    """Log lines that are the same but for their numbers: the first of them, and how many there are."""

    line: Span
    count: int
    weight: float


@dataclass(frozen=True, slots=True)
class CauseFinder:
    """Finds lines; uses vectors only to rank knowledge."""

    embedder: Embedder

    def read(self, text: str, logs: str, knowledge: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The task's answer; with no error line and no stated reason, no hypothesis at all."""
        patterns = error_patterns(logs)
        reasons = [span for span in sentences(text) if _REASON.search(span.text)]
        cut = logs.count("\n") > READ_LINES
        hypotheses = [self._from_log(pattern, knowledge, cut=cut) for pattern in patterns[:MOST_HYPOTHESES]]
        hypotheses += [self._from_text(span, knowledge) for span in reasons[: MOST_HYPOTHESES - len(hypotheses)]]
        return {
            "hypotheses": hypotheses,
            "five_whys": _whys(text, patterns, reasons),
            "missing_information": _missing(text, logs, patterns, knowledge),
        }

    def _from_log(self, pattern: Pattern, knowledge: Sequence[Mapping[str, Any]], *, cut: bool) -> dict[str, Any]:
        said = quote(pattern.line)
        origin = _ORIGIN.search(pattern.line.text) is not None
        likelihood = "medium" if origin or pattern.count >= REPEATED else "low"
        near = self._near(said, knowledge)
        times = "once" if pattern.count == 1 else f"{pattern.count} times"
        if cut:
            times += f" in the first {READ_LINES:,} lines"
        return {
            "cause": f"Behind this log line, seen {times}: {said}",
            "likelihood": "high" if near and origin and pattern.count >= REPEATED else likelihood,
            "evidence": [{"source": "logs", "quote": said}, *_first_lines(near, knowledge)],
            "next_step": "Follow the first of these lines back: what did the same component log just before it?",
            "knowledge_ids": near,
        }

    def _from_text(self, span: Span, knowledge: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        said = quote(span)
        near = self._near(said, knowledge)
        return {
            "cause": f"The report itself gives a reason, unconfirmed: {said}",
            "likelihood": "low",
            "evidence": [{"source": "text", "quote": said}, *_first_lines(near, knowledge)],
            "next_step": "Check whether the problem goes away when this is undone or ruled out.",
            "knowledge_ids": near,
        }

    def _near(self, said: str, knowledge: Sequence[Mapping[str, Any]]) -> list[str]:
        """Ids of at most two articles near `said`, in meaning and with a word of it."""
        articles = [article for article in knowledge if str(article.get("text") or article.get("title") or "").strip()]
        if not articles:
            return []
        texts = [f"{article.get('title') or ''}. {article.get('text') or ''}" for article in articles]
        vectors = self.embedder.embed([clean(said), *(clean(text) for text in texts)])
        shared = [len(_terms(said) & _terms(text)) for text in texts]
        scores = vectors[1:] @ vectors[0] + 0.05 * np.minimum(shared, 4)
        order = np.argsort(-scores, kind="stable")[:2]
        return [str(articles[place]["id"]) for place in order if scores[place] >= NEAR and shared[place]]


def error_patterns(logs: str) -> list[Pattern]:
    """Kinds of error lines, the gravest and most frequent first."""
    first: dict[str, Span] = {}
    counts: dict[str, int] = {}
    start = 0
    for line in logs.splitlines(keepends=True)[:READ_LINES]:
        stripped = line.strip()
        if stripped and _ERROR.search(stripped[:2000]):
            template = _STAMP.sub("", _VARIABLE.sub("#", stripped[:2000]))[:120]
            first.setdefault(template, Span(start + line.index(stripped), stripped))
            counts[template] = counts.get(template, 0) + 1
        start += len(line)
    found = [Pattern(line, counts[key], _weight(line.text, counts[key])) for key, line in first.items()]
    return sorted(found, key=lambda pattern: (-pattern.weight, pattern.line.start))


def _weight(line: str, count: int) -> float:
    """Grave words and words of an origin outweigh repetition up to seven times."""
    head = line[:2000]
    return math.log1p(count) + 2.0 * bool(_GRAVE.search(head)) + 2.0 * bool(_ORIGIN.search(head))


def _terms(text: str) -> set[str]:
    return {word for word in words(text[:5000]) if len(word) > 3 and not word.isdigit()}  # noqa: PLR2004 short words say little


def _first_lines(ids: Sequence[str], knowledge: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    texts = {str(article["id"]): str(article.get("text") or "") for article in knowledge}
    found = [(ident, sentences(texts[ident])) for ident in ids]
    return [{"source": ident, "quote": quote(spans[0])} for ident, spans in found if spans]


def _whys(text: str, patterns: Sequence[Pattern], reasons: Sequence[Span]) -> list[str]:
    """Only as far as a line answers; the next why is left open, by name."""
    steps = []
    if reasons:
        steps.append(f"Why, by the reporter's own words? {quote(reasons[0])}")
    if patterns:
        steps.append(f"Why, by the logs? {quote(patterns[0].line)}")
    if steps:
        return [*steps, f"Why does that happen? {UNSUPPORTED}"]
    reported = sentences(text)
    return [f'Why "{quote(reported[0])}"? {UNSUPPORTED}' if reported else f"Why? {UNSUPPORTED}"]


def _missing(text: str, logs: str, patterns: Sequence[Pattern], knowledge: Sequence[Mapping[str, Any]]) -> list[str]:
    missing = []
    if not logs.strip():
        missing.append("Logs of the time and component concerned: none were given.")
    elif not patterns:
        missing.append("A log line that shows an error: none of those given does.")
    else:
        missing.append("What came before the first error line, in the component that wrote it.")
    whole = f"{text[:20_000]}\n{logs[:20_000]}"
    if not _WHEN.search(whole):
        missing.append("When it began.")
    if not _VERSION.search(text[:20_000]):
        missing.append("The version, device or environment.")
    if not _CHANGE.search(text[:20_000]):
        missing.append("What was changed shortly before.")
    if not knowledge:
        missing.append("Known issues or runbooks to compare with.")
    return missing
