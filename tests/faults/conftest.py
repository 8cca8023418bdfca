"""A Redis that can be killed, frozen and slowed down, and one way to ask a gateway."""

from tests.ratelimits.conftest import redis_server

__all__ = ["redis_server"]
