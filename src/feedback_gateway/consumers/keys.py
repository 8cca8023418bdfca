"""What a key looks like, and the keyed hash under which it is stored. Pure."""

import hmac
import re

PREFIX = "fg_"
SHOWN = 9
FORM = re.compile(r"fg_[A-Za-z0-9_-]{43}")
SECRET_BYTES = 32


def is_key(text: str) -> bool:
    """Whether `text` has the form of a key: anything else need not be looked up."""
    return FORM.fullmatch(text) is not None


def prefix_of(key: str) -> str:
    """The start of a key, by which people tell keys apart and nobody can log in."""
    return key[:SHOWN]


def digest_of(key: str, *, secret: str) -> str:
    """HMAC-SHA-256 of the key (RFC 2104), in hexadecimal."""
    return hmac.digest(secret.encode(), key.encode(), "sha256").hex()
