"""A provider on loopback that speaks OpenAI's protocol and costs next to nothing: `python -m` this, and it says where.

Answers every chat completion with the same bytes after as many milliseconds as its path begins with, such as
`/60/v1/chat/completions`; one that asks for a stream gets it in twenty chunks, with its usage at the end.
"""

import asyncio
import json
import sys
from typing import Any, cast

import uvloop

from tests.benchmarks import workload

CHUNKS = 20
MODEL = "gpt-4o-mini"
USAGE = {"prompt_tokens": 110, "completion_tokens": 100, "total_tokens": 210}
STREAMED = (b'"stream":true', b'"stream": true')


def completion() -> bytes:
    """The whole answer."""
    choice: dict[str, Any] = {
        "index": 0,
        "message": {"role": "assistant", "content": workload.answer()},
        "finish_reason": "stop",
    }
    body = json.dumps(about("chat.completion") | {"choices": [choice], "usage": USAGE}).encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def stream() -> bytes:
    """The same answer as server-sent events."""
    text = workload.answer()
    size = len(text) // CHUNKS + 1
    deltas = [
        {"role": "assistant", "content": ""},
        *({"content": text[at : at + size]} for at in range(0, len(text), size)),
    ]
    choices: list[dict[str, Any]] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    events = [about("chat.completion.chunk") | {"choices": [choice]} for choice in choices]
    events.append(about("chat.completion.chunk") | {"choices": [], "usage": USAGE})
    lines = [f"data: {json.dumps(event)}\n\n".encode() for event in events] + [b"data: [DONE]\n\n"]
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%s\r\n" % (len(line), line) for line in lines) + b"0\r\n\r\n"


def about(kind: str) -> dict[str, object]:
    """What every object of an answer says of itself."""
    return {"id": "chatcmpl-benchmark", "object": kind, "created": 1_700_000_000, "model": MODEL}


class ProviderProtocol(asyncio.Protocol):
    """One connection; requests on it come one after the other."""

    def __init__(self, whole: bytes, streamed: bytes) -> None:
        self._whole = whole
        self._streamed = streamed
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name

    def data_received(self, data: bytes) -> None:
        """Take some bytes, and answer once a request is whole."""
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self._received[:end]).lower()
        length = int(head.split(b"content-length:")[1].split(b"\r\n", 1)[0]) if b"content-length:" in head else 0
        if len(self._received) < end + 4 + length:
            return
        is_streamed = any(mark in self._received for mark in STREAMED)
        self._received.clear()
        delay_ms = int(head.split(b"/", 2)[1])
        answer = self._streamed if is_streamed else self._whole
        if delay_ms:
            asyncio.get_running_loop().call_later(delay_ms / 1000, self._answer, answer)
        else:
            self._answer(answer)

    def _answer(self, answer: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(answer)


async def serve() -> None:
    """Serve until the process is ended."""
    whole, streamed = completion(), stream()
    server = await asyncio.get_running_loop().create_server(lambda: ProviderProtocol(whole, streamed), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    sys.stdout.write(f"scripted provider at http://127.0.0.1:{port}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve())
