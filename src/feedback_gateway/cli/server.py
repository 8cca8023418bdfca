"""Runs uvicorn: binds the port, announces the URL once it answers, and finishes what is in flight before it ends."""

import asyncio
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from types import FrameType
from typing import Any

import typer
import uvicorn
import uvloop
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from feedback_gateway.app import create_app
from feedback_gateway.cli.protocol import ProblemProtocol
from feedback_gateway.cli.running import run_async
from feedback_gateway.cli.terminal import complain
from feedback_gateway.errors import ConfigurationError
from feedback_gateway.observability.logs import configure_logging
from feedback_gateway.services import Services, open_services
from feedback_gateway.settings import LogSettings, Settings, load_settings

BACKLOG = 2048
DRAIN_S = 20
KEEP_ALIVE_S = 75
READY_S = 60.0

Application = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class WorkerApp:
    """Builds the application in a worker process, which gets the path of the configuration and reads it itself."""

    config: Path | None
    is_local: bool

    def __call__(self) -> Application:
        """The application of one worker."""
        settings = load_settings(self.config)
        log_to_stderr(settings.log)
        return create_app(settings, is_local=self.is_local)


def run_server(settings: Settings, *, config: Path | None, host: str, port: int, workers: int) -> int:
    """Serve until a signal asks for the end; returns the exit code, 0 for an end that was asked for.

    Raises ConfigurationError where the port cannot be had or the gateway cannot work as it is configured.
    """
    listener = bind(host, port)
    url = url_of(listener)
    is_local = is_loopback(host)
    log_to_stderr(settings.log)
    if workers > 1:
        run_async(try_services(settings, is_local=is_local))
        supervisor = Supervisor(uvicorn_config(WorkerApp(config, is_local), workers=workers), [listener], url)
        supervisor.run()
        return supervisor.exit_code
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(serve_alone(settings, listener, url, is_local=is_local))


async def serve_alone(settings: Settings, listener: socket.socket, url: str, *, is_local: bool) -> int:
    """Serve in this process; the exit code."""
    async with open_services(settings) as services:
        await require_admin_key(services, is_local=is_local)
        app = create_app(settings, services, is_local=is_local)
        server = AnnouncingServer(uvicorn_config(app, workers=1), url=url, refuse_new=app.state.drain.close)
        # uvicorn finishes what is in flight on these signals and raises them again: the services are closed after that
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        await server.serve(sockets=[listener])
    return 0 if server.started else 1


async def try_services(settings: Settings, *, is_local: bool) -> None:
    """Open and close everything, so that what cannot work is told once and not by every worker."""
    async with open_services(settings) as services:
        await require_admin_key(services, is_local=is_local)


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


def uvicorn_config(app: Application, *, workers: int) -> uvicorn.Config:
    """How uvicorn runs the application: its fast parts, errors only, and a bounded time to finish."""
    return uvicorn.Config(
        app,
        factory=isinstance(app, WorkerApp),
        workers=workers,
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
    listener.set_inheritable(True)
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


def announce(url: str) -> None:
    """The one line that says the gateway answers."""
    typer.echo(f"Feedback Gateway is ready at {url}")


class AnnouncingServer(uvicorn.Server):
    """A server that says when it answers, and takes no new request from the moment that a signal ends it."""

    def __init__(self, config: uvicorn.Config, *, url: str, refuse_new: Callable[[], None]) -> None:
        super().__init__(config)
        self._url = url
        self._refuse_new = refuse_new

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then announce."""
        await super().startup(sockets)
        if self.started:
            announce(self._url)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take a signal."""
        self._refuse_new()
        super().handle_exit(sig, frame)


class Supervisor(Multiprocess):
    """Several workers on one socket; announced once all of them answer."""

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket], url: str) -> None:
        super().__init__(config, sockets)
        self._url = url
        self.exit_code = 0

    def terminate_all(self) -> None:
        """End the workers; nobody is let in any more, not even to wait."""
        for listener in self.sockets:
            listener.close()
        super().terminate_all()

    def init_processes(self) -> None:
        """Start the workers and wait until they answer."""
        super().init_processes()
        if all(process.wait_until_ready(READY_S, self.should_exit) for process in self.processes):
            announce(self._url)
        elif not self.signal_queue:
            self.exit_code = complain("a worker could not start; try --workers 1 to see why", code=1)
            self.should_exit.set()

    def keep_subprocess_alive(self) -> None:
        """Replace workers that died; give up where a new one cannot start."""
        super().keep_subprocess_alive()
        if any(process.exitcode == STARTUP_FAILURE for process in self.processes):
            self.exit_code = 1
