"""The client's socket, out of each WSGI server's hands.

After the handshake the connection is ours, and the server is left holding a dead socket, whose peer has closed its end.
Its request then ends the way python-peers.md 5.1 found silent everywhere: a 101 that it writes into that dead socket
(gunicorn is told that it has).  The server's thread goes back to its pool, its counters stay right, and whatever it
does to "its" connection cannot reach the client.

Two ways to swap them, because of what the server may have registered:

* threads: ``dup`` for us, ``dup2`` of one end of a pair over the old number;
* gevent: libev may watch the old number, so that stays with us, and with it the C socket below gevent's, which gets the
  end of a pair, or what only seems to be one (gone_socket.py) where the server is known to be content with that.

TLS inside the process cannot be moved: the connection is used where it is and the WSGI thread sleeps until it ends.
"""

from __future__ import annotations

import _socket
import os
import socket
import ssl
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from ..runtime import Event, Reactor, threads_are_greenlets
from ..sockets import NonBlockingSocket, TLSSocket, own, own_descriptor
from .config import Environ
from .gone_socket import GONE, GoneSocket


@dataclass(slots=True)
class Taken:
    """A connection taken from its server.

    :ivar early: what the client sent behind its handshake and the server has read already.
    :ivar held: set when the connection is over, for the WSGI thread to wait on; None when that may return at once.
    """

    sock: NonBlockingSocket
    early: bytes
    held: Event | None


def find_socket(environ: Environ) -> Any | None:
    """The client's socket as the WSGI server exposes or hides it; None where it cannot be reached (waitress, uWSGI).

    python-peers.md 5.2 has the facts about each server.
    """
    for key in ("werkzeug.socket", "gunicorn.socket", "gunicorn.sock"):
        if key in environ:
            return _usable(environ[key])
    body = environ.get("wsgi.input")
    # gevent.pywsgi and cheroot keep the file in rfile; Django's runserver limits it by a bound method.
    body = getattr(getattr(body, "_read", None), "__self__", body)
    body = getattr(body, "rfile", body)
    return _usable(getattr(getattr(body, "raw", None), "_sock", None))


def _usable(sock: Any) -> Any | None:
    # gevent's socket class is no subclass of the unpatched one, hence the duck-typing.
    usable = hasattr(sock, "recv") and hasattr(sock, "send") and hasattr(sock, "shutdown") and hasattr(sock, "fileno")
    return sock if usable and sock.fileno() >= 0 else None


def own_socket(environ: Environ) -> Any | None:
    """The socket of a request that has its connection to itself, hence not by HTTP/2; None where there is none."""
    return find_socket(environ) if environ.get("SERVER_PROTOCOL", "HTTP/1.1").startswith("HTTP/1") else None


def plain_socket(environ: Environ) -> Any | None:
    """Likewise, without TLS: what the kernel has is what the client has sent."""
    sock = own_socket(environ)
    return None if sock is None or _is_tls(sock) else sock


def can_take(environ: Environ) -> bool:
    """Whether a WebSocket is possible on this server: its socket can be reached."""
    return own_socket(environ) is not None


def holds_thread(environ: Environ) -> bool:
    """Whether a connection that is taken stays where it is, and its thread with it."""
    return _is_tls(find_socket(environ))


def can_move(environ: Environ) -> bool:
    """Whether a waiting request would block a thread that it need not block: its connection can be taken away."""
    if threads_are_greenlets():
        return False
    return plain_socket(environ) is not None


def end_connection(environ: Environ) -> list[tuple[str, str]]:
    """The header that makes the server close the connection, whose request has not been read to its end.

    wsgiref and waitress do not let an application say so; they close by themselves.
    """
    server = environ.get("SERVER_SOFTWARE", "").lower()
    return [("Connection", "close")] if server.startswith(("gunicorn", "gevent", "werkzeug")) else []


def take(environ: Environ, reactor: Reactor) -> Taken:
    """Take the client's connection from the server; the caller has checked :func:`can_take`.

    :raises OSError: there is no descriptor left; the connection is the server's, as before.
    """
    server_sock = find_socket(environ)
    assert server_sock is not None
    early = _read_ahead(environ, server_sock)
    if _is_tls(server_sock):
        held = reactor.event()
        return Taken(HeldTLSSocket(server_sock, held), early, held)
    return Taken(_swap(environ, server_sock), early, None)


def give(environ: Environ, reactor: Reactor) -> tuple[int, bytes]:
    """Take a connection that another process is to have, which has no TLS here: its descriptor, and its early bytes.

    :raises OSError: there is no descriptor left; the connection is the server's, as before.
    """
    server_sock = plain_socket(environ)
    assert server_sock is not None
    early = _read_ahead(environ, server_sock)
    descriptor = _swap(environ, server_sock).detach()
    reactor.disregard(descriptor)
    return descriptor, early


def _is_tls(sock: Any) -> bool:
    return hasattr(sock, "do_handshake")


def _swap(environ: Environ, server_sock: Any) -> _socket.socket:
    if not hasattr(server_sock, "_sock"):
        return _swap_thread(server_sock)
    # These are known not to ask for its descriptor afterwards; werkzeug's registers it with a selector.
    frugal = environ.get("SERVER_SOFTWARE", "").startswith(("gunicorn/", "gevent/"))
    return _swap_greenlet(server_sock, GONE if frugal else _dead_socket())


def _dead_socket() -> _socket.socket:
    dead, other = _socket.socketpair()
    other.close()
    return dead


def _swap_greenlet(server_sock: Any, dead: _socket.socket | GoneSocket) -> _socket.socket:
    inner: _socket.socket = server_sock._sock  # gevent's socket wraps one of the C class
    server_sock._sock = dead
    return own(inner)


def _swap_thread(server_sock: Any) -> _socket.socket:
    with closing(_dead_socket()) as dead:  # first, since it may fail while nothing has been moved
        descriptor = _socket.dup(server_sock.fileno())
        os.dup2(dead.fileno(), server_sock.fileno(), inheritable=False)
    return own_descriptor(descriptor)


def _read_ahead(environ: Environ, server_sock: Any) -> bytes:
    """Bytes behind the handshake that sit in the server's reader."""
    body = environ.get("wsgi.input")
    unreader = getattr(getattr(body, "reader", None), "unreader", None)
    if unreader is not None:  # gunicorn
        buffered: bytes = unreader.buf.getvalue()
        return buffered
    body = getattr(getattr(body, "_read", None), "__self__", body)
    body = getattr(body, "rfile", body)
    peek = getattr(body, "peek", None)
    if peek is None:
        return b""
    server_sock.settimeout(0.0)  # so that peek returns what is there instead of waiting for more
    try:
        peeked: bytes = peek()
    except (BlockingIOError, ssl.SSLWantReadError):
        return b""
    finally:
        server_sock.settimeout(None)
    return peeked


def hung_up(sock: Any) -> bool:
    """Whether the client of a request in progress, not by TLS, has hung up, as far as can be seen; consumes nothing."""
    inner = getattr(sock, "_sock", sock)
    try:
        if inner.gettimeout():
            return False  # recv would wait for so long before it looks
        return not inner.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True


class HeldTLSSocket(TLSSocket):
    """One that stays in the server's hands, and is never closed here."""

    def __init__(self, sock: Any, over: Event) -> None:
        super().__init__(sock)
        self._over = over

    def close(self) -> None:
        """Let the WSGI thread go; the server closes the socket itself."""
        try:
            # What the server still writes must meet a broken pipe, not a TLS error: gunicorn counts on that.
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the peer was faster
        self._over.set()
