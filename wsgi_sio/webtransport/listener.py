"""A UDP socket of the reactor, on which clients begin QUIC connections: each datagram goes to the one of its id."""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Callable

from ..runtime import Rank, Reactor, make_lock, tell_in_child
from .certificates import Certificate
from .connection import Address, Connection
from .driver import IN_A_ROW, Driver, User
from .quic import Quic, configure
from .retry import Arrival, Doorkeeper, destination_of

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


def bind(host: str, port: int, *, reuse_port: bool = False) -> socket.socket:
    """A UDP socket; ``::`` takes IPv4 as well.

    :param host: empty for all addresses.
    :param reuse_port: whether other processes may have theirs at the same address.
    :raises OSError: it is not possible.
    """
    if not host:
        try:
            return bind("::", port, reuse_port=reuse_port)
        except OSError as error:
            if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                raise
            host = "0.0.0.0"  # there is no IPv6 here
    family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock


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
        self._closed = False
        self.renew(certificate)
        self._watch = reactor.watch(self)
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

    # -- what comes ---------------------------------------------------------------------------------------------

    def fileno(self) -> int:
        return self._sock.fileno()

    def on_readable(self) -> None:
        came: dict[Driver, list[tuple[bytes, Address]]] = {}
        for _ in range(_MANY):
            try:
                data, address = self._sock.recvfrom(_LONGEST)
            except BlockingIOError:
                break
            except OSError:  # a client's host, or a router, has told that it is not there any more
                continue
            driver = self._find(data, address)
            if driver is not None:
                came.setdefault(driver, []).append((data, address))
        for driver, datagrams in came.items():
            driver.receive(datagrams)

    def on_writable(self) -> None:
        """A datagram that the kernel does not take is lost."""

    @property
    def unread(self) -> bool:
        return self._watch.reading

    def _find(self, data: bytes, address: Address) -> Driver | None:
        destination = destination_of(data)
        if destination is None:
            return None
        driver = self._drivers.get(destination)
        if driver is not None or self._closed:
            return driver
        answer = self._doorkeeper.examine(data, address, self.half_open >= HALF_OPEN)
        if isinstance(answer, bytes):
            self.send(answer, address)
        elif isinstance(answer, Arrival):
            return self._begin(answer, address)
        return None

    def _begin(self, arrival: Arrival, address: Address) -> Driver | None:
        if len(self._ids) >= self._max_connections:
            self._report(
                "too many connections",
                f"max_connections={self._max_connections} clients are connected by WebTransport, so another gets no"
                " answer; raise it if there is memory for more, of which each takes 100 KB, or add processes",
            )
            return None
        quic = Quic(
            self._configuration,
            original_destination_connection_id=arrival.original,
            retry_source_connection_id=arrival.retry_source,
        )
        driver = Driver(Connection(quic), self._reactor, self, address)
        self._ids[driver] = set()
        self._unconnected.add(driver)
        self.add_id(arrival.destination, driver)
        self.add_id(quic.host_cid, driver)
        driver.user = self._welcome(driver)
        return driver

    # -- for the drivers, from any thread -----------------------------------------------------------------------

    def send(self, data: bytes, address: Address) -> None:
        try:
            self._sock.sendto(data, address)
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
        if self._closed and not self._ids:
            self._release()

    # -- the end ------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Begin nothing any more; when the last connection is gone, close the socket."""
        self._closed = True
        if not self._ids:
            self._release()

    def hang_up(self) -> None:
        """End all connections that there are."""
        for driver in list(self._ids):
            driver.hang_up()

    def _release(self) -> None:
        self._watch.close(self._sock.close)

    def after_fork(self) -> None:
        """In a forked child: there are no connections, and the reactor has let go of the socket."""
        self._closed = True
        self._drivers, self._ids, self._unconnected, self._late = {}, {}, set(), []
        self._lock = make_lock(Rank.LEAF)
