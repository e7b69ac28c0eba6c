"""The helpers: in handlers, in views, in other app contexts, and what they say where they cannot know the client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flask
import pytest

from tests.flask.conftest import Site
from tests.support.inprocess import eventually
from wsgi_sio import AckTimeout, LocalProtocolError, OutOfContext
from wsgi_sio.flask import Namespace, SocketIO, call, close_room, disconnect, emit, join_room, leave_room, rooms, send


def names(events: list[dict[str, Any]]) -> list[str]:
    return [event["name"] for event in events]


def test_rooms(site: Site) -> None:
    @site.socketio.on("join")
    def join(room: Any) -> list[Any]:
        join_room(room)
        return rooms()

    @site.socketio.on("shout")
    def shout(room: Any, include_self: bool) -> None:
        emit("heard", room, to=room, include_self=include_self)

    site.socketio.on_event("leave", leave_room)
    site.socketio.on_event("close", close_room)
    ada, bob = site.client(), site.client()
    assert "r" in ada.emit("join", "r", callback=True)
    bob.emit("join", "r")
    ada.emit("shout", "r", False)
    assert (names(ada.get_received()), names(bob.get_received())) == ([], ["heard"])
    bob.emit("leave", "r")
    ada.emit("shout", "r", True)
    assert (names(ada.get_received()), names(bob.get_received())) == (["heard"], [])
    ada.emit("close", "r")
    ada.emit("shout", "r", True)
    assert ada.get_received() == []


def test_any_hashable_value_names_a_room(site: Site) -> None:
    site.socketio.on_event("join", lambda: join_room(5))
    client, other = site.client(), site.client()
    client.emit("join")
    site.socketio.emit("five", to=5)
    site.socketio.emit("text", to="5")
    site.socketio.emit("several", room=[5, "no such room"])
    assert (names(client.get_received()), other.get_received()) == (["five", "several"], [])


@pytest.mark.parametrize("room", [0, "", False, 7, "red"], ids=repr)
def test_a_room_is_meant_however_it_is_called(site: Site, room: Any) -> None:
    """What is for a few must not reach everybody, nor the sender alone."""
    socketio = site.socketio
    socketio.on_event("join", lambda: join_room(room))
    socketio.on_event("leave", lambda: leave_room(room))

    @socketio.on("tell")
    def tell() -> None:
        socketio.emit("object", room, to=room)
        socketio.emit("room", room, room=room)
        socketio.send(room, to=room)
        emit("helper", room, to=room, include_self=False)
        emit("helper", room, room=room, broadcast=True, include_self=False)
        socketio.server.emit("server", room, room=room)

    ann, bob, eve = (site.client() for _ in range(3))
    for member in (ann, bob):
        member.emit("join")
    ann.emit("tell")
    both = ["object", "room", "message", "server"]
    assert names(ann.get_received()) == both
    assert names(bob.get_received()) == [*both[:3], "helper", "helper", "server"]
    ann.emit("leave")
    bob.on("question", lambda: (0, ""))
    assert socketio.call("question", to=room) == socketio.call("question", room=room) == (0, "")
    socketio.close_room(room)
    socketio.emit("object", to=room)
    assert bob.get_received() == eve.get_received() == []


def test_nobody_is_meant_by_an_empty_list(site: Site) -> None:
    @site.socketio.on("tell")
    def tell() -> None:
        for nobody in ([], (), set()):
            emit("helper", to=nobody)
            emit("helper", room=nobody)
            site.socketio.emit("object", to=nobody)
            site.socketio.send("text", room=nobody)

    answers: list[Any] = []
    client = site.client()
    client.emit("tell")
    site.socketio.emit("question", to=[], callback=answers.append)
    eventually(lambda: answers == [[]], "the answers of nobody")
    with pytest.raises(ValueError, match="one client"):
        site.socketio.call("question", to=[])
    assert client.get_received() == []


def test_nobody_is_meant_by_an_empty_id(site: Site) -> None:
    """Such as one that a client has sent: not the client itself, and nobody is left out by it."""

    @site.socketio.on("all")
    def act(sid: str) -> list[Any]:
        join_room("hall", sid=sid)
        leave_room("own", sid=sid)
        disconnect(sid=sid)
        emit("news", broadcast=True, skip_sid=sid)
        return rooms(sid=sid)

    client = site.client()
    site.socketio.on_event("own", lambda: join_room("own"))
    client.emit("own")
    assert client.emit("all", "", callback=True) == [] and client.is_connected()
    site.socketio.on_event("rooms", rooms)
    assert client.emit("rooms", callback=True)[1:] == ["own"] and names(client.get_received()) == ["news"]


def test_the_empty_namespace_is_the_root(site: Site) -> None:
    class Chat(Namespace):
        def on_tell(self) -> None:
            self.emit("to the root", namespace="")
            self.send("to ourselves")
            emit("to the root", namespace="", broadcast=True)

    site.socketio.on_event("x", lambda: None)
    site.socketio.on_namespace(Chat("/chat"))
    root, chat = site.client(), site.client("/chat")
    chat.emit("tell", namespace="/chat")
    assert names(root.get_received()) == ["to the root"] * 2 and names(chat.get_received("/chat")) == ["message"]


class Silent:
    """Callable, and false: like a recorder of calls that has recorded none."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def __len__(self) -> int:
        return 0

    def __call__(self, *args: Any) -> Any:
        self.calls.append(args)
        return 0


def test_callables_may_be_false(site: Site) -> None:
    callback, on_error = Silent(), Silent()
    site.socketio.on_event("ask", lambda: emit("question", callback=callback))
    site.socketio.on_event("fail", lambda: 1 // 0)
    site.socketio.on_error()(on_error)
    client = site.client()
    client.on("question", lambda: 0)
    client.emit("ask")
    eventually(lambda: callback.calls == [(0,)], "the callback")
    assert client.emit("fail", callback=True) == 0 and len(on_error.calls) == 1


@pytest.mark.parametrize("value", [0, "", [], {}, False], ids=repr)
def test_values_that_are_false_are_sent_all_the_same(site: Site, value: Any) -> None:
    site.socketio.on_event("echo", lambda got: emit("back", got) or got)
    client = site.client()
    client.on("question", lambda: value)
    assert client.emit("echo", value, callback=True) == value
    assert [event["args"] for event in client.get_received()] == [[value]]
    site.socketio.on_event("ask", lambda: call("question"))
    assert client.emit("ask", callback=True) == value


def test_messages_json_and_namespaces(site: Site) -> None:
    @site.socketio.on("message", namespace="/chat")
    def message(text: str) -> None:
        send(text.upper())
        send({"t": text}, json=True)
        emit("elsewhere", text, namespace="/", broadcast=True)

    client, _ = site.joined()
    client.connect("/chat")
    client.emit("message", "hi", nsp="/chat")
    assert client.expect("message", nsp="/chat") == ["HI"]
    assert client.expect("json", nsp="/chat") == [{"t": "hi"}]
    assert client.expect("elsewhere") == ["hi"]


def test_what_counts_as_arguments(site: Site) -> None:
    """None is no argument, a tuple is several, as are several; a list is one."""
    client, _ = site.joined()
    for sent, expected in (
        ((None,), []),
        (((1, "a"),), [1, "a"]),
        ((1, "a"), [1, "a"]),
        (([1, 2],), [[1, 2]]),
        ((), []),
    ):
        site.socketio.emit("x", *sent)
        assert client.expect("x") == expected


def test_sending_from_outside_of_handlers(site: Site) -> None:
    client, sid = site.joined()
    other, _ = site.joined()
    site.socketio.send("only you", to=sid)
    assert client.expect("message") == ["only you"]
    site.socketio.emit("not you", skip_sid=sid)
    other.expect("not you")
    site.socketio.emit("nowhere", namespace="/no such namespace")
    client.wire.send("40/no such namespace,")
    assert client.receive().data == {"message": "Invalid namespace"}, "emitting made the namespace"


def test_leaving_clients_out(site: Site) -> None:
    site.socketio.on_event("all but", lambda *sids: emit("x", broadcast=True, include_self=False, skip_sid=list(sids)))
    one, two, three = (site.wire() for _ in range(3))
    sids = [client.connect() for client in (one, two, three)]
    one.call("all but", sids[1])
    three.expect("x")
    for client in (one, two):
        client.expect_silence(0.05)


def test_helpers_work_in_views_when_told_whom_they_are_for(site: Site) -> None:
    @site.app.get("/<sid>")
    def view(sid: str) -> str:
        emit("to all", broadcast=True)
        emit("to one", to=sid)
        join_room("hall", sid=sid)
        emit("to hall", room="hall")
        assert "hall" in rooms(sid=sid)
        disconnect(sid)
        return "done"

    client, sid = site.joined()
    assert site.app.test_client().get(f"/{sid}").text == "done"
    assert [client.receive().data[0] for _ in range(3)] == ["to all", "to one", "to hall"]
    assert client.receive().type == 1


HELPERS: list[Callable[[], Any]] = [
    lambda: emit("x"),
    lambda: send("x"),
    lambda: call("x"),
    lambda: join_room("r"),
    lambda: leave_room("r"),
    rooms,
    disconnect,
]


@pytest.mark.parametrize("helper", [*HELPERS, lambda: close_room("r"), lambda: emit("x", broadcast=True)])
def test_outside_of_any_context_they_say_what_to_use(helper: Callable[[], Any]) -> None:
    with pytest.raises(OutOfContext, match=r"context of a handler, and there is none.*socketio\.emit\(\.\.\., to="):
        helper()


@pytest.mark.parametrize("helper", HELPERS)
def test_in_a_view_they_say_that_the_client_is_missing(site: Site, helper: Callable[[], Any]) -> None:
    site.attach()
    with site.app.test_request_context(), pytest.raises(OutOfContext, match=r"no event is, here; name one: .*to=sid"):
        helper()


def test_without_the_extension_they_say_so() -> None:
    with flask.Flask(__name__).app_context(), pytest.raises(OutOfContext, match=r"has no SocketIO: call .*init_app"):
        emit("x", broadcast=True)
    with pytest.raises(RuntimeError, match=r"no app yet: call init_app\(app\)"):
        SocketIO().emit("x")


def test_what_emit_has_no_parameter_for_is_ignored_aloud(site: Site) -> None:
    with pytest.warns(UserWarning, match="ignored: 'jsn'"), site.app.app_context():
        site.attach()
        emit("x", broadcast=True, jsn=True)


def test_reserved_names_are_refused(site: Site) -> None:
    with pytest.raises(LocalProtocolError, match="reserved"):
        site.attach().emit("disconnect")


# -- acknowledgements -------------------------------------------------------------------------------------------------


def test_callbacks(site: Site) -> None:
    """One client's answer comes as arguments, those of several as a list."""
    answers: list[Any] = []

    @site.socketio.on("ask")
    def ask() -> None:
        emit("question", callback=lambda *args: answers.append(args))

    client, sid = site.joined()
    client.emit("ask")
    client.answer(client.receive(), 1, 2)
    eventually(lambda: answers == [(1, 2)], "the answer")
    site.socketio.emit("question", to=sid, callback=lambda *args: answers.append(args))
    client.answer(client.receive(), "x")
    eventually(lambda: answers[1:] == [("x",)], "the answer to the server")
    site.socketio.emit("question", callback=lambda *args: answers.append(args))
    client.answer(client.receive(), "y")
    eventually(lambda: answers[2:] == [(["y"],)], "the list of one answer")


def test_a_callback_of_a_handler_runs_in_its_context(site: Site) -> None:
    torn: list[Any] = []
    site.app.teardown_request(torn.append)

    @site.socketio.on("ask")
    def ask() -> None:
        def answered(word: str) -> None:
            request: Any = flask.request
            heard.append((word, request.sid, request.event["message"], flask.session["asked"]))
            disconnect()

        flask.session["asked"] = True
        emit("question", callback=answered)
        heard.append(flask.request.sid)  # type: ignore[attr-defined]

    heard: list[Any] = []
    client = site.client()
    client.on("question", lambda: "answer")
    client.emit("ask")
    assert not client.is_connected() and len(torn) == 2
    assert heard == [heard[0], ("answer", heard[0], None, True)]


def test_call_waits_for_the_answer(site: Site) -> None:
    site.socketio.on_event("double", lambda: call("number") * 2)
    site.socketio.on_event("none", lambda: call("nothing") is None)
    client = site.client()
    client.on("number", lambda: 21)
    client.on("nothing", lambda: None)
    client.on("pair", lambda: (1, 2))
    assert client.emit("double", callback=True) == 42
    assert client.emit("none", callback=True) is True
    site.socketio.on_event("join", lambda: join_room("alone"))
    client.emit("join")
    assert site.socketio.call("pair", to="alone") == (1, 2)


def test_call_tells_why_it_has_no_answer(site: Site) -> None:
    client, sid = site.joined()
    with pytest.raises(TimeoutError):
        site.socketio.call("question", to=sid, timeout=0.01)
    with pytest.raises(AckTimeout, match="nobody can answer"):
        site.socketio.call("question", to="nobody")
    with pytest.raises(ValueError, match="to=sid"):
        site.socketio.call("question")
    _, other_sid = site.joined()
    for one in (sid, other_sid):
        site.socketio.server.enter_room(one, "both")
    with pytest.raises(ValueError, match="2 are in 'both'"):
        site.socketio.call("question", to="both")
    site.socketio.start_background_task(lambda: (client.receive(), client.receive(), client.close()))
    with pytest.raises(AckTimeout, match="before it acknowledged"):
        site.socketio.call("question", to=sid)
