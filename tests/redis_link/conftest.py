"""A link to a Redis of the test's own, as patient as in operation."""

from tests.ratelimits.conftest import clock, link

__all__ = ["clock", "link"]
