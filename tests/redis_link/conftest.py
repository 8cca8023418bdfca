"""A Redis of the test's own and a link to it, as patient as in operation."""

from tests.ratelimits.conftest import clock, link, redis_server

__all__ = ["clock", "link", "redis_server"]
