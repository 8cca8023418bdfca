"""A provider on loopback that speaks OpenAI's protocol and counts what it is asked."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from anyio.from_thread import start_blocking_portal

RATES = {"input_cost_per_token": "0.000001", "output_cost_per_token": "0.000002"}
ANSWER = {"severity": "major", "priority": "P2", "impact": "not stated", "reason": "Something is lost."}
USAGE = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}


class CountingProvider:
    """Answers every chat completion with the same severity, after `delay_s` seconds."""

    def __init__(self, *, delay_s: float = 0.0) -> None:
        self.requests = 0
        self._delay = delay_s
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None
        choice = {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": json.dumps(ANSWER)},
        }
        body = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": USAGE}
        sent = json.dumps(body).encode()
        self._answer = (
            f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(sent)}\r\n\r\n".encode() + sent
        )

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop to listen."""
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in self._writers), return_exceptions=True)

    def deployment(self, **params: Any) -> dict[str, Any]:
        """This provider in `model_list`, as the alias `default`."""
        assert self._server is not None
        url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
        return {
            "model_name": "default",
            "litellm_params": {"model": "openai/m", "api_base": url, "api_key": "none", **params},
        }

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer every request of one connection."""
        self._writers.append(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
                length = next(int(line.split(b":")[1]) for line in head if line.startswith(b"content-length:"))
                await reader.readexactly(length)
                self.requests += 1
                await asyncio.sleep(self._delay)
                writer.write(self._answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


@contextmanager
def provider_in_thread(*, delay_s: float = 0.0) -> Iterator[CountingProvider]:
    """A provider that answers while the test waits for something else."""
    provider = CountingProvider(delay_s=delay_s)
    with start_blocking_portal("asyncio") as portal, portal.wrap_async_context_manager(provider):
        yield provider
