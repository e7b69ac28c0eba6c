"""The connection to the server, for both transports: DNS, TCP, a proxy's tunnel, TLS.

It blocks, so it belongs into a task of its own; :class:`BlockingSockets` lets another thread end it.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from .blocking_sockets import BlockingSockets, limit
from .proxy import Proxy, open_tunnel
from .url import Address


def connect_tcp(
    address: Address,
    proxy: Proxy | None,
    tls_context: Callable[[], ssl.SSLContext],
    sockets: BlockingSockets,
    deadline: float | None,
    *,
    tunnel: bool,
) -> Any:
    """A socket that is connected to the server, or to a proxy that is to be sent plain HTTP; ``sockets`` knows it.

    :param tls_context: asked for the settings of TLS.
    :param tunnel: whether to ask ``proxy`` for a way through in any case, not for TLS only.
    :raises OSError: it cannot be reached, or is not to be trusted.
    :raises ValueError: its name is none.
    """
    with ExitStack() as unwound:
        first = proxy or address
        sock: Any = _connect(first.host, first.port, sockets, deadline)
        unwound.callback(sock.close)
        if proxy is not None and (tunnel or address.secure):
            open_tunnel(sock, address, proxy, deadline)
        if address.secure:
            limit(sock, deadline)
            sockets.remove(sock)
            sock = tls_context().wrap_socket(sock, server_hostname=address.host, do_handshake_on_connect=False)
            unwound.callback(sock.close)
            sockets.add(sock)
            sock.do_handshake()
        unwound.pop_all()
    return sock


def _connect(host: str, port: int, sockets: BlockingSockets, deadline: float | None) -> socket.socket:
    """Connect to the first of the host's addresses that answers; only the look-up of its name cannot be cut."""
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
