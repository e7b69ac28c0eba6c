"""A socket at a listener's port for what one client sends, whoever has the port.

The kernel gives a datagram to the socket that is connected to where it comes from, if there is one, rather than to the
one that takes all. So a process that is about to end can let go of its port, and keep its connections.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence

from ..runtime import Reactor
from .connection import Address

Arrivals = Sequence[tuple[bytes, Address]]

_LONGEST = 65536
_MANY = 64


def share_port(sock: socket.socket, shared: bool) -> None:
    """Whether another socket that wants to share its port, too, may have it, if all that have it do.

    (SO_REUSEPORT would not do: Linux then lets a socket in if some that have the port share it.)
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, shared)


class ConnectedSocket:
    """See the module's text.

    :param listening: the listener's socket, which shares its port at present.
    :param take: is given what has come, on an I/O thread.
    :ivar peer: the client's address.
    :ivar users: how many connections it is for.
    :raises OSError: the system has no socket left, or cannot do it.
    :raises RuntimeError: it has no thread left.
    """

    def __init__(
        self, reactor: Reactor, listening: socket.socket, peer: Address, take: Callable[[Arrivals], None]
    ) -> None:
        self.peer = peer
        self.users = 0
        self._take = take
        self._sock = socket.socket(listening.family, socket.SOCK_DGRAM)
        try:
            self._sock.setblocking(False)
            share_port(self._sock, True)
            if listening.family == socket.AF_INET6:
                self._sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            self._sock.bind(listening.getsockname())
            self._sock.connect(peer)
            self._watch = reactor.watch(self)
        except (OSError, RuntimeError):
            self._sock.close()
            raise

    def fileno(self) -> int:
        return self._sock.fileno()

    def on_readable(self) -> None:
        arrived: list[tuple[bytes, Address]] = []
        for _ in range(_MANY):
            try:
                arrived.append(self._sock.recvfrom(_LONGEST))  # before it was connected others may have come, too
            except BlockingIOError:
                break
            except OSError:  # the client's host has told that it is not there any more
                continue
        self._take(arrived)

    def on_writable(self) -> None:
        """A datagram that the kernel does not take is lost."""

    @property
    def reading(self) -> bool:
        """Whether what has come is just being read."""
        return self._watch.reading

    def send(self, data: bytes) -> None:
        """Send a datagram to the client.

        :raises OSError: the kernel does not take it.
        """
        self._sock.send(data)

    def close(self) -> None:
        """Be gone."""
        self._watch.close(self._sock.close)
