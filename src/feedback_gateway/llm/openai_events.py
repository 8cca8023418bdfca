"""Server-sent events: bytes in pieces to the data of each event, and back; a whole answer as if it were a stream."""

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import msgspec

from feedback_gateway.errors import ProviderUnavailable
from feedback_gateway.llm.provider_errors import MAX_ANSWER_BYTES

DONE = b"data: [DONE]\n\n"
END = b"[DONE]"


class EventReader:
    """Cuts a stream into the data of its events, wherever its pieces begin and end; comments and names are left out."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """The data of every event that `piece` completes. Raises ProviderUnavailable for one without end."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            text = line.removesuffix(b"\r")
            self._size = self._size + len(text) if text else 0
            self._bound()
            if text.startswith(b"data:"):
                self._data.append(text[5:].removeprefix(b" "))
            elif not text and self._data:
                yield b"\n".join(self._data)
                self._data = []
        self._bound()

    def _bound(self) -> None:
        if self._size + len(self._rest) > MAX_ANSWER_BYTES:
            raise ProviderUnavailable("an event of the stream is larger than 16 MiB")

    def end(self) -> Iterator[bytes]:
        """What was sent last, where the stream ended without the empty line."""
        yield from self.feed(b"\n\n")


def wants_usage(body: Mapping[str, Any]) -> bool:
    """Whether a request asks for a last event that tells its usage."""
    options = body.get("stream_options")
    return isinstance(options, Mapping) and bool(options.get("include_usage"))


def events_from(answer: bytes, *, wants_usage: bool) -> Iterator[bytes]:
    """A whole answer, OpenAI's JSON of a chat completion, as the events of a stream, `[DONE]` included."""
    document: dict[str, Any] = msgspec.json.decode(answer)
    usage = document.pop("usage", None)
    chunk = {**document, "object": "chat.completion.chunk"}
    yield event(msgspec.json.encode({**chunk, "choices": [delta_of(choice) for choice in document["choices"]]}))
    if wants_usage:
        yield event(msgspec.json.encode({**chunk, "choices": [], "usage": usage}))
    yield DONE


def delta_of(choice: Mapping[str, Any]) -> dict[str, Any]:
    """A choice as one part of a stream: its calls of tools are numbered there."""
    delta = dict(choice.get("message") or {})
    if delta.get("tool_calls"):
        delta["tool_calls"] = [{"index": index, **call} for index, call in enumerate(delta["tool_calls"])]
    return {**{name: value for name, value in choice.items() if name != "message"}, "delta": delta}


async def events_of(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The data of every event of a stream."""
    reader = EventReader()
    async for piece in pieces:
        for data in reader.feed(piece):
            yield data
    for data in reader.end():
        yield data


def event(data: bytes) -> bytes:
    """One event; `data` is on one line."""
    return b"data: " + data + b"\n\n"
