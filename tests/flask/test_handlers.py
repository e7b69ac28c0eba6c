"""Handlers: who gets which event, with what, and what becomes of what they return or raise."""

from __future__ import annotations

import builtins
import functools
import logging
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import flask
import pytest

from tests.flask.conftest import Site
from tests.support.inprocess import at_once, eventually
from wsgi_sio.flask import (
    NO_ACK,
    ConnectionRefusedError,
    ConnectRefused,
    DisconnectReason,
    Namespace,
    SocketIO,
    disconnect,
    emit,
    join_room,
    rooms,
)
from wsgi_sio.socketio.packet import CONNECT, DISCONNECT, EVENT, Packet


def test_what_a_handler_returns_acknowledges(site: Site) -> None:
    @site.socketio.on("add")
    def add(a: int, b: int) -> int:
        return a + b

    @site.socketio.event
    def pair() -> tuple[int, str]:
        return 1, "two"

    @site.socketio.event
    def nothing() -> None: ...

    client, _ = site.joined()
    assert client.call("add", 2, 3) == [5]
    assert client.call("pair") == [1, "two"]
    assert client.call("nothing") == []


def test_a_handler_may_leave_its_event_unacknowledged(site: Site) -> None:
    """A function, one of a class, and one of errors."""

    class Hall(Namespace):
        def on_maybe(self, silent: bool) -> Any:
            return NO_ACK if silent else "yes"

    @site.socketio.on("fails")
    def fails(silent: bool) -> None:
        raise ValueError(silent)

    site.socketio.on_event("maybe", lambda silent: NO_ACK if silent else "yes")
    site.socketio.on_namespace(Hall("/hall"))
    site.socketio.on_error()(lambda error: NO_ACK if error.args[0] else "yes")
    for event, namespace in (("maybe", "/"), ("maybe", "/hall"), ("fails", "/")):
        client = site.client(namespace=namespace)
        assert client.emit(event, True, callback=True, namespace=namespace) is None
        assert client.emit(event, False, callback=True, namespace=namespace) == "yes"


def test_the_decorators_return_the_function_itself(site: Site) -> None:
    def handler() -> None: ...

    assert site.socketio.on("a")(handler) is handler
    assert site.socketio.event(handler) is handler
    assert site.socketio.event(namespace="/x")(handler) is handler
    assert site.socketio.on_error()(handler) is handler
    assert site.socketio.on_error_default(handler) is handler


def test_one_function_may_handle_several_events(site: Site) -> None:
    @site.socketio.on("a")
    @site.socketio.on("b")
    @site.socketio.on("c", namespace="/x")
    def which() -> list[str]:
        request: Any = flask.request
        return [request.namespace, request.event["message"]]

    client = site.client()
    client.connect("/x")
    assert client.emit("a", callback=True) == ["/", "a"]
    assert client.emit("b", callback=True) == ["/", "b"]
    assert client.emit("c", callback=True, namespace="/x") == ["/x", "c"]


def test_a_second_handler_takes_the_place_of_the_first(site: Site) -> None:
    """As a reloaded module's, or a second app factory call's, should."""
    site.socketio.on_event("x", lambda: "first")
    site.socketio.on_event("x", lambda: "second")
    assert site.client().emit("x", callback=True) == "second"


def test_handlers_may_be_registered_while_it_serves(site: Site) -> None:
    client = site.client()
    site.socketio.on_event("late", lambda: "here", namespace="/late")
    client.connect("/late")
    assert client.emit("late", callback=True, namespace="/late") == "here"


def test_the_request_of_a_handler(site: Site) -> None:
    @site.socketio.on("who")
    def who(*args: Any) -> list[Any]:
        request: Any = flask.request
        return [request.sid, request.namespace, request.event, request.headers["X-Test"], request.path]

    client = site.wire(headers={"X-Test": "héllo".encode().decode("latin-1")})
    sid = client.connect()
    event = {"message": "who", "args": [1]}
    assert client.call("who", 1) == [[sid, "/", event, "héllo".encode().decode("latin-1"), "/socket.io/"]]


def test_the_nearest_handler_gets_the_event(site: Site) -> None:
    """This event in this namespace, any event here, this event anywhere, any event anywhere; then the class."""

    class X(Namespace):
        def on_in_class(self) -> str:
            return "class"

    site.socketio.on_event("known", lambda: "here", namespace="/")
    site.socketio.on_event("*", lambda event, *args: ["any here", event, *args], namespace="/")
    site.socketio.on_event("known", lambda: "known anywhere", namespace="*")
    site.socketio.on_namespace(X("/x"))
    client = site.client()
    client.connect("/x")
    assert client.emit("known", callback=True) == "here"
    assert client.emit("other", 1, callback=True) == ["any here", "other", 1]
    assert client.emit("*", 1, callback=True) == ["any here", "*", 1]
    assert client.emit("known", callback=True, namespace="/x") == "known anywhere"
    assert client.emit("in_class", callback=True, namespace="/x") == "class"
    site.socketio.on_event("*", lambda event: f"any anywhere: {event}", namespace="*")
    assert client.emit("in_class", callback=True, namespace="/x") == "any anywhere: in_class"


def test_which_namespaces_there_are(site: Site) -> None:
    site.socketio.on_event("x", lambda: None, namespace="/handled")
    site.attach(namespaces=["/named"])
    client = site.client("/named")
    assert client.is_connected("/named")
    client.connect("/handled")
    assert client.is_connected("/handled")
    for name in ("/", "/unknown"):
        client.connect(name)
        assert client.connect_error(name) == {"message": "Invalid namespace"}


def test_no_namespace_without_handlers_if_none_is_named(site: Site) -> None:
    site.socketio.on_event("x", lambda: None, namespace="/handled")
    site.attach(namespaces=[])
    client = site.client("/handled")
    assert client.is_connected("/handled")
    client.connect("/")
    assert client.connect_error("/") == {"message": "Invalid namespace"}


def test_all_namespaces_if_asked(site: Site) -> None:
    site.socketio.on_event("x", lambda: flask.request.namespace, namespace="*")  # type: ignore[attr-defined]
    site.attach(namespaces="*")
    client = site.client("/what/ever")
    assert client.emit("x", callback=True, namespace="/what/ever") == "/what/ever"
    site.socketio.emit("news", 1, namespace="/what/ever")
    assert [event["name"] for event in client.get_received("/what/ever")] == ["news"]


def test_connect_handlers_take_auth_and_refuse(site: Site) -> None:
    @site.socketio.on("connect")
    def connect(auth: dict[str, str] | None) -> bool | None:
        if auth is None:
            raise ConnectRefused("who are you")
        if auth["name"] == "liar":
            raise ConnectionRefusedError("no liars", {"code": 7})
        if auth["name"] == "late":
            raise builtins.ConnectionRefusedError("too late")
        if auth["name"] == "unlucky":
            raise builtins.ConnectionRefusedError(111, "Connection refused: 10.0.0.5:5432")  # by the database, say
        return auth["name"] != "nobody"

    client = site.wire()
    for auth, error in (
        (None, {"message": "who are you"}),
        ({"name": "liar"}, {"message": "no liars", "data": {"code": 7}}),
        ({"name": "late"}, {"message": "Connection refused by server"}),  # as of the peer: only ours carries words
        ({"name": "unlucky"}, {"message": "Internal error"}),
        ({"name": "nobody"}, {"message": "Connection refused"}),
    ):
        client.send(Packet(CONNECT, "/", auth))
        assert client.receive().data == error
    client.send(Packet(CONNECT, "/", {"name": "ada"}))
    assert "sid" in client.receive().data


def test_a_refusal_s_arguments_are_message_and_data() -> None:
    assert (ConnectionRefusedError().message, ConnectionRefusedError().data) == ("Connection rejected by server", None)
    assert ConnectionRefusedError(404).message == "404"
    assert ConnectionRefusedError("no", 1, 2).data == [1, 2]


def test_an_error_in_a_connect_handler_is_its_own(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """The peers call the handler again without arguments, and report that one is missing."""
    calls = []

    @site.socketio.on("connect")
    def connect(auth: Any = None) -> None:
        calls.append(auth)
        raise TypeError("takes 1 positional argument but 2 were given, says a function inside")

    client = site.wire()
    client.send(Packet(CONNECT, "/", {"a": 1}))
    assert client.receive().data == {"message": "Internal error"}
    assert calls == [{"a": 1}] and "says a function inside" in caplog.text


def wrapping(func: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return func(*args, **kwargs)

    return wrapped


def hiding(func: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return func(*args, **kwargs)

    return wrapped


def injecting(func: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(func)
    def wrapped(*args: Any) -> Any:
        return func("ada", *args)

    return wrapped


@pytest.mark.parametrize("decorate", [wrapping, hiding], ids=["wraps", "hides"])
@pytest.mark.parametrize("arguments", [0, 1])
def test_decorated_life_cycle_handlers_take_what_they_take(
    site: Site, decorate: Callable[..., Any], arguments: int
) -> None:
    calls: list[tuple[Any, ...]] = []
    handler: Callable[..., Any] = (lambda: calls.append(())) if not arguments else (lambda arg: calls.append((arg,)))
    for event in ("connect", "disconnect"):
        site.socketio.on_event(event, decorate(handler))
    client = site.client(auth={"a": 1})
    client.disconnect()
    assert calls == ([({"a": 1},), ("client disconnect",)] if arguments else [(), ()])


def test_a_decorator_may_add_arguments(site: Site) -> None:
    site.socketio.on_event("connect", injecting(lambda user: user == "ada"))
    site.socketio.on_event("hi", injecting(lambda user, text: f"{text} {user}"))
    client = site.client()
    assert client.emit("hi", "hello", callback=True) == "hello ada"


def test_the_reason_of_a_disconnection(site: Site) -> None:
    reasons: list[DisconnectReason] = []
    site.socketio.on_event("disconnect", reasons.append)
    site.socketio.on_event("go", disconnect)
    client, _ = site.joined()
    client.emit("go")
    assert client.receive().type == DISCONNECT
    eventually(lambda: len(reasons) == 1, "the first reason")
    client.connect()
    client.send(Packet(DISCONNECT, "/"))
    eventually(lambda: len(reasons) == 2, "the second")
    client.connect()
    client.wire.send("4junk")
    eventually(lambda: len(reasons) == 3, "the third")
    known = SocketIO.reason
    assert reasons == [known.SERVER_DISCONNECT, known.CLIENT_DISCONNECT, known.TRANSPORT_ERROR]
    assert [reason.detail for reason in reasons] == [
        "server namespace disconnect",
        "client namespace disconnect",
        "forced close",
    ]


def test_rooms_are_still_known_in_a_disconnect_handler(site: Site) -> None:
    seen: list[Any] = []
    site.socketio.on_event("join", lambda: join_room(7))
    site.socketio.on_event("disconnect", lambda: (seen.extend(rooms()), emit("left", to=7)))
    one, two = site.client(), site.client()
    one.emit("join")
    two.emit("join")
    one.disconnect()
    assert 7 in seen and len(seen) == 2
    assert [event["name"] for event in two.get_received()] == ["left"]


def test_a_client_that_is_connecting_gets_what_is_sent_to_it(site: Site) -> None:
    """By its id, its rooms and broadcasts, in order, once, before the answer to its CONNECT."""

    @site.socketio.on("connect")
    def connect() -> None:
        sid = flask.request.sid  # type: ignore[attr-defined]
        join_room("hall")
        emit("direct")
        site.socketio.start_background_task(lambda: site.socketio.emit("from a task", to=sid)).join()
        emit("to all", broadcast=True)
        emit("to hall", to=["hall", sid])
        emit("others", broadcast=True, include_self=False)
        emit("elsewhere", to="another hall")

    first = site.wire()
    first.send(Packet(CONNECT, "/"))
    expected = ["direct", "from a task", "to all", "to hall"]
    assert [first.receive().data[0] for _ in expected] == expected
    assert first.receive().type == CONNECT
    second = site.wire()
    second.send(Packet(CONNECT, "/"))
    assert [first.receive().data[0] for _ in range(3)] == ["to all", "to hall", "others"]


def test_always_connect_answers_first_and_disconnects_whom_the_handler_refuses(site: Site) -> None:
    @site.socketio.on("connect")
    def connect(auth: Any) -> bool:
        emit("hello")
        return auth is not None

    site.attach(always_connect=True)
    client = site.wire()
    client.send(Packet(CONNECT, "/", {"a": 1}))
    assert [client.receive().type for _ in range(2)] == [CONNECT, EVENT]
    client.send(Packet(DISCONNECT, "/"), Packet(CONNECT, "/"))
    assert [client.receive().type for _ in range(3)] == [CONNECT, EVENT, DISCONNECT]


def test_clients_cannot_call_life_cycle_handlers(site: Site) -> None:
    calls: list[str] = []
    site.socketio.on_event("connect", lambda: calls.append("connect"))
    site.socketio.on_event("disconnect", lambda: calls.append("disconnect"))
    client, _ = site.joined()
    client.wire.send('42["disconnect","spoofed"]')
    client.wait_closed()
    eventually(lambda: calls == ["connect", "disconnect"], "the real disconnection")


# -- errors -----------------------------------------------------------------------------------------------------------


def test_error_handlers_answer_instead(site: Site) -> None:
    @site.socketio.on_error()
    def on_error(error: Exception) -> str:
        return f"sorry: {error}"

    @site.socketio.on_error_default
    def elsewhere(error: Exception) -> str:
        return f"elsewhere: {error}"

    def bad() -> None:
        raise ValueError("on purpose")

    for namespace in ("/", "/x"):
        site.socketio.on_event("bad", bad, namespace)
    client = site.client()
    client.connect("/x")
    assert client.emit("bad", callback=True) == "sorry: on purpose"
    assert client.emit("bad", callback=True, namespace="/x") == "elsewhere: on purpose"


def test_an_error_handler_decides_about_connecting_too(site: Site) -> None:
    def connect(auth: Any) -> None:
        raise ValueError(auth["name"])

    site.socketio.on_event("connect", connect)
    site.socketio.on_error()(lambda error: str(error) == "ada")
    assert site.client(auth={"name": "ada"}).is_connected()
    assert not site.client(auth={"name": "bob"}).is_connected()


def test_an_error_handler_must_be_callable(site: Site) -> None:
    with pytest.raises(ValueError, match="callable"):
        site.socketio.on_error_default(None)  # type: ignore[type-var]


def test_a_wrong_arity_names_handler_place_and_what_came(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    @site.socketio.on("one")
    def takes_one(a: int) -> str:
        return "fine"

    client, sid = site.joined()
    with caplog.at_level(logging.WARNING):
        client.emit("one", 1, 2, ack=1)
        assert client.call("one", 1, ack=2) == ["fine"], "the other call has no acknowledgement"
    assert "takes_one" in caplog.text and __file__ in caplog.text and "Traceback" not in caplog.text
    assert f"takes 1 arguments, but client {sid} sent 2 (int, int)" in caplog.text


def test_a_wrong_arity_behind_a_decorator_is_told_as_well(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.socketio.on_event("x", wrapping(lambda a, b=1: None))
    client, sid = site.joined()
    client.emit("x")
    eventually(lambda: "of 'x' takes 1 to 2 arguments" in caplog.text, "the line")
    assert f"client {sid} sent 0" in caplog.text


def test_a_wrong_arity_goes_to_the_error_handler(site: Site) -> None:
    site.socketio.on_event("x", lambda a: None)
    site.socketio.on_error()(lambda error: type(error).__mro__[1].__name__)
    assert site.client().emit("x", callback=True) == "TypeError"


def test_teardown_functions_run_after_every_event(site: Site) -> None:
    torn: list[BaseException | None] = []
    site.app.teardown_request(torn.append)
    site.app.teardown_appcontext(torn.append)

    def bad() -> None:
        raise ValueError("on purpose")

    site.socketio.on_event("fine", lambda: setattr(flask.g, "opened", True))
    site.socketio.on_event("bad", bad)
    client, _ = site.joined()
    client.call("fine")
    client.emit("bad")
    client.call("fine")
    kinds = [type(error) for error in torn]
    assert kinds == [type(None)] * 2 + [ValueError] * 2 + [type(None)] * 2


# -- class-based namespaces -------------------------------------------------------------------------------------------


class Chat(Namespace):
    def on_connect(self, auth: dict[str, str] | None) -> bool:
        self.last = flask.request.sid  # type: ignore[attr-defined]
        self.enter_room(self.last, "hall")
        return auth != {"name": "nobody"}

    def on_disconnect(self) -> None:
        self.emit("left", self.last)

    def on_say(self, text: str) -> list[str]:
        self.emit("said", text, room="hall", include_self=False)
        self.send(text.upper())
        return sorted(self.rooms(self.last))

    def on_count(self) -> int:
        with self.session(self.last) as session:
            session["n"] = session.get("n", 0) + 1
        return int(self.get_session(self.last)["n"])

    def on_close(self) -> None:
        self.close_room("hall")

    def on_bad(self) -> None:
        raise ValueError("on purpose")

    def on_go(self) -> None:
        self.disconnect(self.last)


def test_class_based_namespaces(site: Site) -> None:
    site.socketio.on_namespace(Chat("/chat"))
    assert not site.client("/chat", auth={"name": "nobody"}).is_connected("/chat")
    one = site.client("/chat")
    two = site.client("/chat", auth={"name": "two"})
    assert "hall" in two.emit("say", "hi", callback=True, namespace="/chat")
    assert one.get_received("/chat") == [
        {"name": "said", "args": ["hi"], "namespace": "/chat"},
        {"name": "message", "args": "HI", "namespace": "/chat"},
    ]
    assert [event["name"] for event in two.get_received("/chat")] == ["message"]
    assert [two.emit("count", callback=True, namespace="/chat") for _ in range(2)] == [1, 2]
    one.disconnect("/chat")
    assert [event["name"] for event in two.get_received("/chat")] == ["left"]
    two.emit("go", namespace="/chat")
    assert not two.is_connected("/chat")


def test_a_class_may_handle_its_errors(site: Site) -> None:
    class Careful(Chat):
        def error(self, error: Exception) -> str:
            return f"careful: {error}"

    site.socketio.on_error_default(lambda error: "default")
    site.socketio.on_namespace(Careful("/careful"))
    site.socketio.on_namespace(Chat("/chat"))
    client = site.client("/careful")
    client.connect("/chat")
    assert client.emit("bad", callback=True, namespace="/careful") == "careful: on purpose"
    assert client.emit("bad", callback=True, namespace="/chat") == "default"


def test_a_class_may_dispatch_in_its_own_way(site: Site) -> None:
    seen: list[tuple[str, int]] = []

    class Own(Namespace):
        def on_thing(self, text: str) -> str:
            return text * 2

        def trigger_event(self, event: str, *args: Any) -> Any:
            seen.append((event, len(args)))
            return super().trigger_event(event.replace("-", ""), *args)

    site.socketio.on_namespace(Own("/own"))
    client = site.client("/own")
    assert client.emit("th-ing", "x", callback=True, namespace="/own") == "xx"
    client.disconnect("/own")
    assert seen == [("connect", 3), ("th-ing", 2), ("disconnect", 2)]


def test_only_namespaces_are_namespaces(site: Site) -> None:
    with pytest.raises(ValueError, match="Not a namespace instance"):
        site.socketio.on_namespace(Chat)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"on\('\*', namespace='\*'\)"):
        site.socketio.on_namespace(Chat("*"))


def test_a_refused_connection_of_the_handler_s_own_is_an_error(site: Site) -> None:
    """The builtin exception means a refusal in ``connect`` only; elsewhere it is about the handler's own business."""

    def fails() -> None:
        raise builtins.ConnectionRefusedError("the database is down")

    site.socketio.on_event("x", fails)
    site.socketio.on_error()(str)
    assert site.client().emit("x", callback=True) == "the database is down"


def test_what_turns_clients_away_is_logged_once(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.socketio.on_event("x", lambda: flask.abort(401))
    client = site.wire()
    client.connect()
    client.emit("x")
    client.emit("x")
    client.expect_silence(0.05)
    assert [record.levelno for record in caplog.records if "answered 401" in record.getMessage()] == [logging.WARNING]


def test_a_task_that_a_connect_handler_starts_finds_its_client(site: Site) -> None:
    """Whatever is faster, the task or the admission: what it sends arrives, once."""

    @site.socketio.on("connect")
    def connect() -> None:
        sid = flask.request.sid  # type: ignore[attr-defined]
        tasks.append(site.socketio.start_background_task(lambda: site.socketio.emit("started", sid, to=sid)))

    tasks: list[Any] = []
    site.attach()

    def users(number: int) -> list[list[Any]]:
        clients = [site.client() for _ in range(25)]
        for task in list(tasks):
            task.join(5)
        return [client.get_received() for client in clients]

    received = [events for found in at_once(4, users, timeout=30) for events in found]
    assert [len(events) for events in received] == [1] * 100
    assert len({events[0]["args"][0] for events in received}) == 100


def test_what_clients_send_does_not_forge_log_lines(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    evil = "\nCRITICAL forged\x1b[2J\u2028" + "x" * 900_000

    @site.socketio.on("*")
    def fails(event: str, *args: Any) -> None:
        raise ValueError

    site.socketio.on_event("few", lambda: None)
    client, _ = site.joined()
    with caplog.at_level(logging.DEBUG, "wsgi_sio"):
        client.emit(evil)
        client.emit("few", *[1] * 100_000)
        eventually(lambda: "event 'few' of" in caplog.text, "the last line")
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("wsgi_sio")]
    assert len(lines) == 4 and all(line.isprintable() and len(line) < 600 for line in lines), lines


def test_a_handler_whose_client_leaves_instead_of_answering_is_no_error(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    site.socketio.on("ask")(lambda: site.socketio.call("q", to=flask.request.sid))  # type: ignore[attr-defined]
    client, _ = site.joined()
    client.emit("ask")
    client.expect("q")
    client.close()
    eventually(lambda: "a handler ended with the connection of" in caplog.text, "the log")
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_handler_finds_no_context_variable_of_another_clients(site: Site) -> None:
    tenant: ContextVar[str] = ContextVar("tenant", default="nobody")

    @site.socketio.on("log in")
    def log_in(name: str) -> str:
        before = tenant.get()
        tenant.set(name)
        return before

    site.attach(max_workers=1)
    ann, _ = site.joined()
    bob, _ = site.joined()
    for client, name in ((ann, "ann"), (bob, "bob"), (ann, "ann")):
        assert client.call("log in", name) == ["nobody"]
