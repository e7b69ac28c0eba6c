"""Blocking TCP: connecting and reading, until a deadline, and until another thread makes it return."""

from __future__ import annotations

import socket
from collections.abc import Callable
from time import monotonic
from typing import Any, Protocol
from weakref import WeakSet

from ...runtime import Rank, disown, make_lock, tell_in_child
from ...sockets import has_unread, shut_down_tcp

# What the head of an answer may take (bytes).
_MAX_HEAD = 65536


class Descriptor(Protocol):
    """A socket of any kind: plain, TLS or gevent's."""

    def fileno(self) -> int: ...


class BlockingSockets:
    """Makes whatever blocks on them return, when told to; a socket that nobody else keeps is forgotten."""

    __slots__ = ("__weakref__", "_callbacks", "_cancelled", "_lock", "_sockets")

    def __init__(self) -> None:
        self._lock = make_lock(Rank.LEAF)
        self._sockets: WeakSet[Descriptor] = WeakSet()
        self._callbacks: list[Callable[[], None]] = []
        self._cancelled = False
        tell_in_child(self)

    def after_fork(self) -> None:
        """In a forked child: they are the parent's."""
        self._lock = make_lock(Rank.LEAF)
        self._cancelled = True
        disown([sock.fileno() for sock in self._sockets])

    def add(self, sock: Descriptor) -> None:
        """Remember a socket.

        :raises ConnectionAbortedError: everything has been cancelled already.
        """
        with self._lock:
            if not self._cancelled:
                self._sockets.add(sock)
                return
        raise ConnectionAbortedError("the connection has been closed meanwhile")

    def remove(self, sock: Descriptor) -> None:
        """Forget a socket that somebody else takes care of from now on."""
        with self._lock:
            self._sockets.discard(sock)

    def on_cancel(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` as well, which ends what blocks on something else."""
        with self._lock:
            self._callbacks.append(callback)
            cancelled = self._cancelled
        if cancelled:
            callback()

    @property
    def unread(self) -> bool:
        """Whether something that has come on one of them lies in the kernel."""
        with self._lock:
            sockets = list(self._sockets)
        return any(map(has_unread, sockets))

    def cancel(self) -> None:
        """End whatever blocks on them, now and later."""
        with self._lock:
            self._cancelled = True
            sockets = list(self._sockets)
            self._sockets.clear()
            callbacks = list(self._callbacks)
        for sock in sockets:
            shut_down(sock)
        for callback in callbacks:
            callback()


def shut_down(sock: Descriptor) -> None:
    """End both directions of TCP; who reads or writes, in whatever thread, returns."""
    try:
        shut_down_tcp(sock, socket.SHUT_RDWR)
    except OSError:
        pass  # closed already, not connected, or no longer


def deadline_after(timeout: float | None) -> float | None:
    """On the monotonic clock; None for never.

    :param timeout: seconds.
    """
    return None if timeout is None else monotonic() + timeout


def limit(sock: Any, deadline: float | None) -> None:
    """Let the next call on ``sock`` take no longer than until ``deadline``.

    :raises TimeoutError: that is over.
    """
    if deadline is not None:
        left = deadline - monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        sock.settimeout(left)


def connect_tcp(host: str, port: int, sockets: BlockingSockets, deadline: float | None) -> socket.socket:
    """Connect to the first of the host's addresses that answers; only the look-up of its name cannot be cut.

    :raises OSError: none does.
    """
    failure: OSError = OSError(f"{host} has no address")
    for family, kind, protocol, _, where in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind, protocol)
        try:
            sockets.add(sock)
            limit(sock, deadline)
            sock.connect(where)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:  # a greenlet that is killed
            sock.close()
            raise
        else:
            return sock
    raise failure


def read_head(sock: Any, deadline: float | None, chunk: int = 4096) -> tuple[bytes, bytes]:
    """Read an answer up to the empty line; its head with that line, and what came behind.

    :raises OSError: there is none, or it is too long.
    """
    data = b""
    while b"\r\n\r\n" not in data:
        if len(data) > _MAX_HEAD:
            raise OSError(f"the answer's head is longer than {_MAX_HEAD} bytes")
        limit(sock, deadline)
        more = sock.recv(chunk)
        if not more:
            raise OSError("the server closed the connection without an answer")
        data += more
    head, line, rest = data.partition(b"\r\n\r\n")
    return head + line, rest
