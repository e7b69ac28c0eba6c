"""A client's way to the server, and what may happen to it: a cut now or at a bad moment, silence, little bandwidth."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import Counter
from contextlib import suppress

from tests.chaos.tasks import Tasks

_CHUNK = 65536
_BUFFER = 32768  # bytes of the kernel's that wait for a slow reader
_SLICE = 1024  # bytes, for a slow one
_AWAITED = 0.05  # seconds: after that, a poll that was passed on waits at the server

# The moments at which a connection can be cut.
MOMENTS = ("upgrade", "poll", "post", "frame")

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Link:
    """One TCP connection through a relay."""

    def __init__(self, relay: Relay, client: Streams, server: Streams) -> None:
        self._relay = relay
        self._client = client
        self._server = server
        self._upgrading = 0  # how many more pieces of the upgrade pass before it is cut; 0: it is not to be
        self._severed = False  # about to be cut behind the bytes that have passed: what follows must not close the gap

    async def run(self) -> None:
        """Pass bytes on until both sides have ended."""
        await asyncio.gather(self._pump(self._client[0], self._server[1], True), self._pump(*self._way_back(), False))

    def _way_back(self) -> Streams:
        return self._server[0], self._client[1]

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, up: bool) -> None:
        try:
            while data := await reader.read(_CHUNK):
                await self._relay.flowing.wait()
                data = self._spring_trap(data, up)
                if up or self._relay.bandwidth is None:
                    writer.write(data)
                else:
                    await self._pass_slowly(writer, data)
                await writer.drain()
                if self._severed:
                    return
            writer.write_eof()
        except OSError:  # one side has reset the connection, or it has been cut
            self.cut(reset=True)

    async def _pass_slowly(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        for start in range(0, len(data), _SLICE):
            piece = data[start : start + _SLICE]
            writer.write(piece)
            await writer.drain()
            if self._relay.bandwidth is not None:
                await asyncio.sleep(len(piece) / self._relay.bandwidth)

    def _spring_trap(self, data: bytes, up: bool) -> bytes:
        """What of ``data`` is still to be passed on."""
        if self._upgrading:
            self._upgrading -= 1
            if not self._upgrading:
                self.cut(self._relay.reset)
                return b""
        moment, later = self._relay.trap, asyncio.get_running_loop().call_later
        if moment is None:
            return data
        head = data[:400].partition(b"\r\n")[0]
        if moment == "upgrade" and up and b"transport=websocket" in head and b"sid=" in head:
            self._relay.sprung()
            self._upgrading = self._relay.pieces
        elif moment == "poll" and up and head.startswith(b"GET ") and b"transport=polling" in head and b"sid=" in head:
            self._relay.sprung()
            later(_AWAITED, self.cut, self._relay.reset)
        elif (moment == "post" and up and head.startswith(b"POST ")) or (moment == "frame" and not up):
            self._relay.sprung()
            self._severed = True
            later(0, self.cut, self._relay.reset)
            return data[: len(data) // 2]
        return data

    def cut(self, reset: bool) -> None:
        """End both sides, with an RST or a FIN each."""
        for _, writer in (self._client, self._server):
            if reset:
                sock = writer.get_extra_info("socket")
                with suppress(OSError):  # it is closed already
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
            else:
                writer.close()


class Relay:
    """Takes the connections of one client.

    :ivar flowing: cleared, no byte moves.
    :ivar bandwidth: bytes a second to the client; None for all there are.
    :ivar trap: the moment at which the next connection that comes to it is cut.
    :ivar reset: whether that is done with an RST.
    :ivar pieces: how much of an upgrade passes before.
    :ivar caught: how many have been, by moment.
    :ivar refusing: new connections are cut at once.
    """

    def __init__(self, server_port: int) -> None:
        self.port = 0
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.bandwidth: float | None = None
        self.trap: str | None = None
        self.reset = False
        self.pieces = 1
        self.caught: Counter[str] = Counter()
        self.refusing = False
        self._server_port = server_port
        self._links: set[Link] = set()
        self._listener: asyncio.Server | None = None
        self._serving = Tasks()

    async def start(self) -> None:
        """Listen."""
        self._listener = await asyncio.start_server(self._serving.of(self._serve), "127.0.0.1", 0, limit=_BUFFER)
        self.port = self._listener.sockets[0].getsockname()[1]

    def cut(self, reset: bool) -> None:
        """End all connections."""
        for link in list(self._links):
            link.cut(reset)

    def sprung(self) -> None:
        """The trap has been sprung."""
        if self.trap is not None:
            self.caught[self.trap] += 1
        self.trap = None

    def heal(self) -> None:
        """Disturb nobody any more."""
        self.flowing.set()
        self.bandwidth = None
        self.trap = None
        self.refusing = False

    async def close(self) -> None:
        """End everything."""
        if self._listener is not None:
            self._listener.close()
        self.cut(reset=True)
        await self._serving.join()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            writer.close()
            return
        upstream = socket.socket()
        upstream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        upstream.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(upstream, ("127.0.0.1", self._server_port))
            server = await asyncio.open_connection(sock=upstream, limit=_BUFFER)
        except OSError:  # the server's backlog is full, or it is gone
            upstream.close()
            writer.close()
            return
        link = Link(self, (reader, writer), server)
        self._links.add(link)
        try:
            await link.run()
        finally:
            self._links.discard(link)
            for _, each in ((reader, writer), server):
                each.close()
