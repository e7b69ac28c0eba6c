"""The names of this process's listening sockets, read from the kernel.

A name is what siblings have in common, whoever of them made the socket: the address that it is bound to.  It is not the
socket's inode (with ``SO_REUSEPORT`` each process has a socket of its own), nor its descriptor's number.

``_socket`` is used as it is: where gevent has patched ``socket``, a socket object is a greenlet's affair.
"""

from __future__ import annotations

import _socket
import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

_UNIX = getattr(_socket, "AF_UNIX", None)
# Where the descriptors are listed; elsewhere so many are looked at: a server has its listening sockets early.
_LISTED = "/proc/self/fd"
_LOOKED_AT = 4096


def name_of(sock: Any) -> str | None:
    """The address that ``sock`` is bound to, as text; None when it has none, is closed, or is of no web server's kind.

    ``10.0.0.1:80``, ``[::1]:80``, ``unix:/run/app.sock``, ``unix:@abstract``.
    """
    try:
        family, address = sock.family, sock.getsockname()
    except (OSError, AttributeError):  # AttributeError: gunicorn's wrapper of a socket that it has closed
        return None
    if family == _UNIX:
        return _name_of_path(address)
    if family in (_socket.AF_INET, _socket.AF_INET6) and address[1]:
        return _name_of_port(family, *address)
    return None


def listening_names() -> frozenset[str]:
    """Those of all listening sockets that this process has, by a walk over its descriptors."""
    return frozenset(_walk())


def forms(local: str) -> tuple[str, ...]:
    """The names that a socket may have which has accepted a connection of the name ``local``, in the kernel's order."""
    if local.startswith("unix:"):
        return (local,)
    host, _, port = local.rpartition(":")
    if not host.startswith("["):
        return (local, f"0.0.0.0:{port}")
    return (local, f"[::]:{port}", f"[::ffff:0.0.0.0]:{port}")


def anywhere(local: str) -> str:
    """A name for all sockets that may have accepted such a connection, where none of them is to be seen."""
    return local if local.startswith("unix:") else f"*:{local.rpartition(':')[2]}"


def _name_of_path(address: str | bytes) -> str | None:
    if not address:
        return None  # as the ends of a socketpair are
    raw = os.fsencode(address)
    if raw.startswith(b"\0"):
        return f"unix:@{_printable(raw[1:])}"
    return f"unix:{_printable(os.path.abspath(raw))}"  # some servers bind a path relative to where they are


def _printable(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")


def _name_of_port(family: int, host: str, port: int, flow: int = 0, scope: int = 0) -> str:
    if family == _socket.AF_INET:
        return f"{host}:{port}"
    return f"[{host}%{scope}]:{port}" if scope else f"[{host}]:{port}"


def _walk() -> Iterator[str]:
    for descriptor in _descriptors():
        try:
            if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                continue
            with _borrowed(descriptor) as sock:
                name = name_of(sock) if is_listening(sock) else None
        except OSError:
            continue  # none of that number, or no longer
        if name is not None:
            yield name


def _descriptors() -> Iterable[int]:
    try:
        return [int(name) for name in os.listdir(_LISTED)]
    except OSError:  # no Linux, or no /proc in the container
        return range(_LOOKED_AT)


@contextmanager
def _borrowed(descriptor: int) -> Iterator[_socket.socket]:
    """A socket object for somebody else's descriptor, which stays as it is.

    While a ``socket.setdefaulttimeout()`` is in force, making the object makes the connection non-blocking, and that of
    a database's client in C would break.
    """
    blocking = os.get_blocking(descriptor)
    sock = _socket.socket(fileno=descriptor)
    try:
        yield sock
    finally:
        sock.detach()
        if blocking and not os.get_blocking(descriptor):
            os.set_blocking(descriptor, True)


def is_listening(sock: Any) -> bool:
    """Whether ``sock`` accepts connections."""
    if sock.type != _socket.SOCK_STREAM:
        return False
    try:
        return bool(sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_ACCEPTCONN))
    except OSError as error:
        if error.errno != errno.ENOPROTOOPT:
            raise
    try:  # macOS and OpenBSD do not tell: one with a name and no peer is taken for such
        sock.getpeername()
    except OSError as error:
        return error.errno == errno.ENOTCONN
    return False
