"""Two ends of a QUIC connection in one process, with a clock of their own and a network that can lose and shuffle."""

from __future__ import annotations

import random
import ssl
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated, HandshakeCompleted, QuicEvent, StreamDataReceived

from wsgi_sio.webtransport.certificates import Certificate, make_certificate
from wsgi_sio.webtransport.connection import Connection, Event
from wsgi_sio.webtransport.quic import Quic, configure

SERVER, CLIENT = ("127.0.0.1", 4433), ("127.0.0.1", 50000)

HEADERS = [
    (b":method", b"CONNECT"),
    (b":protocol", b"webtransport"),
    (b":scheme", b"https"),
    (b":authority", b"localhost:4433"),
    (b":path", b"/socket.io/"),
    (b"sec-webtransport-http3-draft02", b"1"),
]


@cache
def certificate() -> Certificate:
    """The same for all tests."""
    return make_certificate()


def server_configuration(idle_timeout: float = 30.0) -> QuicConfiguration:
    return configure(certificate(), idle_timeout)


def client_configuration(idle_timeout: float = 30.0) -> QuicConfiguration:
    """A client that takes any certificate."""
    return replace(configure(None, idle_timeout), verify_mode=ssl.CERT_NONE)


class Network:
    """Carries datagrams between two QUIC connections, on a clock that only it moves.

    :param loss: how many of a hundred datagrams are lost, and as many come twice or behind the next one.
    """

    def __init__(self, client: QuicConnection, server: QuicConnection, loss: int = 0) -> None:
        self.now = 1000.0
        self.loss = loss
        self.carried = 0
        self._dice = random.Random(3)
        self._ends = {CLIENT: client, SERVER: server}
        self.take: dict[Any, Callable[[], None]] = {CLIENT: lambda: None, SERVER: lambda: None}
        client.connect(SERVER, self.now)

    def exchange(self) -> bool:
        """Carry what both want sent; whether there was something."""
        moved = False
        for here, there in ((CLIENT, SERVER), (SERVER, CLIENT)):
            end = self._ends[here]
            known = getattr(end, "_network_paths", None)  # it knows of no peer, or is over and has been forgotten
            datagrams = end.datagrams_to_send(self.now) if known else []
            for data in self._shuffled([data for data, _ in datagrams]):
                moved = True
                self.carried += 1
                if "_state" in self._ends[there].__dict__:
                    self._ends[there].receive_datagram(data, here, self.now)
            self.take[there]()
        return moved

    def _shuffled(self, datagrams: list[bytes]) -> list[bytes]:
        arriving: list[bytes] = []
        for data in datagrams:
            fate = self._dice.randrange(100)
            if fate < self.loss:
                continue
            if fate < 2 * self.loss:
                arriving.append(data)
            if fate < 3 * self.loss and arriving:
                arriving.insert(-1, data)
            else:
                arriving.append(data)
        return arriving

    def run(self, until: Callable[[], object] = lambda: False, seconds: float = 5.0) -> None:
        """Let time pass until a condition is true, or as long as given; an end whose timer is due is told."""
        end = self.now + seconds
        while not until() and self.now < end:
            if self.exchange():
                self.now += 0.001
                continue
            living = [each for each in self._ends.values() if "_state" in each.__dict__]
            deadlines = [timer for each in living if (timer := each.get_timer()) is not None]
            self.now = min([end, *(max(self.now + 0.001, deadline) for deadline in deadlines)])
            for each in living:
                timer = each.get_timer()
                if timer is not None and timer <= self.now:
                    each.handle_timer(self.now)


class Plain:
    """A QUIC connection by itself, of any class, and what it has received."""

    def __init__(self, quic: QuicConnection) -> None:
        self.quic = quic
        self.received: dict[int, bytes] = {}
        self.events: list[QuicEvent] = []

    def take(self) -> None:
        while (event := self.quic.next_event()) is not None:
            self.events.append(event)
            if isinstance(event, StreamDataReceived):
                self.received[event.stream_id] = self.received.get(event.stream_id, b"") + event.data

    def saw(self, kind: type[QuicEvent]) -> bool:
        return any(isinstance(event, kind) for event in self.events)

    @property
    def ended(self) -> str | None:
        """Why the connection is over."""
        return next((event.reason_phrase for event in self.events if isinstance(event, ConnectionTerminated)), None)


def plain_pair(server: type[Quic] | None = Quic, loss: int = 0) -> tuple[Network, Plain, Plain]:
    """A stock client and a server of ours (None: a stock one as well), which have shaken hands."""
    configuration = server_configuration()
    theirs = QuicConnection(configuration=client_configuration())
    original = theirs.original_destination_connection_id
    ours: QuicConnection
    if server is None:
        ours = QuicConnection(configuration=configuration, original_destination_connection_id=original)
    else:
        ours = server(configuration, original_destination_connection_id=original)
    client, other = Plain(theirs), Plain(ours)
    network = Network(theirs, ours, loss)
    network.take = {CLIENT: client.take, SERVER: other.take}
    network.run(lambda: client.saw(HandshakeCompleted) and other.saw(HandshakeCompleted))
    return network, client, other


class End:
    """A :class:`Connection`, and what has happened to it."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.events: list[Event] = []

    def take(self) -> None:
        self.events += self.connection.events()

    def saw(self, kind: type[Any]) -> bool:
        return any(isinstance(event, kind) for event in self.events)

    def one(self, kind: type[Any]) -> Any:
        """The only event of its kind."""
        (event,) = [event for event in self.events if isinstance(event, kind)]
        return event

    def data(self) -> bytes:
        """All bytes of the stream so far."""
        return b"".join([getattr(event, "data", b"") for event in self.events])


def connection_pair(loss: int = 0) -> tuple[Network, End, End]:
    """A client and a server, connected."""
    theirs = Quic(client_configuration())
    ours = Quic(server_configuration(), original_destination_connection_id=theirs.original_destination_connection_id)
    client, server = End(Connection(theirs)), End(Connection(ours))
    network = Network(theirs, ours, loss)
    network.take = {CLIENT: client.take, SERVER: server.take}
    from wsgi_sio.webtransport.connection import Connected

    network.run(lambda: client.saw(Connected) and server.saw(Connected))
    return network, client, server
