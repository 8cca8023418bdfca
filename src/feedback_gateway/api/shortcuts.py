"""The way to the hottest routes past the long list of all the others: one look into a dictionary, and the same end.

It leads past the framework as well: what is ours around every request is around these too, and nothing else.
"""

from collections.abc import Collection, Mapping

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

VERSIONED = "/v1/"


class Shortcuts:
    """Takes requests to `endpoints`, by their whole path, and those to `/v1/NAME` to the `task` endpoint.

    What is `listed` has a route of its own, and goes on to `others` with all the rest.
    """

    def __init__(
        self, others: ASGIApp, *, endpoints: Mapping[str, ASGIApp], task: ASGIApp, listed: Collection[str]
    ) -> None:
        self._others = others
        self._endpoints = endpoints
        self._task = task
        self._listed = frozenset(listed) - frozenset(endpoints)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        endpoint = self.endpoint_for(scope) or self._others
        await endpoint(scope, receive, send)

    def endpoint_for(self, scope: Scope) -> ASGIApp | None:
        """The endpoint that a request is for, noted in its scope as routes note it; None for all others."""
        if scope["type"] != "http" or scope.get("root_path"):
            return None
        path: str = scope["path"]
        endpoint = self._endpoints.get(path)
        if endpoint is None and (name := name_in(path)) and path not in self._listed:
            endpoint, scope["path_params"] = self._task, {"task": name}
        if endpoint is not None:
            scope["endpoint"] = endpoint
        return endpoint


class ShortApp(FastAPI):
    """An application whose hottest requests go to `short`, where it is set, and to the same endpoints in the end."""

    shortcuts: Shortcuts | None = None
    short: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if self.short is None or self.shortcuts is None or self.shortcuts.endpoint_for(scope) is None:
            await super().__call__(scope, receive, send)
        else:
            scope["app"] = self
            await self.short(scope, receive, send)


def name_in(path: str) -> str | None:
    """What follows `/v1/`, where that is one part of a path."""
    name = path.removeprefix(VERSIONED)
    return name if len(name) < len(path) and "/" not in name else None
