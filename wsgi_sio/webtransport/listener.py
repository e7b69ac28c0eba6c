"""A UDP socket of the reactor, on which clients begin QUIC connections: each datagram goes to the one of its id."""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Callable
from contextlib import suppress

from ..runtime import Event, Rank, Reactor, make_lock, tell_in_child
from .at_exit import hang_up_at_exit
from .certificates import Certificate
from .connected_socket import Arrivals, ConnectedSocket, share_port
from .connection import Address, Connection
from .driver import IN_A_ROW, Driver, User
from .quic import configure
from .retry import Arrival, Doorkeeper, destination_of
from .stateless_reset import Resets, ServerQuic

logger = logging.getLogger("wsgi_sio.webtransport")

# How many datagrams are read before other connections have their turn.
_MANY = 64
# How many connections send what has waited, before other timers have their turn.
_MANY_LATE = 50
# The longest datagram there is (bytes).
_LONGEST = 65536
# What the kernel may keep of datagrams that wait, if it allows so much (bytes).
_BUFFER = 4 << 20
# From how many handshakes under way a client first has to show that it is where it says.
HALF_OPEN = 64


def bind(host: str, port: int) -> socket.socket:
    """A UDP socket; ``::`` takes IPv4 as well. The port may be one that another process has let go of.

    :param host: empty for all addresses.
    :raises OSError: it is not possible.
    """
    if not host:
        try:
            return bind("::", port)
        except OSError as error:
            if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                raise
            host = "0.0.0.0"  # there is no IPv6 here
    family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
        _bind_alone(sock, address)
    except OSError:
        sock.close()
        raise
    return sock


def _bind_alone(sock: socket.socket, address: Address) -> None:
    """Nobody else gets the port while ``sock`` has it; connections of who had it before may be left there."""
    try:
        sock.bind(address)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        share_port(sock, True)
        sock.bind(address)
        share_port(sock, False)


class Listener:
    """See the module's text.

    :param sock: from :func:`bind`; the listener closes it.
    :param welcome: makes the user of a connection that begins; called on an I/O thread, so it must not block.
    :param idle_timeout: seconds without a word after which a connection is over.
    :param max_connections: how many there may be; those beyond get no answer.
    :param report: is told when there are too many: what, and what to do about it.
    """

    def __init__(
        self,
        reactor: Reactor,
        sock: socket.socket,
        certificate: Certificate,
        welcome: Callable[[Driver], User],
        *,
        idle_timeout: float,
        max_connections: int,
        report: Callable[[str, str], None],
    ) -> None:
        self._reactor = reactor
        self._sock = sock
        self._welcome = welcome
        self._idle_timeout = idle_timeout
        self._max_connections = max_connections
        self._report = report
        self._drivers: dict[bytes, Driver] = {}  # by each of their ids
        self._ids: dict[Driver, set[bytes]] = {}
        self._unconnected: set[Driver] = set()
        self._lock = make_lock(Rank.LEAF)
        self._late: list[Driver] = []  # those that have something that waits for more
        self._sockets: dict[Address, ConnectedSocket] = {}  # once the port has been let go of
        self._socket_of: dict[Driver, ConnectedSocket] = {}
        self._deserted: Event | None = None
        self._closed = False
        self.renew(certificate)
        self._watch = reactor.watch(self)
        self._forget_exit = hang_up_at_exit(self)
        tell_in_child(self)

    @property
    def address(self) -> Address:
        """Where it listens."""
        return self._sock.getsockname()

    def __len__(self) -> int:
        """How many connections there are."""
        return len(self._ids)

    @property
    def half_open(self) -> int:
        """How many handshakes are under way."""
        return len(self._unconnected)

    def renew(self, certificate: Certificate) -> None:
        """Show ``certificate`` to those that come from now on."""
        self._configuration = configure(certificate, self._idle_timeout)
        self._doorkeeper = Doorkeeper(self._configuration.supported_versions, certificate.secret(b"wsgi_sio retry"))
        self._resets = Resets(certificate.secret(b"wsgi_sio stateless reset"))

    # -- what comes ---------------------------------------------------------------------------------------------

    def fileno(self) -> int:
        return self._sock.fileno()

    def on_readable(self) -> None:
        arrived: list[tuple[bytes, Address]] = []
        for _ in range(_MANY):
            try:
                arrived.append(self._sock.recvfrom(_LONGEST))
            except BlockingIOError:
                break
            except OSError:  # a client's host, or a router, has told that it is not there any more
                continue
        self._take(arrived)

    def _take(self, arrived: Arrivals) -> None:
        came: dict[Driver, list[tuple[bytes, Address]]] = {}
        for data, address in arrived:
            driver = self._find(data, address)
            if driver is not None:
                came.setdefault(driver, []).append((data, address))
        for driver, datagrams in came.items():
            driver.receive(datagrams)

    def on_writable(self) -> None:
        """A datagram that the kernel does not take is lost."""

    @property
    def unread(self) -> bool:
        return self._watch.reading or any(each.reading for each in list(self._sockets.values()))

    def _find(self, data: bytes, address: Address) -> Driver | None:
        destination = destination_of(data)
        if destination is None:
            return None
        driver = self._drivers.get(destination)
        if driver is not None:
            return driver
        answer: bytes | Arrival | None = self._resets.answer(data)
        if answer is None and not self._closed:
            answer = self._doorkeeper.examine(data, address, self.half_open >= HALF_OPEN)
        if isinstance(answer, Arrival):
            return self._begin(answer, address)
        if answer is not None:
            self.send(answer, address)
        return None

    def _begin(self, arrival: Arrival, address: Address) -> Driver | None:
        if len(self._ids) >= self._max_connections:
            self._report(
                "too many connections",
                f"max_connections={self._max_connections} clients are connected by WebTransport, so another gets no"
                " answer; raise it if there is memory for more, of which each takes 100 KB, or add processes",
            )
            return None
        quic = ServerQuic(
            self._configuration,
            self._resets,
            original_destination_connection_id=arrival.original,
            retry_source_connection_id=arrival.retry_source,
        )
        driver = Driver(Connection(quic), self._reactor, self, address)
        driver.user = self._welcome(driver)
        self._ids[driver] = set()
        self._unconnected.add(driver)
        self.add_id(arrival.destination, driver)
        self.add_id(quic.host_cid, driver)
        return driver

    # -- for the drivers, from any thread -----------------------------------------------------------------------

    def send(self, data: bytes, address: Address) -> None:
        try:
            own = self._sockets.get(address)
            if own is None:
                self._sock.sendto(data, address)
            else:
                own.send(data)
        except OSError:
            pass  # it is lost, as on any network

    def flush_later(self, driver: Driver) -> None:
        with self._lock:
            self._late.append(driver)
            first = len(self._late) == 1
        if first:
            self._reactor.call_later(IN_A_ROW, self._flush_late)

    def _flush_late(self) -> None:
        with self._lock:
            now, self._late = self._late[:_MANY_LATE], self._late[_MANY_LATE:]
            more = bool(self._late)
        for driver in now:
            driver.flush()
        if more:
            self._reactor.call_later(0.0, self._flush_late)

    def add_id(self, connection_id: bytes, driver: Driver) -> None:
        self._drivers[connection_id] = driver
        self._ids[driver].add(connection_id)

    def remove_id(self, connection_id: bytes) -> None:
        driver = self._drivers.pop(connection_id, None)
        if driver is not None:
            self._ids[driver].discard(connection_id)

    def connected(self, driver: Driver) -> None:
        self._unconnected.discard(driver)

    def gone(self, driver: Driver) -> None:
        self._unconnected.discard(driver)
        for connection_id in self._ids.pop(driver, ()):
            self._drivers.pop(connection_id, None)
        with self._lock:
            own = self._socket_of.pop(driver, None)
            unused = own is not None and self._leave_locked(own)
        if own is not None and unused:
            own.close()
        if self._closed and not self._ids:
            self._release()

    # -- the end ------------------------------------------------------------------------------------------------

    def close(self) -> bool:
        """Begin nothing any more, and let another process have the port; connections go on.

        :return: whether that was possible; if not, the port is free when the last connection is gone.
        """
        self._closed = True
        if not self._ids or self._sock.fileno() == -1:
            return self._release()
        made: dict[Address, ConnectedSocket] = {}
        try:
            share_port(self._sock, True)
            for address in {driver.address for driver in list(self._ids)}:
                made[address] = ConnectedSocket(self._reactor, self._sock, address, self._take)
        except (OSError, RuntimeError) as error:  # no descriptor is left, or the system has no such thing
            logger.debug("the port of WebTransport is kept until the last connection is gone: %s", error)
            for each in made.values():
                each.close()
            with suppress(OSError):
                share_port(self._sock, False)
            return False
        with self._lock:
            self._sockets = made
            for driver in list(self._ids):
                own = made.get(driver.address)
                if own is not None:
                    own.users += 1
                    self._socket_of[driver] = own
            unused = [each for each in made.values() if not each.users]
            for each in unused:
                del made[each.peer]
        for each in unused:  # its connection ended meanwhile
            each.close()
        return self._release()

    def _leave_locked(self, own: ConnectedSocket) -> bool:
        own.users -= 1
        if not own.users:
            self._sockets.pop(own.peer, None)
        return not own.users

    @property
    def users(self) -> list[User]:
        """Who uses the connections that there are."""
        return [driver.user for driver in list(self._ids)]

    def wait_until_deserted(self, seconds: float) -> bool:
        """Block until there are no connections, for ``seconds`` at most; whether there are none."""
        event = self._deserted = self._deserted or self._reactor.event()
        return not self._ids or event.wait(seconds)

    def hang_up(self) -> None:
        """End all connections that there are."""
        for driver in list(self._ids):
            driver.hang_up()

    def _release(self) -> bool:
        self._watch.close(self._sock.close)
        if not self._ids:
            self._forget_exit()
            if self._deserted is not None:
                self._deserted.set()
        return True

    def after_fork(self) -> None:
        """In a forked child: there are no connections, and the reactor has let go of the socket."""
        self._closed = True
        self._drivers, self._ids, self._unconnected, self._late = {}, {}, set(), []
        self._sockets, self._socket_of = {}, {}
        self._lock = make_lock(Rank.LEAF)
