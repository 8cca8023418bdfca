"""Gateways as operators run them: processes of their own, at a port that a successor takes over, over real parts."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.servers import free_port

END_S = 60.0


class GatewayProcess:
    """`serve` in a folder of its own, with the settings that it is given."""

    def __init__(self, folder: Path, settings: dict[str, Any], *arguments: str) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "gateway.yaml").write_text(json.dumps(settings))
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and return when it says that it answers."""
        command = [sys.executable, "-m", "feedback_gateway", "serve", "--port", str(self.port), *self._arguments]
        with self.errors_file.open("ab") as errors:
            self._process = subprocess.Popen(command, cwd=self._folder, stdout=subprocess.PIPE, stderr=errors)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line == f"Feedback Gateway is ready at {self.url}\n".encode(), self.errors

    def stop(self) -> int:
        """Ask it to end, and wait; its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self) -> int:
        """Its exit code, once it has ended."""
        assert self._process is not None
        code = self._process.wait(END_S)
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process = None
        return code

    def kill(self) -> None:
        """End it at once, where it still runs."""
        if self._process is not None:
            self.signal(signal.SIGKILL)
            self.wait()

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    @property
    def errors_file(self) -> Path:
        """Where its standard error goes."""
        return self._folder / "errors"

    @property
    def errors(self) -> str:
        """What it said on standard error so far."""
        return self.errors_file.read_text()


@contextmanager
def gateway_process(folder: Path, settings: dict[str, Any], *arguments: str) -> Iterator[GatewayProcess]:
    """A gateway that answers, gone at the end."""
    gateway = GatewayProcess(folder, settings, *arguments)
    try:
        gateway.start()
        yield gateway
    finally:
        gateway.kill()
