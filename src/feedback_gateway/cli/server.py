"""Runs uvicorn: binds the port, announces the URL once it answers, and finishes what is in flight before it ends."""

import asyncio
import gc
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from ipaddress import IPv6Address, ip_address
from types import FrameType
from typing import Any

import typer
import uvicorn
import uvloop

from feedback_gateway.app import create_app
from feedback_gateway.background import start
from feedback_gateway.cli.protocol import ProblemProtocol
from feedback_gateway.cli.workforce import Workforce
from feedback_gateway.deployments import deployments_of
from feedback_gateway.errors import ConfigurationError
from feedback_gateway.llm.providers import EMBEDDED_MODEL, load_libraries
from feedback_gateway.observability.logs import configure_logging
from feedback_gateway.services import Services, open_services
from feedback_gateway.settings import LogSettings, Settings

BACKLOG = 2048
DRAIN_S = 20
KEEP_ALIVE_S = 75
SWITCH_S = 0.0005
"""How long a thread keeps the interpreter from another that wants it: the log's must not keep answers waiting."""
LINGER_S = 1.0
"""How long requests on open connections are answered with a refusal, which closes them, before all are closed."""

Application = Callable[..., Any]


def run_server(settings: Settings, *, host: str, port: int, workers: int) -> int:
    """Serve until a signal asks for the end; returns the exit code, 0 for an end that was asked for.

    Raises ConfigurationError where the port cannot be had or the gateway cannot work as it is configured.
    """
    listener = bind(host, port)
    log_to_stderr(settings.log)
    announce = partial(tell_ready, url_of(listener))
    work = partial(serve_in_this_process, settings, listener, is_local=is_loopback(host))
    if workers == 1:
        return work(on_ready=announce)
    prepare_to_fork(settings)
    workforce = Workforce(
        lambda post: work(on_ready=post.report_ready, parent=post.alive),
        count=workers,
        announce=announce,
        refuse_new=listener.close,
    )
    return workforce.run()


def prepare_to_fork(settings: Settings) -> None:
    """Do what workers would each do for themselves, as far as it can be shared: everything is imported and kept.

    Nothing may be open or running afterwards that a fork could not take over: no thread, connection or event loop.
    """
    load_libraries(deployments_of(settings))
    keep_for_good()  # or the collector would write to every page that the workers share


def keep_for_good() -> None:
    """Let the collector never again look at what is there: it stays as long as the process."""
    gc.collect()
    gc.freeze()


def serve_in_this_process(
    settings: Settings,
    listener: socket.socket,
    *,
    is_local: bool,
    on_ready: Callable[[], None],
    parent: int | None = None,
) -> int:
    """Serve until a signal; the exit code. Ends as well when `parent`, the reading end of a pipe, is closed."""
    sys.setswitchinterval(SWITCH_S)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if parent is not None:
            runner.get_loop().add_reader(parent, os.kill, os.getpid(), signal.SIGTERM)
        return runner.run(serve(settings, listener, is_local=is_local, on_ready=on_ready))


async def serve(settings: Settings, listener: socket.socket, *, is_local: bool, on_ready: Callable[[], None]) -> int:
    """Serve in this process; the exit code."""
    async with AsyncExitStack() as stack:
        services = await stack.enter_async_context(open_services(settings))
        await require_admin_key(services, is_local=is_local)
        app = create_app(settings, services, is_local=is_local)

        def answer() -> None:
            keep_for_good()
            on_ready()
            start(stack, warm_up(services), name="warm-up")
            if settings.feedback.in_serve:
                start(stack, services.jobs.run(), name="jobs")

        server = AnnouncingServer(uvicorn_config(app), on_ready=answer, refuse_new=app.state.drain.close)
        # uvicorn finishes what is in flight on these signals and raises them again: the services are closed after that
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        await server.serve(sockets=[listener])
    return 0 if server.started else 1


async def warm_up(services: Services) -> None:
    """Load what the first requests would wait for, and say so where a person may be one of those who wait."""
    is_told = sys.stderr.isatty() and any(one.model == EMBEDDED_MODEL for one in services.deployments)
    if is_told:
        typer.echo("The embedded model is being loaded; what is asked before it is there waits for it.", err=True)
    await services.warm_up()
    if is_told:
        typer.echo("The embedded model is loaded.", err=True)


async def require_admin_key(services: Services, *, is_local: bool) -> None:
    """Raise ConfigurationError where others could come in and nobody would need a key."""
    if not is_local and not await asyncio.to_thread(services.books.consumers.is_closed):
        raise ConfigurationError(
            "--host: there is no admin key, so the gateway listens on loopback addresses only; "
            "create one with `feedback-gateway keys create --admin`, or use 127.0.0.1"
        )


def log_to_stderr(log: LogSettings) -> None:
    """Show the gateway's own log as the settings want it."""
    configure_logging(sys.stderr, style=log.format, level=log.level)


def uvicorn_config(app: Application) -> uvicorn.Config:
    """How uvicorn runs the application: its fast parts, errors only, and a bounded time to finish."""
    return uvicorn.Config(
        app,
        loop="uvloop",
        http=ProblemProtocol,
        ws="none",
        lifespan="on",
        log_level="error",
        access_log=False,
        server_header=False,
        date_header=True,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=DRAIN_S,
    )


def is_waited_at(listener: socket.socket) -> bool:
    """Whether somebody has connected whom nobody has let in yet."""
    return bool(select.select([listener], [], [], 0)[0])


def bind(host: str, port: int) -> socket.socket:
    """A bound socket that does not listen yet, so that nobody is answered before the gateway is ready."""
    address = "127.0.0.1" if host == "localhost" else host.strip("[]")
    try:
        ip_address(address)
    except ValueError:
        raise ConfigurationError(f"--host {host}: is no IP address; use 127.0.0.1, 0.0.0.0 or one of yours") from None
    family = socket.AF_INET6 if isinstance(ip_address(address), IPv6Address) else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # named: else no TCP_NODELAY is set
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
    except OSError as error:
        listener.close()
        raise ConfigurationError(f"--port {port}: {error.strerror}; choose another, or 0 for any") from None
    return listener


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return host == "localhost" or ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def url_of(listener: socket.socket) -> str:
    """The URL of a bound socket."""
    address, port = listener.getsockname()[:2]
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"


def tell_ready(url: str) -> None:
    """The one line that says the gateway answers."""
    typer.echo(f"Feedback Gateway is ready at {url}")


class AnnouncingServer(uvicorn.Server):
    """A server that says when it answers, and takes no new request from the moment that a signal ends it."""

    def __init__(self, config: uvicorn.Config, *, on_ready: Callable[[], None], refuse_new: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready
        self._refuse_new = refuse_new

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so."""
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let in who is at the door and nobody after them, tell all of them, then finish what is in flight.

        A connection closed while a request is on its way leaves a caller who cannot know whether it was begun; one
        that is not taken leaves one who knows that it was not.
        """
        deadline = time.monotonic() + LINGER_S
        for listener in sockets or ():
            listener.listen(0)  # no queue: whoever comes now is passed over, and refused when they try again
        while time.monotonic() < deadline and any(map(is_waited_at, sockets or ())):  # noqa: ASYNC110 - as below
            await asyncio.sleep(0)
        for server in self.servers:
            server.close()
        while self.server_state.connections and time.monotonic() < deadline:  # noqa: ASYNC110 - nobody tells of the last
            await asyncio.sleep(LINGER_S / 20)
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take a signal."""
        self._refuse_new()
        super().handle_exit(sig, frame)
