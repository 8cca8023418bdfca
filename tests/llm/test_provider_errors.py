"""What a provider said is passed on as far as it gives nothing away."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback_gateway.errors import ProviderRejected
from feedback_gateway.llm.provider_errors import retry_after, scrub, translate

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after": "Thu, 01 Jan 2026 12:00:30 GMT"}, 30),
        ({"retry-after": "Thu, 01 Jan 2026 11:00:00 GMT"}, 0),
        ({"retry-after": "Thu, 01 Jan 2026 12:00:30 -0000"}, None),
        ({"retry-after": "31536000"}, 3_600),
        ({"retry-after-ms": "9" * 400}, 3_600),
        ({"retry-after": "Fri, 01 Jan 2027 12:00:00 GMT"}, 3_600),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_seconds_whatever_its_form(headers: dict[str, str], seconds: float | None) -> None:
    """Seconds, milliseconds or a date; nonsense is no wait."""
    assert retry_after(headers, now=NOW) == seconds


@pytest.mark.parametrize(
    "secret",
    [
        "sk-abcdefghijkl",
        "Bearer abc.def",
        "AKIAIOSFODNN7EXAMPLE",
        "https://user:pass@inner.test",
        "jane@example.com",
        "0123456789abcdef0123456789abcdef",
    ],
)
def test_what_looks_like_a_secret_is_masked_wherever_it_comes_from(secret: str) -> None:
    """Also one that is not of this deployment."""
    assert secret.rsplit("//", maxsplit=1)[-1].split("@inner", maxsplit=1)[0] not in scrub(
        f"refused: {secret}.", secrets=(), prompt=""
    )


def test_plain_words_of_an_error_stay_readable_though_a_user_wrote_them_too() -> None:
    """The operator must still learn what is wrong."""
    text = scrub("The model `gpt-9` does not exist", secrets=(), prompt="The model does not exist, says Bob")

    assert text == "The model `gpt-9` does not exist"


words = st.lists(st.from_regex(r"\A[a-z]{3,9}\Z").map("zq".__add__), min_size=1, max_size=8)


@given(words, words)
def test_no_telling_word_of_the_prompt_gets_through(asked: list[str], said: list[str]) -> None:
    """Whatever part of it the provider repeats, in whatever case."""
    kept = scrub(" ".join([*said, *asked]).upper(), secrets=(), prompt=" ".join(asked)).casefold()

    assert not set(asked) & set(kept.split())


def test_missing_package_is_named() -> None:
    """Some providers of litellm need one that litellm does not install."""
    error = translate(ImportError("No module named 'google.auth'"), secrets=(), prompt="", now=NOW)

    assert isinstance(error, ProviderRejected)
    assert "google.auth" in error.detail
