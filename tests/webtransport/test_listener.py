"""A UDP socket of the reactor, with clients of our own over the loopback; the user echoes what comes."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from aioquic.quic.connection import QuicConnection

from tests.support.quic_end import QuicEnd, bare_initial
from tests.support.waiting import DEADLINE, eventually, open_descriptors
from tests.webtransport.pair import certificate, client_configuration
from wsgi_sio.runtime import Reactor, create_reactor
from wsgi_sio.webtransport import listener as listener_module
from wsgi_sio.webtransport.certificates import make_certificate
from wsgi_sio.webtransport.connection import Closed, Ended, Event, Received, Requested
from wsgi_sio.webtransport.driver import Driver
from wsgi_sio.webtransport.listener import HALF_OPEN, Listener, bind
from wsgi_sio.webtransport.retry import Arrival, Doorkeeper, destination_of


class Echo:
    """Accepts any session, and sends back what comes."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.events: list[Event] = []
        self.progress = 0

    def on_event(self, event: Event) -> None:
        self.events.append(event)
        connection = self.driver.connection
        if isinstance(event, Requested):
            connection.accept(event.headers)
        elif isinstance(event, Received):
            assert connection.send(event.data)
        elif isinstance(event, Ended):
            connection.close("good bye")

    def on_progress(self) -> None:
        self.progress += 1

    def saw(self, kind: type[Any]) -> bool:
        return any(isinstance(event, kind) for event in self.events)


class Place:
    """A listener on a free port, and the users that it has made."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0, **options: Any) -> None:
        self.users: list[Echo] = []
        self.reports: list[str] = []
        self.reactor: Reactor = create_reactor()
        self.listener = Listener(
            self.reactor,
            bind(host, port),
            certificate(),
            self._welcome,
            report=lambda kind, text: self.reports.append(kind),
            **{"idle_timeout": 30.0, "max_connections": 1000, **options},
        )
        self.address: tuple[str, int] = self.listener.address[:2]
        self.ends: list[QuicEnd] = []

    def _welcome(self, driver: Driver) -> Echo:
        self.users.append(Echo(driver))
        return self.users[-1]

    def end(self, **options: Any) -> QuicEnd:
        self.ends.append(QuicEnd(options.pop("address", self.address), **options))
        return self.ends[-1]

    def close(self) -> None:
        for end in self.ends:
            end.close()
        self.listener.hang_up()
        self.listener.close()
        self.reactor.close()


@pytest.fixture
def make_place() -> Iterator[Any]:
    made: list[Place] = []

    def make(**options: Any) -> Place:
        made.append(Place(**options))
        return made[-1]

    yield make
    for place in made:
        place.close()


def echo(end: QuicEnd, *messages: str | bytes) -> None:
    end.send(*messages)
    assert [end.receive() for _ in messages] == list(messages)


def test_bytes_come_and_go(make_place: Any) -> None:
    place = make_place()
    end = place.end().open()
    echo(end, "hello", b"\x01" * 100_000, "€")
    assert len(place.listener) == 1 and place.listener.half_open == 0
    (user,) = place.users
    (requested,) = [event for event in user.events if isinstance(event, Requested)]
    assert dict(requested.headers)[b":path"] == b"/socket.io/"
    end.close()
    eventually(lambda: user.saw(Closed), "the end")
    assert len(place.listener) == 0 and not place.listener._drivers


def test_clients_do_not_mix(make_place: Any) -> None:
    place = make_place()
    ends = [place.end().open() for _ in range(5)]
    for number, end in enumerate(ends):
        end.send(f"client {number}")
    for number, end in enumerate(ends):
        assert end.receive() == f"client {number}"


def test_loss_and_disorder(make_place: Any) -> None:
    place = make_place()
    end = place.end(loss=5).open()
    for number in range(5):
        echo(end, bytes([number]) * 20_000)


def test_a_client_whose_port_changes(make_place: Any) -> None:
    place = make_place()
    end = place.end().open()
    echo(end, "before")
    end.migrate()
    echo(end, "after")
    assert place.users[0].driver.address[1] == end.sock.getsockname()[1]
    assert len(place.listener) == 1


def test_any_thread_may_send_and_order_remains(make_place: Any) -> None:
    place = make_place()
    end = place.end().open()
    echo(end, "0")
    driver = place.users[0].driver

    def send(name: str) -> None:
        for number in range(100):
            driver.post(partial(driver.connection.send, f"\x03{name}{number:02}".encode()))

    threads = [threading.Thread(target=send, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    got = [end.receive() for _ in range(400)]
    for thread in threads:
        thread.join()
    for name in "abcd":
        assert [each for each in got if str(each)[0] == name] == [f"{name}{number:02}" for number in range(100)]


def test_what_is_written_in_a_row_shares_datagrams(make_place: Any) -> None:
    """The first goes out at once, the others together a millisecond later; what answers the client does not wait."""
    place = make_place()
    end = place.end().open()
    echo(end, "0")
    driver = place.users[0].driver
    sent: list[int] = []
    send = place.listener.send

    def counted(data: bytes, address: Any) -> None:
        sent.append(len(data))
        send(data, address)

    place.listener.send = counted
    time.sleep(0.05)
    sent.clear()
    for _ in range(50):
        driver.post(partial(driver.connection.send, b"\x09some text"), hasty=False)
    assert len(sent) <= 10  # one, or as many as milliseconds have passed
    assert [end.receive() for _ in range(50)] == ["some text"] * 50
    assert len(sent) <= 20
    sent.clear()
    driver.post(partial(driver.connection.send, b"\x09some text"))
    driver.post(partial(driver.connection.send, b"\x09some text"))
    eventually(lambda: len(sent) >= 2, "both")  # by whoever is at it, with an acknowledgement that comes just now
    assert [end.receive(), end.receive()] == ["some text"] * 2


def test_an_answer_does_not_wait_for_more(make_place: Any) -> None:
    """What has come had nothing sent at once, so nothing has been sent in a row."""
    place = make_place()
    end = place.end().open()
    echo(end, "0")
    driver = place.users[0].driver
    late: list[Driver] = []
    place.listener.flush_later = late.append
    time.sleep(0.05)
    driver.post(lambda: None)
    driver.post(partial(driver.connection.send, b"\x09some text"), hasty=False)
    assert end.receive() == "some text" and not late


def test_garbage_is_dropped(make_place: Any) -> None:
    place = make_place()
    end = place.end().open()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.2)
        for data in (b"", b"x", b"\xff" * 1500, b"\x40" * 21, b"\xe0\0\0\0\1\x08" + bytes(1200), bytes(9)):
            sock.sendto(data, place.address)
        sock.sendto(b"\xc0\0\0\0\0\x08" + bytes(1300), place.address)  # a version negotiation is not for servers
        with pytest.raises(TimeoutError):
            sock.recv(2000)
        assert len(place.listener) == 1
        sock.sendto(b"\xc0\x1a\x2a\x3a\x4a\x08abcdefgh\x08ijklmnop" + bytes(1300), place.address)
        answer = sock.recv(2000)
        assert answer[1:5] == bytes(4) and answer[5:23] == b"\x08ijklmnop\x08abcdefgh"  # "other versions, please"
    echo(end, "still here")


def test_datagrams_of_somebody_else_change_nothing(make_place: Any) -> None:
    """Whoever knows an id cannot break its connection."""
    place = make_place()
    end = place.end().open()
    echo(end, "one")
    (connection_id, *_) = place.listener._drivers
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for data in (b"\x40" + connection_id + bytes(40), b"\xc0\0\0\0\1\x08" + connection_id + bytes(1300)):
            sock.sendto(data, place.address)
    echo(end, "two")


def test_many_beginnings_have_to_show_where_they_are(make_place: Any) -> None:
    """300 first datagrams that nobody goes on with: a bounded number is kept, and clients still get in."""
    place = make_place()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        for data in [bare_initial() for _ in range(300)]:
            sock.sendto(data, place.address)
        eventually(lambda: place.listener.half_open >= HALF_OPEN, "the bound")
        time.sleep(0.1)
    assert place.listener.half_open == HALF_OPEN == len(place.listener)
    end = place.end().open()
    echo(end, "in")
    assert end.quic._retry_count == 1
    assert place.listener.half_open == HALF_OPEN and len(place.listener) == HALF_OPEN + 1


def test_no_more_than_so_many_connections(make_place: Any) -> None:
    place = make_place(max_connections=2)
    ends = [place.end().open() for _ in range(2)]
    late = place.end()
    assert not late.pump(lambda: late.connected, timeout=0.3)
    assert place.reports[0] == "too many connections"
    ends[0].close()
    eventually(lambda: len(place.listener) == 1, "a free place")
    assert late.open().status == 200


def test_the_certificate_is_renewed_in_place(make_place: Any) -> None:
    place = make_place()
    first = place.end().open()
    fresh = make_certificate()
    place.listener.renew(fresh)
    second = place.end().open()
    shown = [end.quic.tls._peer_certificate for end in (first, second)]
    assert shown == [certificate().chain[0], fresh.chain[0]]
    echo(first, "goes on")


def test_both_families_on_one_socket(make_place: Any) -> None:
    place = make_place(host="::")
    port = place.address[1]
    for host in ("127.0.0.1", "::1"):
        echo(place.end(address=(host, port)).open(), host)


def test_a_user_that_fails_loses_its_connection_alone(make_place: Any, caplog: pytest.LogCaptureFixture) -> None:
    place = make_place()
    bad, good = place.end().open(), place.end().open()
    echo(bad, "x")
    echo(good, "x")

    def fail() -> None:
        raise ZeroDivisionError

    place.users[0].driver.post(fail)
    assert place.users[0].saw(Closed) and len(place.listener) == 1
    assert [record.message for record in caplog.records] == ["a connection of WebTransport has failed, and is given up"]
    echo(good, "fine")


def test_what_is_of_no_connection_is_reset(make_place: Any) -> None:
    """So clients of a process that was killed know at once."""
    place = make_place()
    end = place.end().open()
    echo(end, "one")
    (driver,) = place.listener._ids
    place.listener.gone(driver)  # as another process, which has the same certificate
    end.send("two")
    assert end.pump(lambda: end.ended, 5.0)
    assert end.ended == "the server does not know the connection any more"


# -- the end --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", ""])
def test_who_closes_lets_go_of_the_port_and_keeps_its_connections(make_place: Any, host: str) -> None:
    place = make_place(host=host)
    port = place.address[1]
    address = (host or "127.0.0.1", port)
    with pytest.raises(OSError, match="in use"):
        bind(host, port)
    ends = [place.end(address=address).open() for _ in range(5)]
    assert place.listener.close()
    assert place.listener.fileno() == -1
    successor = make_place(host=host, port=port)
    with pytest.raises(OSError, match="in use"):
        bind(host, port)
    for end in ends:
        echo(end, "still served", b"x" * 100_000)
    late = [successor.end(address=address).open() for _ in range(5)]
    for end in [*late, *ends]:
        echo(end, "by its own")
    assert (len(place.listener), len(successor.listener)) == (5, 5)
    assert len(place.users) == len(successor.users) == 5
    assert place.listener.close()  # once more
    for end in ends:
        end.close()
    assert place.listener.wait_until_deserted(5.0)
    assert not place.listener._sockets and not place.listener._socket_of
    for end in late:
        echo(end, "and on")


def test_who_closes_without_connections_has_let_go(make_place: Any) -> None:
    place = make_place()
    assert place.listener.close() and place.listener.wait_until_deserted(0.0)
    assert place.listener.fileno() == -1


def test_a_port_that_cannot_be_let_go_of_is_kept(make_place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No descriptor is left for sockets of the connections' own: the port is free when the last has gone."""
    place = make_place()
    ends = [place.end().open() for _ in range(3)]
    descriptors = open_descriptors()
    make = listener_module.ConnectedSocket
    left = iter([True])

    def fail(*args: Any) -> Any:
        if next(left, False):
            return make(*args)
        raise OSError("too many open files")

    monkeypatch.setattr(listener_module, "ConnectedSocket", fail)
    assert not place.listener.close()
    eventually(lambda: open_descriptors() == descriptors, "what was made to be given back")
    late = place.end()
    assert not late.pump(lambda: late.connected, timeout=0.2)
    with pytest.raises(OSError, match="in use"):
        bind(*place.address)
    for end in ends:
        echo(end, "still served")
        end.close()
    assert place.listener.wait_until_deserted(5.0)
    eventually(lambda: place.listener.fileno() == -1, "the socket's end")


def test_nothing_is_left_of_a_port_that_was_let_go_of(make_place: Any) -> None:
    descriptors = open_descriptors()
    place = make_place()
    ends = [place.end().open() for _ in range(20)]
    assert place.listener.close()
    for end in ends:
        echo(end, "x")
        end.close()
    assert place.listener.wait_until_deserted(5.0)
    place.close()
    eventually(lambda: open_descriptors() <= descriptors, "their end")


def test_nothing_is_left_of_those_that_have_gone(make_place: Any) -> None:
    place = make_place()
    before = open_descriptors()
    for _ in range(10):
        end = place.end().open()
        echo(end, "x")
        end.close()
    vanished = place.end(idle_timeout=0.4).open()
    echo(vanished, "x")
    vanished.vanish()
    eventually(lambda: len(place.listener) == 0, "the end of all", timeout=DEADLINE)
    assert not place.listener._drivers and not place.listener.half_open
    assert open_descriptors() <= before


# -- what needs no socket -------------------------------------------------------------------------------------------

HERE, THERE = ("127.0.0.1", 1000), ("127.0.0.1", 1001)


def keeper(secret: bytes = b"s") -> Doorkeeper:
    return Doorkeeper([1], secret)


def come_back() -> bytes:
    """The second first datagram of a client that got a Retry."""
    quic = QuicConnection(configuration=client_configuration())
    quic.connect(HERE, 0.0)
    (data, _), *_ = quic.datagrams_to_send(0.0)
    retry = keeper().examine(data, HERE, True)
    assert isinstance(retry, bytes)
    quic.receive_datagram(retry, HERE, 0.1)
    (data, _), *_ = quic.datagrams_to_send(0.2)
    return data


def test_a_token_is_good_for_its_address_and_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    data = come_back()
    arrival = keeper().examine(data, HERE, True)
    assert isinstance(arrival, Arrival)
    assert arrival.retry_source == arrival.destination == destination_of(data) != arrival.original
    assert isinstance(keeper().examine(data, THERE, True), bytes)
    assert isinstance(keeper(b"other").examine(data, HERE, True), bytes)
    changed = data.replace(arrival.original, bytes(8))
    assert changed != data and isinstance(keeper().examine(changed, HERE, True), bytes)
    later = time.time() + 31
    monkeypatch.setattr(time, "time", lambda: later)
    assert isinstance(keeper().examine(data, HERE, True), bytes)


def test_the_same_key_signs_the_same() -> None:
    """Workers that serve with one certificate take each other's tokens."""
    assert certificate().secret(b"a") == certificate().secret(b"a") != certificate().secret(b"b")
    assert certificate().secret(b"a") != make_certificate().secret(b"a")
