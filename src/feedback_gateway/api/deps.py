"""What routes are given: the services, and who is calling."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Annotated, Any, ParamSpec, TypeVar

from anyio import to_thread
from fastapi import Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from feedback_gateway.api.middleware import Drain
from feedback_gateway.consumers.models import Caller
from feedback_gateway.errors import Forbidden, InvalidRequest, Problem, Unauthorized, Unavailable
from feedback_gateway.services import Services

FLUSH_S = 1.0
LOOK_UP_S = 5.0
REPORT_S = 60.0

T = TypeVar("T")
P = ParamSpec("P")


class Query(BaseModel):
    """Query parameters of a route; one that the route does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PageQuery(Query):
    """Query parameters of every list."""

    limit: Annotated[int, Field(ge=1, le=200, description="most rows of one page")] = 50
    cursor: Annotated[
        str | None, Field(max_length=200, pattern=r"^[^\x00]*$", description="`next_cursor` of the page before")
    ] = None


def services_of(request: Request) -> Services:
    """The services of this process. Raises Unavailable before they are open."""
    services: Services | None = request.app.state.services
    if services is None:
        raise Unavailable("the gateway is starting", retry_after=1)
    return services


def drain_of(request: Request) -> Drain:
    """The count of requests in flight."""
    drain: Drain = request.app.state.drain
    return drain


@asynccontextmanager
async def in_time(seconds: float) -> AsyncIterator[None]:
    """Wait for the database no longer than `seconds`. Raises Unavailable; a thread that waits on is left to itself."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise Unavailable(f"the database did not answer within {seconds:g} s", retry_after=1) from None


async def in_thread(work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """What `work`, which asks the database, returns. Raises Unavailable where that takes too long."""
    async with in_time(REPORT_S):
        return await to_thread.run_sync(partial(work, *arguments, **named), abandon_on_cancel=True)


async def caller_of(request: Request) -> Caller:
    """Who sent this request, by its key alone. Raises Unauthorized.

    Without a key that is `local`, where the gateway listens on a loopback address and there never was an admin key.
    """
    services = services_of(request)
    callers, key, is_local = services.books.callers, key_of(request), request.app.state.is_local
    caller = callers.known(key, is_local=is_local)
    if caller is None:
        async with in_time(LOOK_UP_S):
            caller = await callers.caller(key, is_local=is_local)
    request.state.caller = caller
    return caller


async def admin_of(request: Request) -> Caller:
    """Who sent this request, an admin. Raises Unauthorized or Forbidden."""
    caller = await caller_of(request)
    caller.require_admin()
    return caller


def key_of(request: Request) -> str | None:
    """The key that a request brings. Raises Unauthorized for credentials of another kind, or two keys that differ."""
    given = request.headers.getlist("x-api-key")
    for credentials in request.headers.getlist("authorization"):
        scheme, _, key = credentials.strip().partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthorized("send the key as `Authorization: Bearer KEY` or `X-API-Key: KEY`")
        given.append(key)
    keys = {key.strip() for key in given}
    if len(keys) > 1:
        raise Unauthorized("this request brings more than one key")
    return keys.pop() if keys else None


def visible(caller: Caller, consumer: str | None) -> str | None:
    """The consumer whose rows are to be shown: the caller's own, or for an admin whoever was asked for.

    Raises Forbidden where somebody asks for another's.
    """
    if caller.sees is None:
        return consumer
    if consumer not in (None, caller.sees):
        raise Forbidden(f"this key sees the rows of {caller.sees!r} only")
    return caller.sees


def refuse_repeated(request: Request) -> None:
    """Refuse a query parameter that is given twice: nobody knows which one was meant."""
    names = [name for name, _ in request.query_params.multi_items()]
    problems = [Problem(("query", name), "given more than once") for name in set(names) if names.count(name) > 1]
    if problems:
        raise InvalidRequest(f"query.{problems[0].loc[1]}: given more than once", problems=problems)


def refuse_query(request: Request) -> None:
    """Refuse every query parameter, for routes that take none."""
    if not request.scope["query_string"]:
        return
    problems = [Problem(("query", name), "unknown parameter; this path takes none") for name in request.query_params]
    if problems:
        raise InvalidRequest(f"query.{problems[0].loc[1]}: {problems[0].msg}", problems=problems)


@contextmanager
def query_errors() -> Iterator[None]:
    """Say of what is wrong with a parameter that it stands in the query."""
    try:
        yield
    except InvalidRequest as error:
        problems = [Problem(("query", *problem.loc), problem.msg) for problem in error.problems]
        raise InvalidRequest(error.detail, problems=problems) from None


async def settle(services: Services) -> None:
    """Let calls that are over reach the log, so that whoever asks sees their own; but do not wait for a sick store."""
    try:
        async with asyncio.timeout(FLUSH_S):
            await services.books.writer.flush()
    except TimeoutError:
        return


ServicesDep = Annotated[Services, Depends(services_of)]
DrainDep = Annotated[Drain, Depends(drain_of)]
CallerDep = Annotated[Caller, Depends(caller_of)]
Json = dict[str, Any]
