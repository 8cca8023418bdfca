"""Server-sent events: bytes in pieces to the data of each event, and back. Knows nothing of what they say."""

from collections.abc import AsyncIterator, Iterator

from feedback_gateway.errors import ProviderUnavailable
from feedback_gateway.llm.provider_errors import MAX_ANSWER_BYTES

DONE = b"data: [DONE]\n\n"
END = b"[DONE]"


class EventReader:
    """Cuts a stream into the data of its events, wherever its pieces begin and end; comments and names are left out."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """The data of every event that `piece` completes. Raises ProviderUnavailable for one without end."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        if len(self._rest) > MAX_ANSWER_BYTES:
            raise ProviderUnavailable("an event of the stream is larger than 16 MiB")
        for line in lines:
            text = line.removesuffix(b"\r")
            if text.startswith(b"data:"):
                self._data.append(text[5:].removeprefix(b" "))
            elif not text and self._data:
                yield b"\n".join(self._data)
                self._data = []

    def end(self) -> Iterator[bytes]:
        """What was sent last, where the stream ended without the empty line."""
        yield from self.feed(b"\n\n")


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
