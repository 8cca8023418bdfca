"""Other people's gateways, each in an environment of its own outside this tree; never a dependency of ours."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tests.benchmarks import workload
from tests.benchmarks.floor import PROVIDER_URL
from tests.benchmarks.processes import Server, listening, running
from tests.servers import free_port

LITELLM = "litellm[proxy]==1.106.2"
"""The newest one that resolves; never 1.82.7, 1.82.8 or 1.107.0."""
PORTKEY = "@portkey-ai/gateway@1.15.2"
KEY = "sk-benchmark"
PATH = "/v1/chat/completions"
INSTALL_S = 900
DELAYS_MS = (0, 60)


class MissingError(Exception):
    """A peer cannot be had on this machine, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One request of a gateway, and the status of its answer."""

    path: str
    body: str
    headers: Mapping[str, str]
    status: int = 200


@dataclass(frozen=True, slots=True)
class Running:
    """A gateway that was started, and how it is asked for a chat completion by a provider of so many ms."""

    server: Server
    ask: Callable[[int], Question]


class Peer(Protocol):
    """One gateway."""

    def install(self) -> None:
        """Install it, unless it is. Raises MissingError."""
        ...

    def run(self, folder: Path, *, provider_url: str) -> AbstractContextManager[Running]:
        """Start one worker in `folder`, in front of a provider; the block's end is its end."""
        ...


def chat_body(delay_ms: int) -> str:
    """The body that every gateway gets: about 110 tokens, to the alias that stands for a provider of so many ms."""
    system = (
        "You sort what users say about a product. Answer with one JSON object: category, sentiment, severity, evidence."
    )
    messages = [{"role": "system", "content": system}, {"role": "user", "content": workload.text()}]
    return json.dumps({"model": alias_of(delay_ms), "messages": messages, "max_tokens": 256, "temperature": 0})


def alias_of(delay_ms: int) -> str:
    """What a provider that takes so long is called in every gateway's configuration."""
    return f"after-{delay_ms}"


def environments() -> Path:
    """Where peers are installed: kept from run to run, and outside the tree."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return cache / "feedback-gateway" / "peers"


def install(folder: Path, what: str, *commands: list[str]) -> None:
    """Run `commands` in a new `folder`, unless `what` is there. Raises MissingError."""
    mark = folder / "installed"
    if mark.is_file() and mark.read_text(encoding="utf-8") == what:
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        for command in commands:
            subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=INSTALL_S)
    except FileNotFoundError as error:
        raise MissingError(f"{error.filename} is not installed") from None
    except subprocess.SubprocessError as error:
        said = str(getattr(error, "stderr", "") or error).strip().splitlines()
        raise MissingError(f"{what} cannot be installed: {said[-1][:80] if said else error}") from None
    mark.write_text(what, encoding="utf-8")


@dataclass(frozen=True, slots=True)
class LiteLLM:
    """LiteLLM's proxy with its master key, which it insists on, and no database."""

    cache: Mapping[str, Any] | None = None

    def install(self) -> None:
        """Into a virtual environment. Raises MissingError."""
        place = environments() / "litellm"
        python = str(place / "bin" / "python")
        make = [sys.executable, "-m", "venv", str(place)]
        install(place, LITELLM, make, [python, "-m", "pip", "install", "--quiet", LITELLM])

    @contextmanager
    def run(self, folder: Path, *, provider_url: str) -> Iterator[Running]:
        """One worker."""
        models = [
            {
                "model_name": alias_of(delay),
                "litellm_params": {
                    "model": "openai/gpt-4o-mini",
                    "api_base": f"{provider_url}/{delay}/v1",
                    "api_key": "none",
                },
            }
            for delay in DELAYS_MS
        ]
        cached = {} if self.cache is None else {"cache": True, "cache_params": dict(self.cache)}
        config = {"model_list": models, "litellm_settings": cached, "general_settings": {"master_key": KEY}}
        file = folder / "litellm.yaml"
        file.write_text(json.dumps(config), encoding="utf-8")
        port = str(free_port())
        program = str(environments() / "litellm" / "bin" / "litellm")
        options = ["--config", str(file), "--host", "127.0.0.1", "--port", port, "--num_workers", "1"]
        quiet = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "PYTHONPATH": ""}
        with listening(program, *options, url=f"http://127.0.0.1:{port}", folder=folder, extra=quiet) as server:
            headers = {"authorization": f"Bearer {KEY}"}
            yield Running(server, lambda delay: Question(path=PATH, body=chat_body(delay), headers=headers))


@dataclass(frozen=True, slots=True)
class Portkey:
    """Portkey's gateway on Node; it is told in each request whom to ask."""

    def install(self) -> None:
        """Into a folder of npm's. Raises MissingError."""
        install(environments() / "portkey", PORTKEY, ["npm", "install", "--no-audit", "--no-fund", PORTKEY])

    @contextmanager
    def run(self, folder: Path, *, provider_url: str) -> Iterator[Running]:
        """One process."""
        port = str(free_port())
        place = environments() / "portkey" / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
        url = f"http://127.0.0.1:{port}"

        def ask(delay_ms: int) -> Question:
            host = f"{provider_url}/{delay_ms}/v1"
            headers = {"authorization": f"Bearer {KEY}", "x-portkey-provider": "openai", "x-portkey-custom-host": host}
            return Question(path=PATH, body=chat_body(delay_ms), headers=headers)

        with listening("node", str(place), f"--port={port}", "--headless", url=url, folder=folder) as server:
            yield Running(server, ask)


@dataclass(frozen=True, slots=True)
class Floor:
    """Starlette and aiohttp in twenty lines, in our own environment."""

    def install(self) -> None:
        """Nothing to install."""

    @contextmanager
    def run(self, folder: Path, *, provider_url: str) -> Iterator[Running]:
        """One process."""
        extra = {PROVIDER_URL: provider_url}
        with running("-m", "tests.benchmarks.floor", folder=folder, extra=extra) as server:
            yield Running(server, lambda delay: Question(path=f"/{delay}{PATH}", body=chat_body(delay), headers={}))
