"""Moves what cannot be moved: the bytes of a TLS connection go to and fro between it and one end of a pair of sockets.

The pair's other end can be given to another process, which uses it like any connection.
"""

from __future__ import annotations

import _socket
import socket

from ...runtime import Rank, Reactor, Timer, Watch, make_lock
from ...sockets import NonBlockingSocket

_CHUNK = 65536
# How long the client may take to close after the other process has (seconds).
_LINGER = 2.0


def pump(sock: NonBlockingSocket, reactor: Reactor, patience: float) -> int:
    """Move the bytes of ``sock`` from now on, until both sides have ended; the descriptor is that of its double.

    :param patience: how many seconds the client may take none of the bytes that wait for it.
    :raises OSError: there is no descriptor left; ``sock`` is closed.
    :raises RuntimeError: likewise, the system has no thread.
    """
    try:
        mine, theirs = _socket.socketpair()
    except OSError:
        sock.close()
        raise
    mine.setblocking(False)
    try:
        _Pump(sock, mine, reactor, patience)
    except BaseException:
        theirs.close()
        raise
    return theirs.detach()


class _Pump:
    """Both directions, and their common end.

    All that happens to one happens under its lock, system calls as well, which do not block: so none of them can have a
    descriptor in hand that has been closed, and is another connection's.
    """

    def __init__(self, client: NonBlockingSocket, double: NonBlockingSocket, reactor: Reactor, patience: float) -> None:
        self.lock = make_lock(Rank.SESSION)
        self.over = False
        self.reactor = reactor
        self._ends: list[_End] = []
        self._running = 2  # directions that have not ended
        self._timers: list[Timer] = []
        try:
            self._ends.append(_End(self, client, patience))
            self._ends.append(_End(self, double, None))
        except (OSError, RuntimeError):
            self.break_off_locked()
            for sock in (client, double):
                sock.close()
            raise
        for end, peer in zip(self._ends, reversed(self._ends), strict=True):
            end.peer = peer
        for end in self._ends:
            end.watch.resume()

    def ended_locked(self, by_double: bool) -> None:
        """One direction has ended as it should: all that came has been passed on."""
        self._running -= 1
        if not self._running:
            self.break_off_locked()
        elif by_double:  # who has it has said its last word, and looks after the client no more
            self._timers.append(self.reactor.expire_after(_LINGER, self.break_off))

    def break_off(self) -> None:
        """The client has had its time."""
        with self.lock:
            self.break_off_locked()

    def break_off_locked(self) -> None:
        """Neither direction can go on."""
        self.over = True
        timers, self._timers = self._timers, []
        for timer in timers:
            timer.cancel()
        for end in self._ends:
            end.close_locked()


class _End:
    """One of the two sockets: what it reads its peer writes, and it reads no more until its peer has.

    :param patience: how long it may take none of what is written; None for ever.
    """

    __slots__ = ("_patience", "_pump", "_stuck", "_unsent", "peer", "sock", "watch")

    def __init__(self, owner: _Pump, sock: NonBlockingSocket, patience: float | None) -> None:
        self._pump = owner
        self._patience = patience
        self._stuck: Timer | None = None
        self._unsent = memoryview(b"")
        self.sock = sock
        self.peer = self
        self.watch: Watch = owner.reactor.watch(self, reading=False)

    def fileno(self) -> int:
        return self.sock.fileno()

    def on_readable(self) -> None:
        with self._pump.lock:
            if not self._pump.over:
                self._read_locked()

    def _read_locked(self) -> None:
        try:
            data = self.sock.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            self._pump.break_off_locked()
            return
        if data:
            self.peer.write_locked(data)
        else:
            self.watch.pause()  # it is read only when all has been passed on
            self.peer.end_locked()

    def write_locked(self, data: bytes | memoryview) -> None:
        """Write all of it, sooner or later."""
        try:
            sent = self.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._pump.break_off_locked()
            return
        if sent:
            self._is_taking_locked()
        self._unsent = memoryview(data)[sent:]
        if self._unsent:
            self.peer.watch.pause()
            self.watch.want_write()
            if self._patience is not None and self._stuck is None:
                self._stuck = self._pump.reactor.expire_after(self._patience, self._pump.break_off)

    def _is_taking_locked(self) -> None:
        stuck, self._stuck = self._stuck, None
        if stuck is not None:
            stuck.cancel()

    def on_writable(self) -> None:
        with self._pump.lock:
            if self._pump.over:
                return
            self.write_locked(self._unsent)
            if not self._unsent and not self._pump.over:
                self.peer.watch.resume()

    def end_locked(self) -> None:
        """Nothing more is to be written."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._pump.break_off_locked()
        else:
            self._pump.ended_locked(by_double=self._patience is not None)

    def close_locked(self) -> None:
        """Both directions are over."""
        self._is_taking_locked()
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it has been closed by its peer
        self.watch.close(self.sock.close)
