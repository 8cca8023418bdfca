"""Consumers and keys for tests, and every path of the application with something in place of its parameters."""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

from fastapi import FastAPI
from starlette.routing import Route

from feedback_gateway.api.tasks import TaskEndpoint
from feedback_gateway.consumers.models import Consumer
from feedback_gateway.ledger.models import Budget, Period
from feedback_gateway.services import Services

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PURGE")


def bearer(key: str) -> dict[str, str]:
    """The header that carries a key."""
    return {"authorization": f"Bearer {key}"}


def make_key(
    services: Services, name: str, *, admin: bool = False, expires_at: datetime | None = None, **fields: Any
) -> dict[str, str]:
    """The header of a new key of a new consumer."""
    consumer = services.books.consumers.add(Consumer(name=name, **fields))
    made = services.books.consumers.create_key(consumer.name, is_admin=admin, expires_at=expires_at)
    return bearer(made.secret)


def usd(limit: str, period: Period = "month", **fields: Any) -> Budget:
    """A budget."""
    return Budget(limit_usd=Decimal(limit), period=period, **fields)


def routes_of(app: FastAPI) -> list[Route]:
    """All of them; whatever is no route of a kind that is known here fails the test."""
    routes = [route for route in app.routes if isinstance(route, Route)]
    assert len(routes) == len(app.routes)
    return routes


def paths_of(route: Route, services: Services) -> Iterator[str]:
    """The paths that a route answers, with names in place of its parameters: of tasks all that there are, and none."""
    if "{task}" in route.path:
        for task in (*services.registry.names(), "nothing", "admin", "health"):
            yield route.path.replace("{task}", task)
        return
    yield route.path.replace("{", "").replace("}", "")


def task_paths(app: FastAPI, services: Services) -> Iterator[tuple[str, str]]:
    """Every path that can reach a provider, and its task."""
    for route in routes_of(app):
        if isinstance(route.endpoint, TaskEndpoint):
            for path in paths_of(route, services):
                task = path.rpartition("/")[2]
                if task in services.registry.names():
                    yield path, task


def item_of(services: Services, task: str) -> dict[str, Any]:
    """An item that fits a task: its prompt's own example."""
    example: dict[str, Any] = services.registry.get(task).prompt.input_schema["examples"][0]
    return example
