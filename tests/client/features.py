"""The feature script: what must work against every server, over every transport. Each check is given a session."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.inprocess import Background, eventually
from wsgi_sio import AckTimeout, ConnectRefused
from wsgi_sio.client import Client, ClientSocket

TIMEOUT = 10.0  # seconds; for what a busy machine may take


class Session:
    """A server, and how to connect to it.

    :ivar ordered: whether the server handles a client's events in their order.
    """

    def __init__(self, url: str, *, ordered: bool, **options: Any) -> None:
        self.url = url
        self.ordered = ordered
        self._options = options
        self.clients: list[Client] = []

    def client(self, path: str = "", **options: Any) -> Client:
        """A client that has not connected."""
        client = Client(self.url + path, **{"reconnection_delay": 0.05, **self._options, **options})
        self.clients.append(client)
        return client

    def connect(self, path: str = "", **options: Any) -> Client:
        """A client that has."""
        return self.client(path, **options).connect(timeout=TIMEOUT)


def collect(socket: ClientSocket, event: str) -> list[tuple[Any, ...]]:
    """The arguments of each of these events."""
    seen: list[tuple[Any, ...]] = []
    socket.on(event, lambda *args: seen.append(args))
    return seen


def call(socket: ClientSocket, event: str, *args: Any) -> Any:
    return socket.emit_with_ack(event, *args, timeout=TIMEOUT)


def auth_and_query_reach_the_server(session: Session) -> None:
    client = session.client("/?lang=fr", auth={"name": "ann", "n": 1})
    seen = collect(client, "welcome")
    client.connect(timeout=TIMEOUT)
    eventually(lambda: seen, "the welcome", TIMEOUT)
    assert seen == [({"id": client.id, "auth": {"name": "ann", "n": 1}, "lang": "fr"},)]


def values_come_back_as_they_went(session: Session) -> None:
    client = session.connect()
    for value in (
        0, -1, 1.5, "", "text", "ünï ☃ 😀", True, None, [], {}, [1, [2, {"a": None}]], {"k": {"é": [1.25]}},
        b"", b"\x00\xff", {"deep": [b"a", {"er": b"b" * 1000}]}, "x" * 200_000, b"y" * 200_000,
    ):  # fmt: skip
        assert call(client, "echo", value) == value
    assert call(client, "echo", 1, b"2", "3") == (1, b"2", "3")


def events_come_back(session: Session) -> None:
    client = session.connect()
    echoed, messages = collect(client, "echoed"), collect(client, "message")
    client.emit("echo event", 1, {"two": [b"2"]}, "three")
    client.send("hello", b"you")
    eventually(lambda: echoed and messages, "both", TIMEOUT)
    assert (echoed, messages) == ([(1, {"two": [b"2"]}, "three")], [("hello", b"you")])


def acknowledgements_have_none_one_or_several_values(session: Session) -> None:
    client = session.connect()
    assert call(client, "ack none") is None
    assert call(client, "ack list") == ["one", "argument"]
    assert call(client, "ack tuple") == ("a", 2, {"three": [3, None]})
    told: list[Any] = []
    client.emit("ack tuple", callback=lambda *args: told.append(args))
    client.timeout(TIMEOUT).emit("ack list", callback=lambda *args: told.append(args))
    eventually(lambda: len(told) == 2, "the callbacks", TIMEOUT)
    assert sorted(told, key=len) == [(None, ["one", "argument"]), ("a", 2, {"three": [3, None]})]


def nobody_answers(session: Session) -> None:
    client = session.connect()
    with pytest.raises(AckTimeout):
        client.timeout(0.1).emit_with_ack("an event that nobody handles")


def bytes_from_the_server(session: Session) -> None:
    client = session.connect()
    seen = collect(client, "binary")
    assert call(client, "send binary") == (b"acked", {"inner": b"also"})
    eventually(lambda: seen, "the event", TIMEOUT)
    assert seen == [(b"\x00\x01", {"deep": [b"\xff" * 3, {"er": b""}]}, "text")]


def the_server_asks(session: Session) -> None:
    """Our handlers acknowledge, with what they return; a missing one does not."""
    client = session.connect()
    client.on("question", lambda question: {"answer to": question})
    assert call(client, "ask", [1, b"2"]) == {"answer to": [1, b"2"]}
    assert call(client, "ask in vain") == "timeout"


def order_is_kept_in_both_directions(session: Session) -> None:
    client = session.connect()
    numbers = collect(client, "number")
    client.emit("burst", 300)
    eventually(lambda: len(numbers) == 300, "the burst", TIMEOUT)
    assert numbers == [(number,) for number in range(300)]
    for number in range(300):
        client.emit("count", number)
    eventually(lambda: len(call(client, "counted")) == 300, "all of ours", TIMEOUT)
    counted = call(client, "counted")
    assert (counted if session.ordered else sorted(counted)) == list(range(300))


def what_is_emitted_before_connecting_goes_out(session: Session) -> None:
    client = session.client()
    told: list[Any] = []
    client.emit("echo", 1, b"2", callback=lambda *args: told.append(args))
    client.connect(timeout=TIMEOUT)
    eventually(lambda: told, "the acknowledgement", TIMEOUT)
    assert told == [(1, b"2")]


def namespaces_share_the_connection(session: Session) -> None:
    client = session.connect()
    chat = client.io.socket("/chat").connect(timeout=TIMEOUT)
    members = client.io.socket("/members", auth={"name": "zoe"}).connect(timeout=TIMEOUT)
    assert call(chat, "echo", 1) == ("chat", "/chat", 1)
    assert call(members, "who am i") == "Zoe"
    assert call(client, "echo", 1) == 1
    assert len({client.id, chat.id, members.id}) == 3
    chat.disconnect()
    assert call(client, "echo", 2) == 2 and not chat.connected


def refusals_are_told(session: Session) -> None:
    for path, options, message, data in (
        ("", {"auth": {"token": "wrong"}}, "not authorized", {"code": 401, "hint": "wrong token"}),
        ("/members", {}, "members only", {"code": 403}),
    ):
        client = session.client(path, **options)
        with pytest.raises(ConnectRefused, match=message) as caught:
            client.connect(timeout=TIMEOUT)
        assert caught.value.data == data
        assert client.wait(TIMEOUT) and not client.active
    with pytest.raises(ConnectRefused):
        session.client("/no such namespace").connect(timeout=TIMEOUT)


def thrown_out_it_stays_out_until_it_connects_again(session: Session) -> None:
    client = session.client()
    reasons = collect(client, "disconnect")
    client.connect(timeout=TIMEOUT)
    client.emit("kick", False)
    assert client.wait(TIMEOUT)
    eventually(lambda: reasons, "the handler", TIMEOUT)
    assert reasons == [("io server disconnect", None)]
    client.connect(timeout=TIMEOUT)
    assert call(client, "echo", 1) == 1


def a_dropped_connection_is_made_again(session: Session) -> None:
    client = session.client()
    reasons = collect(client, "disconnect")
    client.connect(timeout=TIMEOUT)
    first = client.id
    client.emit("drop connection")
    eventually(lambda: client.id not in (None, first), "the next connection", TIMEOUT)
    assert reasons[0][0] in ("transport close", "transport error")
    assert call(client, "echo", 1) == 1


def the_server_learns_that_we_leave(session: Session) -> None:
    watcher = session.connect()
    seen = collect(watcher, "left")
    call(watcher, "join", "watching bob")
    session.connect(auth={"name": "bob"}).disconnect()
    eventually(lambda: seen, "the news", TIMEOUT)
    assert seen[0][0] == "bob"


def threads_share_a_client(session: Session) -> None:
    client = session.connect()

    def ask(name: int) -> None:
        for number in range(25):
            assert call(client, "echo", name, number, b"x" * 100) == (name, number, b"x" * 100)

    for background in [Background(ask, name) for name in range(4)]:
        background.result(6 * TIMEOUT)


def large_and_small_messages_mix(session: Session) -> None:
    client = session.connect()
    done = threading.Semaphore(0)
    seen: list[int] = []

    def answered(number: int, data: bytes) -> None:
        assert len(data) == (100_000 if number % 7 == 0 else 10)
        seen.append(number)
        done.release()

    for number in range(70):
        client.emit("echo", number, b"z" * (100_000 if number % 7 == 0 else 10), callback=answered)
    for _ in range(70):
        assert done.acquire(timeout=TIMEOUT)
    assert sorted(seen) == list(range(70))


CHECKS: list[Callable[[Session], None]] = [
    auth_and_query_reach_the_server,
    values_come_back_as_they_went,
    events_come_back,
    acknowledgements_have_none_one_or_several_values,
    nobody_answers,
    bytes_from_the_server,
    the_server_asks,
    order_is_kept_in_both_directions,
    what_is_emitted_before_connecting_goes_out,
    namespaces_share_the_connection,
    refusals_are_told,
    thrown_out_it_stays_out_until_it_connects_again,
    a_dropped_connection_is_made_again,
    the_server_learns_that_we_leave,
    threads_share_a_client,
    large_and_small_messages_mix,
]
