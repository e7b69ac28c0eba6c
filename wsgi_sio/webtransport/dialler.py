"""A UDP socket of the reactor for one QUIC connection, which a client begins."""

from __future__ import annotations

import socket
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING

from ..runtime import Reactor
from .at_exit import hang_up_at_exit
from .connection import Address, Connection
from .driver import IN_A_ROW, Driver, User
from .stateless_reset import ClientQuic

if TYPE_CHECKING:
    from aioquic.quic.configuration import QuicConfiguration

_LONGEST = 65536
_MANY = 64


class Dialler:
    """Home of the connection, whose end is that of the socket as well.

    :param family: of the address.
    :param make_user: makes the user of the connection.
    :raises OSError: the system has no way there, or no descriptor for it.
    """

    def __init__(
        self,
        reactor: Reactor,
        family: int,
        address: Address,
        configuration: QuicConfiguration,
        make_user: Callable[[Driver], User],
    ) -> None:
        self._reactor = reactor
        self._connected = False
        self._sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._sock.setblocking(False)
            self._sock.connect(address)  # so that nobody else is heard, and who is not there is told of
            self._watch = reactor.watch(self, reading=False)
        except (OSError, RuntimeError):
            self._sock.close()
            raise
        self._address = address
        self.driver = Driver(Connection(ClientQuic(configuration)), reactor, self, address)
        self.driver.user = make_user(self.driver)
        self._forget_exit = hang_up_at_exit(self)
        self.driver.post(lambda: self.driver.connection.connect(address, monotonic()))
        self._watch.resume()

    # -- for the reactor ----------------------------------------------------------------------------------------

    def fileno(self) -> int:
        return self._sock.fileno()

    def on_readable(self) -> None:
        datagrams: list[tuple[bytes, Address]] = []
        for _ in range(_MANY):
            try:
                datagrams.append((self._sock.recv(_LONGEST), self._address))
            except BlockingIOError:
                break
            except OSError as error:
                if not self._connected:  # later it may be a moment's trouble on the way, which QUIC outlives
                    self.driver.give_up(str(error))
                break
        if datagrams:
            self.driver.receive(datagrams)

    def on_writable(self) -> None:
        """A datagram that the kernel does not take is lost."""

    # -- for the driver -----------------------------------------------------------------------------------------

    @property
    def unread(self) -> bool:
        return self._watch.reading

    def send(self, data: bytes, address: Address) -> None:
        try:
            self._sock.send(data)
        except OSError:
            pass  # it is lost, as on any network

    def flush_later(self, driver: Driver) -> None:
        self._reactor.call_later(IN_A_ROW, driver.flush)

    def add_id(self, connection_id: bytes, driver: Driver) -> None:
        """All that comes is for the one connection."""

    def remove_id(self, connection_id: bytes) -> None:
        """See :meth:`add_id`."""

    def connected(self, driver: Driver) -> None:
        self._connected = True

    def gone(self, driver: Driver) -> None:
        self._forget_exit()
        self._watch.close(self._sock.close)

    def hang_up(self) -> None:
        """End the connection."""
        self.driver.hang_up()
