"""Moves what cannot be moved: the bytes of a TLS connection go to and fro between it and one end of a pair of sockets.

The pair's other end can be given to another process, which uses it like any connection.
"""

from __future__ import annotations

import _socket
import socket

from ...runtime import Rank, Reactor, make_lock
from ..takeover import ClientSocket

_CHUNK = 65536


def pump(sock: ClientSocket, reactor: Reactor) -> int:
    """Move the bytes of ``sock`` from now on, until both sides have ended; the descriptor is that of its double.

    :raises OSError: there is no descriptor left; ``sock`` is closed.
    """
    try:
        mine, theirs = _socket.socketpair()
    except OSError:
        sock.close()
        raise
    mine.setblocking(False)
    try:
        _Pump(sock, mine, reactor)
    except BaseException:
        theirs.close()
        raise
    return theirs.detach()


class _Pump:
    """Both directions, and their common end."""

    def __init__(self, one: ClientSocket, other: ClientSocket, reactor: Reactor) -> None:
        self._lock = make_lock(Rank.LEAF)
        self._running = 2  # directions that have not ended
        self._ends: tuple[_End, ...] = ()
        try:
            self._ends = (_End(self, one, reactor), _End(self, other, reactor))
        except (OSError, RuntimeError):
            for sock in (one, other):
                sock.close()
            raise
        for end, peer in zip(self._ends, reversed(self._ends), strict=True):
            end.peer = peer
        for end in self._ends:
            end.watch.resume()

    def ended(self) -> None:
        """One direction has ended as it should."""
        with self._lock:
            self._running -= 1
            over = not self._running
        if over:
            self.break_off()

    def break_off(self) -> None:
        """Neither direction can go on."""
        for end in self._ends:
            try:
                end.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it has been closed by its peer
            end.watch.close(end.sock.close)


class _End:
    """One of the two sockets: what it reads its peer writes, and it reads no more until its peer has."""

    __slots__ = ("_pump", "_unsent", "peer", "sock", "watch")

    def __init__(self, owner: _Pump, sock: ClientSocket, reactor: Reactor) -> None:
        self._pump = owner
        self._unsent = memoryview(b"")
        self.sock = sock
        self.peer = self
        self.watch = reactor.watch(self, reading=False)

    def fileno(self) -> int:
        return self.sock.fileno()

    def on_readable(self) -> None:
        try:
            data = self.sock.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            self._pump.break_off()
            return
        if data:
            self.peer.write(data)
        else:
            self.watch.pause()  # all has been passed on: it reads only when its peer has written everything
            self.peer.end()

    def write(self, data: bytes | memoryview) -> None:
        """Write all of it, sooner or later."""
        try:
            sent = self.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._pump.break_off()
            return
        if sent < len(data):
            self.peer.watch.pause()
            self._unsent = memoryview(data)[sent:]
            self.watch.want_write()

    def on_writable(self) -> None:
        unsent, self._unsent = self._unsent, memoryview(b"")
        self.write(unsent)
        if not self._unsent:
            self.peer.watch.resume()

    def end(self) -> None:
        """Nothing more is to be written."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._pump.break_off()
        else:
            self._pump.ended()
