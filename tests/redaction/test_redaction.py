"""Placeholders: the way there and back is exact, whatever the text, and nobody's call sees another's."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feedback_gateway.redaction.findings import Kind
from feedback_gateway.redaction.redactor import Redactor
from tests.redaction.canaries import PLAIN, SPELLINGS

REDACTOR = Redactor()
FRAGMENTS = [
    *(one.replace("«", "").replace("»", "") for many in SPELLINGS.values() for one in many),
    *(
        "<EMAIL_1>",
        "<EMAIL_2>",
        "<EMAIL_1.2>",
        "<PHONE_1>",
        "<CARD_1>",
        "<TOKEN_1>",
        "<EMAIL_",
        "_1>",
        "<",
        ">",
        "EMAIL_1",
    ),
    *(
        "JANE@example.com",
        "jane@Example.com",
        "+15417141388",
        "(541) 714-1388",
        "4111111111111111",
        "password=",
        "Dear ",
    ),
    *(
        "\u200b",
        "\u202e",
        "\ufeff",
        "\u0301",
        "\ud800",
        "İ",
        "ß",
        "ﬁ",
        "１",
        "٣",
        "\x00",
        "\n",
        " ",
        "-",
        ".",
        "1",
        "@",
    ),
]
TEXTS = st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.text(max_size=8)), max_size=6).map("".join)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(TEXTS, st.integers(), st.booleans(), st.none(), st.sampled_from([4111111111111111, 5417141388])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(TEXTS, st.sampled_from(["password", "phone", "card", "text"])), inner, max_size=3),
    ),
    max_leaves=6,
)


@settings(deadline=None)
@given(VALUES)
def test_restoring_what_was_masked_gives_exactly_what_came(value: Any) -> None:
    """Also with placeholders in the text, findings that overlap, and several spellings of one value."""
    redaction = REDACTOR.session()

    assert redaction.restore(redaction.mask(value)) == value


@settings(deadline=None)
@given(st.lists(TEXTS, max_size=4))
def test_texts_masked_one_by_one_come_back_exactly_when_they_were_reserved(texts: list[str]) -> None:
    """A text that looks like a placeholder may arrive after that placeholder would have been given out."""
    redaction = REDACTOR.session(reserved=texts)

    assert [redaction.restore(redaction.mask(text)) for text in texts] == texts
    assert redaction.restore([redaction.mask(text) for text in texts]) == texts


@pytest.mark.parametrize("text", [one for one in FRAGMENTS if one.strip()])
def test_masked_text_has_nothing_left_to_mask(text: str) -> None:
    """A placeholder is no finding, in its own call or in another."""
    redaction = REDACTOR.session()
    masked = redaction.mask(text)

    assert redaction.mask(masked) == masked
    assert REDACTOR.session().mask(masked) == masked


def test_one_value_has_one_placeholder_in_every_text_of_a_call() -> None:
    """The log stays readable: who is who can be told."""
    redaction = REDACTOR.session()

    first = redaction.mask(["a@x.example wrote to b@x.example", {"from": "b@x.example"}])

    assert first == ["<EMAIL_1> wrote to <EMAIL_2>", {"from": "<EMAIL_2>"}]
    assert redaction.mask("a@x.example again") == "<EMAIL_1> again"


def test_another_spelling_keeps_the_number_and_says_that_it_is_another() -> None:
    """One person is one number, and each spelling still comes back as it was written."""
    redaction = REDACTOR.session()

    masked = redaction.mask("Jane@x.example, jane@x.example, JANE@x.example, Jane@x.example")

    assert masked == "<EMAIL_1>, <EMAIL_1.2>, <EMAIL_1.3>, <EMAIL_1>"
    assert redaction.restore("<EMAIL_1.3>") == "JANE@x.example"


def test_literal_placeholder_of_a_caller_is_passed_over_and_stays() -> None:
    """`<EMAIL_1>` in a caller's text is never somebody's address."""
    redaction = REDACTOR.session(reserved=["later: <EMAIL_2>"])

    masked = redaction.mask("<EMAIL_1> is not a@x.example")

    assert masked == "<EMAIL_1> is not <EMAIL_3>"
    assert redaction.restore("<EMAIL_1> <EMAIL_2> <EMAIL_3> <EMAIL_4>") == "<EMAIL_1> <EMAIL_2> a@x.example <EMAIL_4>"


def test_every_string_and_key_is_masked_and_nothing_else() -> None:
    """Nested values, object keys, and numbers that are a card or called a phone number; the shape stays."""
    value = {
        "a@x.example": [{"text": "call 541-714-1388", "score": 0.5, "ok": True, "none": None}],
        "card": 4111111111111111,
        "phone": 5417141388,
        "id": 5417141388,
    }
    redaction = REDACTOR.session()

    assert redaction.mask(value) == {
        "<EMAIL_1>": [{"text": "call <PHONE_1>", "score": 0.5, "ok": True, "none": None}],
        "card": "<CARD_1>",
        "phone": "<PHONE_1.2>",
        "id": 5417141388,
    }
    assert redaction.restore(redaction.mask(value)) == value


def test_key_of_an_object_tells_what_its_value_is() -> None:
    """A password needs no form to be one; the name of a category is no person."""
    value = {
        "password": "correct horse",
        "mobile": "467 3395",
        "name": "Billing",
        "call_id": "12345678",
        "note": "467 3395",
    }

    assert REDACTOR.session().mask(value) == value | {"password": "<TOKEN_1>", "mobile": "<PHONE_1>"}


def test_model_may_repeat_and_move_placeholders() -> None:
    """What a model answers is restored wherever it put them, tool arguments included."""
    redaction = REDACTOR.session()
    redaction.mask("I am jane@x.example at 10.0.0.1")

    answer = {"summary": "<EMAIL_1> at <IP_1>; <EMAIL_1>!", "tool_calls": [{"arguments": '{"to": "<EMAIL_1>"}'}]}

    assert redaction.restore(answer) == {
        "summary": "jane@x.example at 10.0.0.1; jane@x.example!",
        "tool_calls": [{"arguments": '{"to": "jane@x.example"}'}],
    }


def test_calls_at_once_never_see_each_others_values() -> None:
    """One redactor serves all threads; each call has its own placeholders."""

    def call(number: int) -> tuple[str, str]:
        redaction = REDACTOR.session()
        masked = redaction.mask(f"user{number}@x.example or 10.0.0.{number}")
        return masked, redaction.restore("<EMAIL_1> or <IP_1>, <EMAIL_2>")

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(call, range(200)))

    assert answers == [
        ("<EMAIL_1> or <IP_1>", f"user{number}@x.example or 10.0.0.{number}, <EMAIL_2>") for number in range(200)
    ]


@pytest.mark.parametrize("kind", PLAIN)
def test_placeholder_is_named_after_what_it_hides(kind: Kind) -> None:
    """The reader of a log learns what stood there."""
    assert REDACTOR.session().mask(PLAIN[kind]) == f"<{kind}_1>"


HOSTILE = [
    *("a@" * 50_000, "1-" * 50_000, "1-" * 50_000 + "1a", "/" * 100_000, "0" * 100_000, "4" * 100_000, "eyJ." * 25_000),
    *("eyJabcd-" * 12_500, "sk-" * 33_000, "sk-a1b2-" * 12_500, "1 " * 50_000, "4-" * 50_000, "4111 " * 20_000),
    *("://" * 33_000, "://" + ":" * 100_000, "http://a?" * 11_000, "GB11 " * 20_000, "+1" * 50_000, "(1" * 50_000),
    *(":" * 100_000, "a:" * 50_000, "1." * 50_000, "12:" * 33_000, "password=" * 11_000, 'password="' * 10_000),
    *("bearer " * 14_000, "cookie: a=" * 10_000, "-----BEGIN PRIVATE KEY-----" * 3_700, "ssn 123 " * 12_500),
    *("Dear Aa " * 12_500, "Mr. Aa " * 14_000, "regards,\n" * 11_000, "a at b dot " * 9_000, "a(at)" * 20_000),
    *("a@" + "b." * 50_000, "\u200b1" * 50_000, "<EMAIL_1>" * 11_000, "aA1" * 33_000, "1\n" * 50_000, "\n" * 100_000),
    *(
        "1" * 100_000 + "a",
        "+1 " + "1" * 50_000 + " 1a",
        "regards" + " " * 100_000,
        "name" + " " * 100_000,
        "#" * 100_000,
    ),
    *("<EMAIL_1> a@b.example " * 4_500, "://a" + "a/" * 50_000, "&#" + "0" * 100_000, '"' * 100_000, "<" * 100_000),
    "".join(f"a{number}@x.example " for number in range(6_000)),
]


@pytest.mark.parametrize("text", HOSTILE, ids=[text[:12].encode("unicode_escape").decode() for text in HOSTILE])
def test_hostile_text_of_100_kb_costs_little_more_than_harmless_text(text: str) -> None:
    """Every expression reads a text once, or a bounded piece of it at each place; the limit has room for a tracer."""
    REDACTOR.find("call 541-714-1388, card 4111111111111111")
    started = time.process_time()

    REDACTOR.session().mask(text)

    assert time.process_time() - started < 3


def test_importing_loads_no_tables() -> None:
    """Phone metadata and the id library come with the first text that needs them."""
    program = (
        "import sys; from feedback_gateway.redaction.redactor import Redactor; Redactor().find('order 12, fine'); "
        "print(sorted({'phonenumbers', 'stdnum'} & set(sys.modules)))"
    )

    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    assert printed == "[]\n"


def test_short_text_is_masked_as_often_as_it_is_seen() -> None:
    """Only texts that hold nothing are remembered, each with the field in which it holds nothing."""
    redactor = Redactor()
    value = {"label": "negative", "note": "467 3395", "phone": "467 3395", "mail": "jo@example.org"}

    masked = [redactor.session().mask(value) for _ in range(3)]

    assert masked == [value | {"phone": "<PHONE_1>", "mail": "<EMAIL_1>"}] * 3
