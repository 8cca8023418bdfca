"""One key for all that can change an answer: equal parts have equal keys, and different parts different ones."""

import hashlib
from collections.abc import Sequence

import msgspec

KEY_BYTES = 32
ENCODER = msgspec.msgpack.Encoder(order="deterministic")


class UnkeyableError(ValueError):
    """A part that has no canonical form, such as a number that no float and no 64 bits hold."""


def digest(parts: Sequence[object]) -> bytes:
    """BLAKE2b over the canonical form (MessagePack, sorted names) of JSON-like `parts`; lists and tuples are one kind.

    Types, nesting and lengths are in that form, so `1`, `1.0`, `true` and `"1"` differ, as do two ways to write one
    letter; the order of names in an object is not. Raises UnkeyableError.
    """
    try:
        encoded = ENCODER.encode(parts)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise UnkeyableError(str(error)) from None
    return hashlib.blake2b(encoded, digest_size=KEY_BYTES).digest()
