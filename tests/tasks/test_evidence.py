"""Quotes are verbatim spans of their source, or they are not in the answer."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback_gateway.tasks.evidence import Source, Span, verify

TEXT = "The app “crashes”  every time\nI open it. THE END, said O'Neil; the app is slow."


def test_exact_quote_keeps_its_span() -> None:
    """A quote that stands in the text is found where it stands."""
    assert Source(TEXT).find("I open it.") == Span(30, 40)


@pytest.mark.parametrize(
    ("quote", "found"),
    [
        ("the app 'crashes' every time i open it.", "The app “crashes”  every time\nI open it."),
        ("THE APP CRASHES EVERY TIME", "The app “crashes”  every time"),
        ("the end", "THE END"),
        ('"said O’Neil"', "said O'Neil"),
        ("  is slow.\n", "is slow."),
    ],
)
def test_quote_is_realigned_when_only_whitespace_case_or_quotation_marks_differ(quote: str, found: str) -> None:
    """The source's own words come back, not the model's."""
    span = Source(TEXT).find(quote)

    assert span is not None
    assert TEXT[span.start : span.end] == found


@pytest.mark.parametrize("quote", ["the app freezes", "crash es", "", "   ", "“”", "opens it"])
def test_quote_with_any_other_difference_is_not_found(quote: str) -> None:
    """A paraphrase is no quote."""
    assert Source(TEXT).find(quote) is None


def test_case_folding_that_changes_length_keeps_offsets_right() -> None:
    """The German sharp s folds into two characters and stands for one."""
    text = "Die Straße ist zu. Fertig."

    span = Source(text).find("DIE STRASSE IST ZU.")

    assert span == Span(0, 18)


@given(st.text(min_size=1, max_size=80), st.data())
def test_every_span_of_any_text_is_found_verbatim(text: str, data: st.DataObject) -> None:
    """What was cut out of a text is in it, and offsets count code points."""
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    quote = text[start:end]

    span = Source(text).find(quote)

    assert (span is None) == (not quote.strip())
    assert span is None or text[span.start : span.end] == quote


@pytest.mark.parametrize(("text", "quote"), [("ý", "y"), ("Fuß", "fus"), ("x² = 4", "x2 = 4"), ("İ", "i")])
def test_part_of_a_letter_is_not_that_letter(text: str, quote: str) -> None:
    """Taken apart, some letters begin like others."""
    assert Source(text).find(quote) is None


@given(st.text(max_size=80), st.text(max_size=30))
def test_whatever_is_found_differs_in_nothing_that_counts(text: str, quote: str) -> None:
    """No quote, however odd, is matched to words that say something else."""
    span = Source(text).find(quote)

    if span is not None:
        assert 0 <= span.start < span.end <= len(text)
        assert plain(text[span.start : span.end]) == plain(quote)


def plain(text: str) -> str:
    """A text without whitespace, case, quotation marks and Unicode form, written apart from the code under test."""
    marks = "\"'`´“”„‟‘’‚‛«»‹›〝〞「」『』＂＇"
    text = unicodedata.normalize("NFD", unicodedata.normalize("NFD", text).casefold())
    return "".join(char for char in text if not char.isspace() and char not in marks)


def test_invented_quotes_are_dropped_and_counted_at_any_depth() -> None:
    """A quote is checked wherever a list named evidence stands."""
    value = {
        "evidence": [{"quote": "I open it."}, {"quote": "I love it."}],
        "aspects": [{"aspect": "speed", "evidence": [{"quote": "the app is slow"}, {"quote": "fast"}, "slow", None]}],
    }

    verified = verify(value, {"text": Source(TEXT)})

    assert verified.dropped == 4
    assert verified.value == {
        "evidence": [{"quote": "I open it.", "start": 30, "end": 40}],
        "aspects": [{"aspect": "speed", "evidence": [{"quote": "the app is slow", "start": 63, "end": 78}]}],
    }


def test_quote_is_looked_up_in_the_source_it_names() -> None:
    """A line of the log is no evidence from the text, and a source that was not given has none."""
    value = {"evidence": [{"source": source, "quote": "ERROR 42"} for source in ("logs", "text", "kb-9")]}

    verified = verify(value, {"text": Source("it broke"), "logs": Source("12:00 ERROR 42 disk full")})

    assert verified.value == {"evidence": [{"source": "logs", "quote": "ERROR 42", "start": 6, "end": 14}]}
    assert verified.dropped == 2
