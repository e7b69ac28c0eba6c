"""The way to the server, for both transports: DNS, TCP, a proxy's tunnel, TLS.

It blocks, so it belongs into a task of its own; :class:`Wires` lets another thread end it.
"""

from __future__ import annotations

import socket
from contextlib import ExitStack
from time import monotonic
from typing import Any

from .address import Address, Proxy
from .memory import Memory
from .wires import Wires

# What the head of an answer may take (bytes).
_MAX_HEAD = 65536


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


def dial(
    address: Address, proxy: Proxy | None, memory: Memory, wires: Wires, deadline: float | None, *, tunnel: bool
) -> Any:
    """A socket that is connected to the server, or to a proxy that is to be sent plain HTTP; ``wires`` knows it.

    :param tunnel: whether to ask ``proxy`` for a way through in any case, not for TLS only.
    :raises OSError: it cannot be reached, or is not to be trusted.
    :raises ValueError: its name is none.
    """
    with ExitStack() as unwound:
        first = proxy or address
        sock: Any = _connect(first.host, first.port, wires, deadline)
        unwound.callback(sock.close)
        if proxy is not None and (tunnel or address.secure):
            _ask_for_tunnel(sock, address, proxy, deadline)
        if address.secure:
            limit(sock, deadline)
            wires.remove(sock)
            sock = memory.tls_context().wrap_socket(sock, server_hostname=address.host, do_handshake_on_connect=False)
            unwound.callback(sock.close)
            wires.add(sock)
            sock.do_handshake()
        unwound.pop_all()
    return sock


def _connect(host: str, port: int, wires: Wires, deadline: float | None) -> socket.socket:
    """Connect to the first of the host's addresses that answers; only the look-up of its name cannot be cut."""
    failure: OSError = OSError(f"{host} has no address")
    for family, kind, protocol, _, where in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind, protocol)
        try:
            wires.add(sock)
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


def _ask_for_tunnel(sock: Any, address: Address, proxy: Proxy, deadline: float | None) -> None:
    """CONNECT (RFC 9110, section 9.3.6)."""
    where = f"[{address.host}]" if ":" in address.host else address.host
    where = f"{where}:{address.port}"
    lines = [f"CONNECT {where} HTTP/1.1", f"Host: {where}"]
    if proxy.authorization is not None:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    sock.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
    head, _ = read_head(sock, deadline, chunk=1)  # what follows the head belongs to the server
    status = head.split(b"\r\n", 1)[0].split(b" ", 2)
    if len(status) < 2 or not status[0].startswith(b"HTTP/") or not status[1].startswith(b"2"):
        line = b" ".join(status).decode("latin-1")
        raise OSError(f"the proxy refuses the tunnel: {line[:100]!r}")


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
