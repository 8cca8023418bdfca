"""The bound on a request's tokens, held against tokenizers that are installed with litellm; nothing is downloaded."""

import importlib.util
import json
import os
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from feedback_gateway.llm.models import CompletionRequest, Message
from feedback_gateway.llm.tokens import OVERHEAD_TOKENS, bytes_of, most_input_tokens

Count = Callable[[str], int]
TEXTS = st.text(max_size=200) | st.text("\ufdfa\ufdfb\u3300\u1e9b\u0344Å한글🏳️‍🌈\u200b ", max_size=100)
LARGE_EXPANSION = "\ufdfa"
"""One character of three bytes, of which NFKC makes eighteen of thirty-three."""


def folder() -> Path:
    """Where litellm keeps its tokenizers."""
    found = importlib.util.find_spec("litellm")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "litellm_core_utils" / "tokenizers"


@pytest.fixture(scope="module", params=["cl100k", "o200k", "claude"])
def count(request: pytest.FixtureRequest) -> Iterator[Count]:
    """How many tokens a text is."""
    if request.param == "claude":
        import tokenizers  # noqa: PLC0415 slow

        claude = tokenizers.Tokenizer.from_file(str(folder() / "anthropic_tokenizer.json"))
        yield lambda text: len(claude.encode(text).ids)
        return
    import tiktoken  # noqa: PLC0415 slow

    with mock.patch.dict(os.environ, TIKTOKEN_CACHE_DIR=str(folder())):
        encoding = tiktoken.get_encoding(f"{request.param}_base")
    yield lambda text: len(encoding.encode(text, disallowed_special=()))


def asked(*texts: str, schema: object = None) -> CompletionRequest:
    """A question."""
    return CompletionRequest(
        model="default",
        messages=tuple(Message("user", text) for text in texts),
        output_schema={"enum": [schema]},
        max_tokens=100,
        task="rate",
    )


@given(texts=st.lists(TEXTS, min_size=1, max_size=3), label=TEXTS)
@example(texts=[LARGE_EXPANSION * 500], label=LARGE_EXPANSION * 500)
@example(texts=["🏳️‍🌈" * 200], label="語" * 500)
@settings(max_examples=150, deadline=None)
def test_no_tokenizer_makes_more_of_a_request_than_its_bound(count: Count, texts: list[str], label: str) -> None:
    """Whatever was written, however the schema is written down, read as it is or normalised."""
    request = asked(*texts, schema=label)
    schemas = [json.dumps(request.output_schema, ensure_ascii=ascii_only) for ascii_only in (True, False)]

    for form in (str, lambda text: unicodedata.normalize("NFKC", text)):
        tokens = sum(count(form(text)) for text in texts) + max(count(form(schema)) for schema in schemas)
        assert tokens <= most_input_tokens(request) - OVERHEAD_TOKENS


@given(text=st.text(max_size=50))
def test_bytes_are_those_of_the_longer_form(text: str) -> None:
    """Never fewer than either has."""
    assert bytes_of(text) >= len(text.encode())
    assert bytes_of(text) >= len(unicodedata.normalize("NFKC", text).encode())


def test_character_that_normalises_to_many_counts_as_all_of_them() -> None:
    """Some tokenizers read the normal form, and see eleven times the bytes."""
    assert bytes_of(LARGE_EXPANSION) == 33


def test_half_of_a_surrogate_pair_is_counted_and_no_fault() -> None:
    """It may not get this far, but a bound has to hold anyway."""
    assert bytes_of("\ud800") == 3


def test_schema_counts_in_its_longer_form() -> None:
    """A provider may show it to the model with every character escaped."""
    labels = "語" * 100

    assert most_input_tokens(asked("", schema=labels)) >= OVERHEAD_TOKENS + len(json.dumps({"enum": [labels]}))
