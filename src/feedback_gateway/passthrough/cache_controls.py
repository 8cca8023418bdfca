"""What a request in OpenAI's terms says of stored answers, in the words that LiteLLM's users know. Pure."""

from typing import Any

from feedback_gateway.errors import MalformedRequest, Problem
from feedback_gateway.llm.models import USE_CACHE, CachePolicy

FLAGS = frozenset({"no-cache", "no-store", "use-cache"})
SECONDS = frozenset({"ttl", "s-maxage"})


def read_policy(value: Any) -> CachePolicy:
    """The member `cache` of a body, None where there is none. Raises MalformedRequest that names the place.

    `no-cache` asks anew, `no-store` keeps nothing, `ttl` is how many seconds the answer is kept, `s-maxage` how old a
    stored one may be; `use-cache` says what is so anyway, and `false` is both of the first two.
    """
    if value is None:
        return USE_CACHE
    if not isinstance(value, dict):
        raise malformed("cache", "must be an object")
    for name, member in value.items():
        if name in FLAGS and not isinstance(member, bool):
            raise malformed(f"cache.{name}", "must be true or false")
        if name in SECONDS and not is_seconds(member):
            raise malformed(f"cache.{name}", "must be a number of seconds")
        if name not in FLAGS | SECONDS:
            raise malformed(f"cache.{name[:80]}", f"is not known; there are {', '.join(sorted(FLAGS | SECONDS))}")
    is_used = value.get("use-cache", True)
    return CachePolicy(
        read=is_used and not value.get("no-cache"),
        write=is_used and not value.get("no-store"),
        ttl_s=value.get("ttl"),
        max_age_s=value.get("s-maxage"),
    )


def is_seconds(value: Any) -> bool:
    """Whether it is a number that is not below nothing."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def malformed(place: str, message: str) -> MalformedRequest:
    """What is wrong with one member."""
    return MalformedRequest(f"{place}: {message}", problems=[Problem(tuple(place.split(".", 1)), message)])
