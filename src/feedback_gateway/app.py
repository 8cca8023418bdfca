"""Builds the HTTP application: middleware, routes, error handlers, lifespan. What a route does is not known here."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI
from starlette.types import ASGIApp

from feedback_gateway import __version__
from feedback_gateway.api.error_handlers import Faults, Reached, add_error_handlers
from feedback_gateway.api.middleware import BodyLimit, Drain, Draining, Stamp
from feedback_gateway.api.routes import add_routes
from feedback_gateway.api.shortcuts import ShortApp
from feedback_gateway.background import start
from feedback_gateway.clock import SystemClock
from feedback_gateway.observability.sources import request_figures
from feedback_gateway.services import Services, open_services
from feedback_gateway.settings import Settings

REFRESH_S = 1.0
GRACE_S = 30.0

log = logging.getLogger(__name__)


def create_app(settings: Settings, services: Services | None = None, *, is_local: bool = True) -> FastAPI:
    """The application. It opens its services at start-up, unless they are given, and closes only what it opened.

    `is_local` tells that it listens on a loopback address, where callers need no key until there is an admin key.

    `app.state.drain.close()` makes it refuse new requests; stopping waits up to GRACE_S for those in flight.
    """
    drain = Drain()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            opened = services
            if opened is None:
                opened = await stack.enter_async_context(open_services(settings))
                if settings.feedback.in_serve:
                    start(stack, opened.jobs.run(), name="jobs")
            app.state.services = opened
            opened.watch.registry.add(request_figures(lambda: drain.in_flight))
            refreshing = asyncio.create_task(refresh_prompts(opened), name="prompt-refresh")
            try:
                yield
            finally:
                drain.close()
                await drain.idle(within=GRACE_S)
                refreshing.cancel()
                await asyncio.wait({refreshing})

    app = ShortApp(
        title="Feedback Gateway",
        version=__version__,
        openapi_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.services = services
    app.state.drain = drain
    app.state.is_local = is_local
    add_error_handlers(app)
    app.shortcuts = add_routes(app)
    clock = services.clock if services else SystemClock()

    def around(inner: ASGIApp) -> ASGIApp:
        inner = Faults(Draining(BodyLimit(inner, most_bytes=settings.limits.body_bytes), drain))
        return Stamp(inner, clock, settings.telemetry.own_share)

    app.add_middleware(around)
    app.short = around(Reached())
    return app


async def refresh_prompts(services: Services) -> None:
    """Look for changed prompt files every second, for ever; a file that cannot be used is the library's to tell."""
    while True:
        await services.clock.sleep(REFRESH_S)
        if await asyncio.to_thread(services.library.refresh):
            for broken in services.registry.broken.values():
                log.warning("the last good version goes on serving: %s", broken)
