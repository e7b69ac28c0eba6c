"""The sockets on which a connection's tasks block, so that another thread can make them return."""

from __future__ import annotations

import socket
from typing import Protocol
from weakref import WeakSet

from ...engineio.takeover import has_unread, shut_down_tcp
from ...runtime import Rank, disown, make_lock, tell_in_child


class Descriptor(Protocol):
    """A socket of any kind: plain, TLS or gevent's."""

    def fileno(self) -> int: ...


class Wires:
    """See the module's text; a socket that nobody else keeps is forgotten."""

    __slots__ = ("__weakref__", "_cut", "_lock", "_sockets")

    def __init__(self) -> None:
        self._lock = make_lock(Rank.LEAF)
        self._sockets: WeakSet[Descriptor] = WeakSet()
        self._cut = False
        tell_in_child(self)

    def after_fork(self) -> None:
        """In a forked child: they are the parent's."""
        self._lock = make_lock(Rank.LEAF)
        self._cut = True
        disown([sock.fileno() for sock in self._sockets])

    def add(self, sock: Descriptor) -> None:
        """Remember a socket.

        :raises ConnectionAbortedError: everything has been cut already.
        """
        with self._lock:
            if not self._cut:
                self._sockets.add(sock)
                return
        raise ConnectionAbortedError("the connection has been closed meanwhile")

    def remove(self, sock: Descriptor) -> None:
        """Forget a socket that somebody else takes care of from now on."""
        with self._lock:
            self._sockets.discard(sock)

    @property
    def unread(self) -> bool:
        """Whether something that has come on one of them lies in the kernel."""
        with self._lock:
            sockets = list(self._sockets)
        return any(map(has_unread, sockets))

    def cut(self) -> None:
        """End whatever blocks on them, now and later."""
        with self._lock:
            self._cut = True
            sockets = list(self._sockets)
            self._sockets.clear()
        for sock in sockets:
            shut_down(sock)


def shut_down(sock: Descriptor) -> None:
    """End both directions of TCP; who reads or writes, in whatever thread, returns."""
    try:
        shut_down_tcp(sock, socket.SHUT_RDWR)
    except OSError:
        pass  # closed already, not connected, or no longer
