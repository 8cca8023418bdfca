"""The way past the list of routes leads where the list does."""

import asyncio
from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from feedback_gateway.api.routes import PAGES, add_routes
from feedback_gateway.api.shortcuts import Shortcuts

KNOWN = sorted({page.path for page in PAGES} | {"/v1/chat/completions", "/v1/embeddings", "/v1/models", "/metrics"})
PARTS = st.sampled_from(
    ["v1", "classify", "calls", "chat", "completions", "admin", "models", "health", "", " ", "ä", "%"]
)
PATHS = st.sampled_from(KNOWN) | st.lists(PARTS, max_size=4).map(lambda parts: "/" + "/".join(parts))


@pytest.fixture(scope="module")
def app() -> FastAPI:
    """An application with all routes, that serves nobody."""
    made = FastAPI(openapi_url=None)
    add_routes(made)
    return made


def by_the_list(app: FastAPI, scope: Scope) -> Iterator[tuple[object, object]]:
    """The endpoint that the list of routes gives, and the parts of the path that it reads."""
    for route in app.router.routes:
        match, found = route.matches(scope)
        if match is Match.FULL:
            yield found["endpoint"], found["path_params"]
            return


@given(path=PATHS, method=st.sampled_from(["GET", "POST", "PUT"]))
def test_every_path_ends_where_the_list_of_routes_leads(app: FastAPI, path: str, method: str) -> None:
    """Whoever takes the shortcut meets the same endpoint, and the rest goes on to the list."""
    scope: Scope = {"type": "http", "method": method, "path": path, "root_path": "", "headers": []}
    expected = dict(by_the_list(app, dict(scope)))
    shortcuts = app.router.middleware_stack
    assert isinstance(shortcuts, Shortcuts)
    taken = shortcuts.endpoint_for(scope)

    assert taken is None or expected == {taken: scope.get("path_params", {})}
    assert taken is not None or method != "POST" or path not in {"/v1/classify", "/v1/chat/completions", "/classify"}


def test_what_is_no_request_goes_on() -> None:
    """Start and end of the service, and a path below a proxy's, are for the list."""
    passed: list[str] = []

    async def others(scope: Scope, receive: Receive, send: Send) -> None:
        passed.append(scope["type"])

    async def refuse(*_: object) -> None:
        pytest.fail("took the shortcut")

    shortcuts = Shortcuts(others, endpoints={"/classify": refuse}, task=refuse, listed=())
    lifespan: Scope = {"type": "lifespan"}
    below: Scope = {"type": "http", "path": "/classify", "root_path": "/gateway"}

    for scope in (lifespan, below):
        asyncio.run(shortcuts(scope, refuse, refuse))  # type: ignore[arg-type]

    assert passed == ["lifespan", "http"]
