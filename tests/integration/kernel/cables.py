"""A cable between two parts: a TCP proxy that a test cuts, silences or slows down, and mends."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

CHUNK = 64 * 1024


class Cable:
    """Forwards what comes to its `port` to a server, and back.

    Cut, it closes its connections and every new one. Silent, it takes everything and passes on nothing until it is
    mended, as a network does that loses each packet. Slow, it keeps everything for some seconds.
    """

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self._passes = asyncio.Event()
        self._passes.set()
        self._is_cut = False
        self._delay = 0.0
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def start(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        await self._close_all()

    async def cut(self) -> None:
        self._is_cut = True
        await self._close_all()

    def silence(self) -> None:
        self._passes.clear()

    def slow(self, seconds: float) -> None:
        self._delay = seconds

    def mend(self) -> None:
        self._is_cut, self._delay = False, 0.0
        self._passes.set()

    async def _close_all(self) -> None:
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            if not self._is_cut:
                await self._connect(reader, writer)
        writer.transport.abort()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._passes.wait()
        from_server, to_server = await asyncio.open_connection(*self._upstream)
        pumps = [asyncio.create_task(self._pump(*ends)) for ends in ((reader, to_server), (from_server, writer))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            to_server.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK):
            if self._delay:
                await asyncio.sleep(self._delay)
            await self._passes.wait()
            writer.write(data)
            await writer.drain()


@asynccontextmanager
async def laid(host: str, port: int) -> AsyncIterator[Cable]:
    """Lay a cable to a server, for the length of the block."""
    cable = Cable(host, port)
    await cable.start()
    try:
        yield cable
    finally:
        await cable.stop()
