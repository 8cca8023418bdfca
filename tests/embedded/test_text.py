"""Reading user text: what is cleaned away, and that every span is verbatim."""

from hypothesis import given
from hypothesis import strategies as st

from feedback_gateway.embedded.text import QUOTE_CHARACTERS, any_quote, clauses, clean, quote, sentences


def test_links_handles_and_markup_are_no_words() -> None:
    """What is left is what a person said."""
    assert clean("@acme <b>Great</b> &amp; fast https://a.example/x?y=1") == "Great & fast"


def test_hashtags_become_words() -> None:
    """A tag in camel case is read as the words it is made of."""
    assert clean("late again #HorribleService") == "late again Horrible Service"


def test_an_address_is_not_a_handle() -> None:
    """Only a sign at the start of a word makes a handle."""
    assert "me@x.example" in clean("write to me@x.example please")


@given(st.text(alphabet=st.characters(), max_size=400))
def test_every_sentence_and_clause_is_a_span_of_its_text(text: str) -> None:
    """Whatever the text holds, a span's offset and words are found in it."""
    for sentence in sentences(text):
        assert text[sentence.start : sentence.start + len(sentence.text)] == sentence.text
        for clause in clauses(sentence):
            assert text[clause.start : clause.start + len(clause.text)] == clause.text


@given(st.text(alphabet=st.characters(categories=["Cs", "Cc", "L", "Zs", "P"]), max_size=200))
def test_a_quote_can_be_written_as_utf_8(text: str) -> None:
    """Lone surrogates and control characters end a sentence, so that no quote holds one."""
    for sentence in sentences(text):
        quote(sentence).encode("utf-8")
    any_quote(text).encode("utf-8")


def test_a_leading_handle_is_left_out_of_the_sentence() -> None:
    """The quote begins where the speaker does."""
    assert sentences("@acme my order never came. Help!")[0].text == "my order never came."


def test_a_possessive_handle_stays() -> None:
    """Cutting it would leave half a word."""
    assert sentences("@acme's new plan is odd")[0].text == "@acme's new plan is odd"


def test_a_contrast_opens_a_new_clause() -> None:
    """The two halves of a mixed verdict can be quoted apart."""
    sentence = sentences("The food was great but the waiter was rude")[0]
    assert [clause.text for clause in clauses(sentence)] == ["The food was great", "but the waiter was rude"]


def test_a_long_sentence_is_quoted_up_to_a_word() -> None:
    """A quote has a longest length and no broken word."""
    said = quote(sentences("word " * 200)[0])
    assert len(said) <= QUOTE_CHARACTERS
    assert said.endswith("word")
