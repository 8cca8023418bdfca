"""A TCP proxy on loopback that hands on what it is sent after a delay, for parts that are there but slow."""

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Self


class DelayingProxy:
    """Stands before a port of this machine; `delay_s` may be changed at any time, and delays both directions."""

    def __init__(self, port: int, *, delay_s: float = 0.0) -> None:
        self.delay_s = delay_s
        self._target = port
        self._server: asyncio.Server | None = None
        self._pumps: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cut everybody off."""
        assert self._server is not None
        self._server.close()
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.close()
            return
        for source, target in ((reader, far_writer), (far_reader, writer)):
            pump = asyncio.create_task(self._pump(source, target))
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        """Hand on until the source ends."""
        try:
            with suppress(ConnectionError):
                while data := await source.read(65_536):
                    await asyncio.sleep(self.delay_s)
                    target.write(data)
                    await target.drain()
        finally:
            target.close()
