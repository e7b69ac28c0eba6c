"""The WebSocket transport: frames <-> packets on a non-blocking socket, driven by the reactor.

Reading happens in the reactor, by one thread at a time.  Writing happens in whatever thread holds the session's flush
baton (see session_writer.py); what the kernel does not take at once waits for writability, baton included.  Only the
holder of the baton ends the connection: it sends the close frame, shuts its side down and lets the peer's last bytes
run dry, so that the close frame is not lost to a reset.
"""

from __future__ import annotations

import socket
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Protocol

from ..compiled import mypyc_attr
from ..runtime import Reactor, Timer, Watch
from ..sockets import NonBlockingSocket, has_unread
from ..websocket.frames import BINARY, PONG, SHORT_TEXT_HEADS, TEXT, encode_close, encode_frame
from ..websocket.messages import Close, MessageDecoder, Ping, Violation
from .packet import NOOP, Packet, to_utf8

_CHUNK = 65536
# How long a peer may take to close after we have (seconds).
_LINGER = 2.0
# Close codes that exist only inside an endpoint; they are answered with an empty close frame.
_NO_STATUS = 1005


class Owner(Protocol):
    """Who gets what a WebSocket brings: the session, or the upgrade that may give it to one."""

    def receive(self, data: str | bytes) -> None: ...

    def close(self, reason: str, *, abort: bool = False, code: int | None = None) -> bool: ...


class Carried(Owner, Protocol):
    """Whose packets a WebSocket carries: a :class:`Session` or, on the client, an engine."""

    @property
    def lock(self) -> AbstractContextManager[Any]: ...

    @property
    def paused(self) -> bool: ...

    def send(self, packets: list[Packet]) -> bool: ...

    def next_batch(self, transport: Any, limit: int) -> list[Packet] | None: ...

    def closed(self, transport: Any) -> None: ...


class _Nobody:
    """Owns a WebSocket that has been turned away."""

    def receive(self, data: str | bytes) -> None:
        """It is not read any more."""

    def close(self, reason: str, *, abort: bool = False, code: int | None = None) -> bool:
        return False


_NOBODY = _Nobody()


@mypyc_attr(allow_interpreted_subclasses=True)
class WebSocketTransport:
    """See the module's text; the client's end differs in its masks."""

    __slots__ = (
        "_aborted",
        "_code",
        "_decoder",
        "_eof",
        "_finishing",
        "_linger",
        "_reactor",
        "_sock",
        "_unsent",
        "_watch",
        "idle",
        "owner",
        "session",
    )

    name: ClassVar[str] = "websocket"
    linger: ClassVar[float] = 5.0
    gathers: ClassVar[bool] = True

    def __init__(self, session: Carried, sock: NonBlockingSocket, reactor: Reactor, max_message_size: int) -> None:
        self.session = session
        self.owner: Owner = session
        self.idle = False
        self._sock = sock
        self._reactor = reactor
        self._decoder = MessageDecoder(expect_masked=self.mask() is None, max_message_size=max_message_size)
        self._unsent: memoryview | None = None
        self._finishing = False
        self._aborted = False
        self._code: int | None = None
        self._eof = False
        self._linger: Timer | None = None
        self._watch: Watch = reactor.watch(self, reading=False)

    def start(self, early: bytes) -> None:
        """Begin to read; ``early`` is what the client sent behind its handshake."""
        if early:
            self._feed(early)
        if self.owner is not self.session or not self.session.paused:
            self._watch.resume()

    def fileno(self) -> int:
        return self._sock.fileno()

    @property
    def unsent(self) -> int:
        unsent = self._unsent
        return 0 if unsent is None else len(unsent)

    def mask(self) -> bytes | None:
        """What the next frame is masked with."""
        return None

    def encode(self, packets: list[Packet]) -> bytes:
        """The frames of ``packets``."""
        if len(packets) == 1:
            return packets[0].frame or build_frame(packets[0])
        return b"".join([packet.frame or build_frame(packet) for packet in packets])

    # -- reading ------------------------------------------------------------------------------------------------

    def on_readable(self) -> None:
        try:
            data = self._sock.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end_of_stream()
        elif not self._finishing:
            self._feed(data)
        elif any(isinstance(event, Close) for event in self._decoder.feed(data)):
            self._release()  # the peer has answered our close frame

    def _feed(self, data: bytes) -> None:
        for event in self._decoder.feed(data):
            kind = type(event)
            if kind is str or kind is bytes:
                self.owner.receive(event)  # type: ignore[arg-type]
            elif isinstance(event, Ping):
                self._pong(event.data)
            elif isinstance(event, Close):
                self.owner.close("transport close", abort=True, code=event.code)
            elif isinstance(event, Violation):
                self.owner.close("transport error", abort=True, code=event.code)

    def _pong(self, data: bytes) -> None:
        pong = Packet(NOOP, frame=encode_frame(PONG, data))
        if self.owner is self.session:
            # Through the write buffer, so that it cannot land inside a batch, and bounded like everything else.
            self.session.send([pong])
        else:
            self.write_alone(pong)

    def _end_of_stream(self) -> None:
        self._eof = True
        self._watch.pause()  # it would be told again and again until somebody lets go of the baton
        self.owner.close("transport close", abort=True)
        if self._finishing:
            self._release()
        else:
            self._cut_off()

    @property
    def unread(self) -> bool:
        # In this order: what is being read has left the kernel before.
        return has_unread(self._sock) or self._watch.reading

    def pause(self) -> None:
        self._watch.pause()

    def resume(self) -> None:
        self._watch.resume()

    def read_on(self) -> None:
        """What waits to be read waits in the kernel."""

    # -- writing (by the holder of the baton) -------------------------------------------------------------------

    def write(self, packets: list[Packet]) -> None:
        self._send(self.encode(packets))

    def write_behind(self, accept: bytes, packets: list[Packet]) -> None:
        """Write the first packets together with the 101: a write of its own is a tenth of what connecting costs."""
        self._send(accept + self.encode(packets))

    def send_accept(self, response: bytes) -> None:
        """Send the 101 by itself, the first thing on a connection whose buffer is empty, so it fits."""
        try:
            self._sock.send(response)
        except OSError:
            self._eof = True  # the client has left already; reading will tell

    def write_alone(self, packet: Packet) -> None:
        """Send one small packet on a connection that is not the session's (yet); it fits or the peer does not read."""
        data = self.encode([packet])
        try:
            with self.session.lock:  # against the rule, lest another thread's close frame get in front of it
                if not self._finishing:
                    self._sock.send(data)
        except OSError:
            self.owner.close("transport error", abort=True)

    def on_writable(self) -> None:
        unsent = self._take_unsent()
        if unsent is not None:
            self._send(unsent)

    def _take_unsent(self) -> memoryview | None:
        """Take the baton from the reactor, with the bytes it waits to send; None when it does not have it."""
        with self.session.lock:
            unsent, self._unsent = self._unsent, None
        return unsent

    def _send(self, data: bytes | memoryview) -> None:
        while True:
            try:
                sent = self._sock.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self.session.close("transport error", abort=True)
                self.finish()
                return
            if sent < len(data):
                with self.session.lock:
                    self._unsent = memoryview(data)[sent:]
                    aborted = self._aborted
                if aborted:
                    self._cut_off()
                else:
                    self._watch.want_write()
                return
            batch = self.session.next_batch(self, _CHUNK)
            if batch is None:
                return
            if not batch:
                self.finish()
                return
            data = self.encode(batch)

    # -- the end ------------------------------------------------------------------------------------------------

    def turn_away(self) -> None:
        """End a WebSocket that no session wants: neither what it brings nor its end is a session's business."""
        self.owner = _NOBODY
        self.finish()

    def finish(self, code: int | None = None) -> None:
        with self.session.lock:
            again, self._finishing = self._finishing, True
            code = self._code if code is None else code
        if again:
            return
        if not self._eof:
            try:
                # A frame of at most 127 bytes either fits the buffer or the peer has stopped reading anyway.
                self._sock.send(encode_close(_NO_STATUS if code is None else code, mask=self.mask()))
                if code is not None:  # an answer, or the peer's fault: nothing more is expected from it
                    self._sock.shutdown(socket.SHUT_WR)
            except OSError:
                self._eof = True
        if self._eof:
            self._release()
        else:
            self._watch.resume()  # a paused connection must still see the end of the stream
            self._linger = self._reactor.expire_after(_LINGER, self._hang_up)

    def abort(self, code: int | None = None) -> None:
        with self.session.lock:
            self._aborted = True
            self._code = code
        # Whoever is writing finishes with the code when it looks for the next batch; if nobody is, the client is stuck.
        self._cut_off()

    def _cut_off(self) -> None:
        """If the baton waits for a client that does not read, end without a close frame: it would land in another."""
        if self._take_unsent() is not None:
            self._eof = True
            self.finish()

    def _hang_up(self) -> None:
        # The reader sees the end of the stream and releases it: nobody can be using the descriptor then.
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the peer was faster, and the reader knows

    def _release(self) -> None:
        if self._linger is not None:
            self._linger.cancel()
        self._hang_up()
        self._watch.close(self._sock.close)
        self.session.closed(self)


def build_frame(packet: Packet) -> bytes:
    """The server frame of ``packet``, built once and kept in it: a broadcast shares it."""
    data = packet.data
    if isinstance(data, bytes):
        frame = encode_frame(BINARY, data)
    else:
        payload = to_utf8(f"{packet.type}{data or ''}")
        size = len(payload)
        frame = SHORT_TEXT_HEADS[size] + payload if size < 126 else encode_frame(TEXT, payload)
    packet.frame = frame
    return frame
