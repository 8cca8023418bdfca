"""What keys look like, and how they are kept."""

import re

from hypothesis import given
from hypothesis import strategies as st

from feedback_gateway.consumers.keys import PREFIX, digest_of, is_key, prefix_of
from feedback_gateway.consumers.service import new_secret


def test_new_keys_have_the_form_of_keys_and_differ() -> None:
    """256 random bits each."""
    made = {PREFIX + new_secret() for _ in range(200)}

    assert len(made) == 200
    assert all(is_key(key) for key in made)


def test_digest_is_the_hmac_of_the_standard() -> None:
    """The second test case of RFC 4231."""
    expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"

    assert digest_of("what do ya want for nothing?", secret="Jefe") == expected


@given(key=st.from_regex(r"fg_[A-Za-z0-9_-]{43}", fullmatch=True), secret=st.text(min_size=1))
def test_digest_and_prefix_give_no_key_away(key: str, secret: str) -> None:
    """The digest is no key; the prefix leaves 222 bits to guess."""
    digest = digest_of(key, secret=secret)

    assert re.fullmatch(r"[0-9a-f]{64}", digest)
    assert not is_key(digest)
    assert not is_key(prefix_of(key))
    assert len(key) - len(prefix_of(key)) == 37
    assert digest != digest_of(key, secret=secret + "x")


@given(text=st.text())
def test_other_text_is_no_key(text: str) -> None:
    """Without a look into the database; a line's end does not count as nothing."""
    assert not is_key(text)
    assert not is_key(f"fg_{'A' * 43}\n")
    assert not is_key(f"fg_{'Ａ' * 43}")
