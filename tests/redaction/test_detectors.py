"""What is found and what is left alone, spelling by spelling and on labelled sentences."""

import re
from pathlib import Path

import pytest

from feedback_gateway.redaction.findings import Finding, Kind, settled
from feedback_gateway.redaction.redactor import Redactor
from tests.redaction.canaries import NEAR_MISSES, PLAIN, SPELLINGS, SURROUNDINGS
from tests.redaction.measure import measured, read_rows

ROWS = Path(__file__).parents[1] / "data" / "pii-presidio" / "rows.jsonl"
REDACTOR = Redactor()


@pytest.mark.parametrize(("kind", "marked"), [(kind, one) for kind, many in SPELLINGS.items() for one in many])
def test_every_spelling_is_masked_to_its_last_character(kind: Kind, marked: str) -> None:
    """Obfuscated, full-width, with invisible signs, over line ends, in logs, JSON, HTML and addresses."""
    text = re.sub("[«»]", "", marked)

    masked = REDACTOR.session().mask(text)

    assert re.sub(rf"<{kind}_[0-9]>", "«»", masked) == re.sub("«[^»]+»", "«»", marked)


@pytest.mark.parametrize("surrounding", SURROUNDINGS)
@pytest.mark.parametrize("kind", PLAIN)
def test_what_stands_around_does_not_matter(kind: Kind, surrounding: str) -> None:
    """Start, end, punctuation, markup, log lines, and scripts that put no space between words."""
    masked = REDACTOR.session().mask(surrounding.format(PLAIN[kind]))

    assert masked == surrounding.format(f"<{kind}_1>")


@pytest.mark.parametrize("text", NEAR_MISSES)
def test_near_miss_stays(text: str) -> None:
    """Order numbers, dates, versions, prices, hashes, and sentences about passwords."""
    assert REDACTOR.session().mask(text) == text


@pytest.mark.parametrize(
    ("span_type", "floor"),
    [
        ("CREDIT_CARD", 1.0),
        ("EMAIL_ADDRESS", 1.0),
        ("PHONE_NUMBER", 0.95),
        ("US_SSN", 1.0),
        ("US_DRIVER_LICENSE", 1.0),
        ("PERSON", 0.1),
    ],
)
def test_recall_on_labelled_sentences_keeps_its_floor(span_type: str, floor: float) -> None:
    """Whole spans; names only where the text announces them, which most do not."""
    measure = measured(read_rows(ROWS), REDACTOR)

    assert measure.spans[span_type] > 0
    assert measure.recall(span_type) >= floor


@pytest.mark.parametrize("kind", [Kind.CARD, Kind.EMAIL, Kind.PHONE, Kind.NATIONAL_ID, Kind.NAME])
def test_precision_on_labelled_sentences_keeps_its_floor(kind: Kind) -> None:
    """Dates, postal codes and addresses are no phone numbers."""
    measure = measured(read_rows(ROWS), REDACTOR)

    assert measure.findings[kind] > 0
    assert measure.precision(kind) >= 0.95


def test_regions_decide_which_national_numbers_are_known() -> None:
    """A number without a country code is one only in the countries that the operator names."""
    assert [one.key for one in Redactor(regions=["CH"]).find("044 668 18 00")] == ["+41446681800"]
    assert Redactor(regions=["US"]).find("044 668 18 00") == []


def test_names_can_be_left_out() -> None:
    """Who wants names to stay readable says so."""
    assert Redactor(names=False).find("Dear Jane, my name is Jane Doe") == []


def test_spellings_of_one_value_have_one_key() -> None:
    """E-mail by lower case, phones by E.164, cards and IBANs without separators."""
    spellings = {
        "Jane@Example.com jane@example.com": "jane@example.com",
        "+1 541-714-1388, (541) 714-1388": "+15417141388",
        "4111 1111 1111 1111, 4111-1111-1111-1111": "4111111111111111",
        "GB29 NWBK 6016 1331 9268 19, gb29nwbk60161331926819": "GB29NWBK60161331926819",
    }

    assert {text: {one.key for one in REDACTOR.find(text)} for text in spellings} == {
        text: {key} for text, key in spellings.items()
    }


def test_the_longest_finding_decides_and_grows_over_what_it_overlaps() -> None:
    """No part of an address stays in the text because something longer began inside it."""
    phone = Finding(0, 6, Kind.PHONE, "a")
    url = Finding(4, 20, Kind.URL, "b")
    email = Finding(8, 12, Kind.EMAIL, "c")

    assert settled([email, url, phone]) == settled([phone, email, url]) == [Finding(0, 20, Kind.URL, "b")]


def test_of_findings_of_one_length_the_most_specific_decides() -> None:
    """`token=AKIA…` is an API key."""
    text = "token=AKIAIOSFODNN7EXAMPLE"

    assert [one.kind for one in REDACTOR.find(text)] == [Kind.API_KEY]


@pytest.mark.parametrize("text", ["jane (at) example.com", "jane at example dot com", "jane [AT] example [DOT] com"])
def test_address_without_an_at_sign_is_found(text: str) -> None:
    """By its brackets, or by the word for its dot."""
    assert [one.kind for one in REDACTOR.find(f"Write to {text} now.")] == [Kind.EMAIL]
