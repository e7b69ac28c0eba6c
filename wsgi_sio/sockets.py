"""What is done to sockets of every kind, the server's and the client's: plain, TLS, and gevent's."""

from __future__ import annotations

import _socket
import errno
import fcntl
import ssl
import termios
from typing import Any, Protocol

from .runtime import Rank, make_lock


class NonBlockingSocket(Protocol):
    """What a transport needs of a non-blocking socket."""

    def fileno(self) -> int: ...

    def recv(self, size: int, /) -> bytes: ...

    def send(self, data: bytes | memoryview, /) -> int: ...

    def shutdown(self, how: int, /) -> None: ...

    def close(self) -> None: ...


def own(sock: _socket.socket) -> _socket.socket:
    """Make a connection's socket, which is this process's from now on, fit for a transport; returns it."""
    if sock.gettimeout() != 0.0:
        sock.setblocking(False)
    try:
        sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
    except OSError:
        pass  # a Unix socket has no Nagle to switch off
    return sock


def own_descriptor(descriptor: int) -> _socket.socket:
    """Likewise, of a connection's descriptor.

    :raises OSError: it is none, and has been closed.
    """
    try:
        sock = _socket.socket(fileno=descriptor)
    except OSError:
        _socket.close(descriptor)
        raise
    return own(sock)


class TLSSocket:
    """A TLS connection: non-blocking, one thread in OpenSSL at a time.

    OpenSSL's "want" answers become BlockingIOError, so the transport sees an ordinary socket.
    """

    def __init__(self, sock: Any) -> None:
        sock.settimeout(0.0)
        self._sock = sock
        self._lock = make_lock(Rank.LEAF)

    def fileno(self) -> int:
        return int(self._sock.fileno())

    def recv(self, size: int) -> bytes:
        with self._lock:
            try:
                data: bytes = self._sock.recv(size)
                while self._sock.pending():  # decrypted already: the descriptor would not tell
                    data += self._sock.recv(size)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                raise BlockingIOError from None
        return data

    def send(self, data: bytes | memoryview) -> int:
        with self._lock:
            try:
                return int(self._sock.send(data))
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                raise BlockingIOError from None

    def shutdown(self, how: int) -> None:
        shut_down_tcp(self._sock, how)

    def close(self) -> None:
        self._sock.close()


def has_unread(sock: Any) -> bool:
    """Whether bytes of the peer lie in the kernel; a look at a socket of any kind, which consumes nothing."""
    try:
        return any(fcntl.ioctl(sock.fileno(), termios.FIONREAD, bytes(4)))
    except (OSError, ValueError):  # ValueError: it is closed, and has no descriptor
        return False


def shut_down_tcp(sock: Any, how: int) -> None:
    """Shut TCP down under a socket of any kind: the own method of a TLS socket would give up reading as well.

    In one step, where a descriptor asked for first could be another connection's when it is used.

    :raises OSError: it is closed, or has not been connected.
    """
    inner = getattr(sock, "_sock", sock)  # gevent's wraps one, or a dummy when it is closed
    if not isinstance(inner, _socket.socket):
        raise OSError(errno.EBADF, "the socket is closed")
    _socket.socket.shutdown(inner, how)
