"""A provider on loopback that speaks OpenAI's protocol and does what it is told: for tests, benchmarks and demos.

Plain asyncio and HTTP/1.1 with keep-alive: no web framework, and little CPU of its own.
"""

import asyncio
import json
import struct
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http import HTTPStatus
from itertools import count
from typing import Any, cast

HOST = "127.0.0.1"
USAGE = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
TEXT = "This is what the scripted model says."
DIMENSIONS = 8
CREATED = 1_767_225_600
OK = 200
JSON = {"content-type": "application/json"}
EVENTS = {"content-type": "text/event-stream"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """How one request is answered: `status` with `body` or, for None, a fitting answer, after `delay_s` seconds.

    A stream says `text` word by word, `pause_s` apart; with `breaks_after` the connection is cut after so many events,
    and with `cuts` at once. `usage` None reports none; with `usage_rides` it comes with the last choice instead of in
    a chunk of its own.
    """

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    text: str = TEXT
    finish_reason: str = "stop"
    usage: Mapping[str, Any] | None = field(default_factory=lambda: dict(USAGE))
    usage_rides: bool = False
    pause_s: float = 0.0
    cuts: bool = False
    breaks_after: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One request as it arrived."""

    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]


Script = Callable[[Heard], Play]


class ScriptedServer:
    """Answers by its `script`; `heard` keeps the requests, `left` counts clients that went away before the end."""

    def __init__(self, script: Script | None = None) -> None:
        self.script: Script = script or (lambda _: Play())
        self.heard: list[Heard] = []
        self.left = 0
        self.numbers = count(1)
        self.connections: set[Connection] = set()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """The `api_base` of its deployments."""
        assert self._server is not None  # noqa: S101 it is started
        return f"http://{HOST}:{self._server.sockets[0].getsockname()[1]}/v1"

    async def start(self, *, port: int = 0) -> None:
        """Listen; on any free port by default."""
        self._server = await asyncio.get_running_loop().create_server(lambda: Connection(self), HOST, port)

    async def stop(self) -> None:
        """Close every connection."""
        if self._server is not None:
            self._server.close()
            for connection in list(self.connections):
                connection.abort()
            await self._server.wait_closed()


class Connection(asyncio.Protocol):
    """One client: a request at a time, each answered by the script."""

    def __init__(self, server: ScriptedServer) -> None:
        self._server = server
        self._rest = b""
        self._transport: asyncio.Transport | None = None
        self._playing: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody is there."""
        self._transport = cast("asyncio.Transport", transport)
        self._server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 the protocol's
        """They left, maybe before the answer was over."""
        self._server.connections.discard(self)
        if self._playing is not None and not self._playing.done():
            self._playing.cancel()
            self._server.left += 1

    def abort(self) -> None:
        """Cut the connection."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """A part of a request; answer it once it is whole."""
        self._rest += data
        top, separator, rest = self._rest.partition(b"\r\n\r\n")
        if not separator:
            return
        first, *lines = top.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", "0"))
        if len(rest) < length:
            return
        self._rest = rest[length:]
        body = json.loads(rest[:length]) if length else {}
        heard = Heard(path=first.split(" ")[1], headers=headers, body=body)
        self._server.heard.append(heard)
        self._playing = asyncio.get_running_loop().create_task(self._answer(heard))

    async def _answer(self, heard: Heard) -> None:
        play = self._server.script(heard)
        number = next(self._server.numbers)
        if play.delay_s:
            await asyncio.sleep(play.delay_s)
        if play.cuts:
            self.abort()
        elif heard.body.get("stream") and play.status == OK and play.body is None:
            await self._stream(play, heard, number)
        else:
            answer = answer_to(heard, play, number) if play.body is None else play.body
            text = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self._write(head(play.status, {**JSON, "content-length": str(len(text)), **play.headers}) + text)

    async def _stream(self, play: Play, heard: Heard, number: int) -> None:
        self._write(head(OK, {**EVENTS, "transfer-encoding": "chunked", **play.headers}))
        for place, data in enumerate(events(play, heard, number)):
            if place == play.breaks_after:
                self.abort()
                return
            if place and play.pause_s:
                await asyncio.sleep(play.pause_s)
            piece = b"data: " + data + b"\n\n"
            self._write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        self._write(b"0\r\n\r\n")

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


@asynccontextmanager
async def scripted_server(script: Script | None = None) -> AsyncIterator[ScriptedServer]:
    """A running server."""
    server = ScriptedServer(script)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def head(status: int, headers: Mapping[str, str]) -> bytes:
    """The first lines of an answer."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{lines}\r\n".encode()


def answer_to(heard: Heard, play: Play, number: int) -> dict[str, Any]:
    """A whole answer: embeddings, a call of the first tool that was offered, or the text of the play, `n` times."""
    body, model = heard.body, heard.body.get("model")
    if heard.path.endswith("/embeddings"):
        return embeddings(body, model=str(model))
    said: dict[str, Any] = {"role": "assistant", "content": play.text}
    reason = play.finish_reason
    if body.get("tools"):
        name = body["tools"][0]["function"]["name"]
        function = {"name": name, "arguments": play.text if play.text.startswith("{") else "{}"}
        said = {"role": "assistant", "content": None}
        said["tool_calls"] = [{"id": f"call_{number}", "type": "function", "function": function}]
        reason = "tool_calls"
    choices = [{"index": index, "message": said, "finish_reason": reason} for index in range(body.get("n") or 1)]
    answer = {"id": f"chatcmpl-{number}", "object": "chat.completion", "created": CREATED, "model": model}
    answer |= {"choices": choices}
    return answer if play.usage is None else answer | {"usage": play.usage}


def events(play: Play, heard: Heard, number: int) -> Iterator[bytes]:
    """The data of a stream's events: the text word by word, the end, usage where it was asked for, and `[DONE]`."""
    chunk = {"id": f"chatcmpl-{number}", "object": "chat.completion.chunk", "created": CREATED}
    chunk |= {"model": heard.body.get("model")}

    def part(delta: Mapping[str, Any], *, finish: str | None = None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return json.dumps({**chunk, "choices": [choice], **more}).encode()

    yield part({"role": "assistant", "content": ""})
    for place, word in enumerate(play.text.split(" ")):
        yield part({"content": word if place == 0 else f" {word}"})
    wants_usage = (heard.body.get("stream_options") or {}).get("include_usage")
    usage = play.usage if wants_usage else None
    if usage is not None and play.usage_rides:
        yield part({}, finish=play.finish_reason, usage=usage)
    else:
        yield part({}, finish=play.finish_reason)
        if usage is not None:
            yield json.dumps({**chunk, "choices": [], "usage": usage}).encode()
    yield b"[DONE]"


def embeddings(body: Mapping[str, Any], *, model: str) -> dict[str, Any]:
    """A vector for each text, the same for the same text; base64 where that was asked for."""
    given = body["input"]
    texts = given if isinstance(given, list) and not isinstance(given[0], int) else [given]
    data = []
    for index, text in enumerate(texts):
        digest = sha256(json.dumps(text).encode()).digest()
        vector: Any = [byte / 255 for byte in digest[:DIMENSIONS]]
        if body.get("encoding_format") == "base64":
            vector = b64encode(struct.pack(f"<{DIMENSIONS}f", *vector)).decode()
        data.append({"object": "embedding", "index": index, "embedding": vector})
    tokens = sum(len(json.dumps(text)) for text in texts) // 4 + 1
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "model": model, "data": data, "usage": usage}
