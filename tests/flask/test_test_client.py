"""SocketIOTestClient: Flask-SocketIO's methods, by the real protocol."""

from __future__ import annotations

import sqlite3
from typing import Any

import flask
import pytest

from tests.flask.conftest import Site
from tests.support.inprocess import at_once
from wsgi_sio import ConnectionFailed
from wsgi_sio.flask import disconnect, emit, send


@pytest.fixture
def echo(site: Site) -> Site:
    site.socketio.on_event("echo", lambda *args: args)
    site.socketio.on_event("back", lambda *args: emit("echoed", args))
    site.socketio.on_event("message", send)
    site.socketio.on_event("json", lambda value: send(value, json=True))
    return site


def test_emit_send_and_what_is_received(echo: Site) -> None:
    client = echo.client()
    assert client.emit("echo", 1, {"a": b"\x01"}) is None
    assert client.emit("echo", 1, {"a": b"\x01"}, callback=True) == [1, {"a": b"\x01"}]
    assert client.emit("echo", 1, callback=True) == 1
    assert client.emit("echo", callback=True) == []
    assert client.emit("nobody handles", callback=True) is None
    client.emit("back", 1, 2)
    client.send("text")
    client.send({"a": 1}, json=True)
    assert client.get_received() == [
        {"name": "echoed", "args": [1, 2], "namespace": "/"},
        {"name": "message", "args": "text", "namespace": "/"},
        {"name": "json", "args": {"a": 1}, "namespace": "/"},
    ]
    assert client.get_received() == []


def test_what_is_sent_and_received_are_copies(echo: Site) -> None:
    client, value = echo.client(), {"a": 1}
    client.emit("back", value)
    value["a"] = 2
    assert client.get_received()[0]["args"] == [{"a": 1}]
    with pytest.raises(TypeError):
        client.emit("back", object())


def test_connecting_to_several_namespaces(site: Site) -> None:
    seen: list[Any] = []
    for name in ("/", "/a"):
        site.socketio.on_event(
            "connect", lambda auth: seen.append([dict(flask.request.args), flask.request.headers.get("X"), auth]), name
        )
    client = site.client(query_string="?q=1", headers={"X": "y"}, auth={"b": 2})
    session = client.eio_sid
    client.connect("/a")
    assert client.eio_sid == session
    assert seen == [[{"q": "1"}, "y", {"b": 2}], [{"q": "1"}, "y", None]]
    client.connect("/a", query_string="q=2")
    assert client.eio_sid != session and seen[2] == [{"q": "2"}, None, None]
    client.disconnect()
    assert (client.is_connected(), client.is_connected("/a")) == (False, True)
    client.connect()
    assert client.is_connected()


def test_refusals_can_be_seen(site: Site) -> None:
    site.socketio.on_event("connect", lambda auth: auth == {"ok": 1})
    client = site.client()
    assert not client.is_connected() and client.connect_error() == {"message": "Connection refused"}
    with pytest.raises(RuntimeError, match="not connected"):
        client.emit("x")
    with pytest.raises(RuntimeError, match="not connected"):
        client.get_received()
    client.connect(auth={"ok": 1})
    assert client.is_connected() and client.connect_error() is None


def test_refused_handshakes_can_be_seen(site: Site) -> None:
    site.attach(allow_request=lambda environ: "not today")
    with pytest.raises(ConnectionFailed, match="not today") as caught:
        site.client()
    assert caught.value.description == 403


def test_the_server_disconnects(site: Site) -> None:
    site.socketio.on_event("go", disconnect)
    client, other = site.client(), site.client()
    client.emit("go")
    assert not client.is_connected() and other.is_connected()


def test_the_app_s_cookies_come_along(site: Site) -> None:
    site.socketio.on_event("who", lambda: [flask.request.cookies.get("c"), flask.session.get("who")])

    @site.app.get("/")
    def page() -> flask.Response:
        flask.session["who"] = "ada"
        response = flask.make_response("page")
        response.set_cookie("c", "1")
        return response

    site.attach()
    browser = site.app.test_client()
    browser.get("/")
    assert site.client(flask_test_client=browser).emit("who", callback=True) == ["1", "ada"]
    assert site.client().emit("who", callback=True) == [None, None]


@pytest.mark.parametrize("event", ["connect", "x", "disconnect"])
def test_what_a_handler_raises_is_raised_here(site: Site, event: str) -> None:
    def fail() -> None:
        raise ZeroDivisionError(event)

    site.socketio.on_event(event, fail)
    with pytest.raises(ZeroDivisionError, match=event):
        client = site.client()
        client.emit("x")
        client.disconnect()


def test_an_answer_that_cannot_be_sent_is_raised_here(site: Site) -> None:
    site.socketio.on_event("x", lambda: {object()})
    client = site.client()
    with pytest.raises(TypeError):
        client.emit("x", callback=True)
    client.emit("x")  # nobody asks for it


def test_handlers_run_in_the_thread_and_the_app_context_of_the_test(site: Site) -> None:
    """So a fixture's connection, or an open session of SQLAlchemy's, is that of the handlers too."""
    database = sqlite3.connect(":memory:")  # of this thread alone

    @site.socketio.on("look")
    def look() -> list[Any]:
        return [database.execute("select 1").fetchone()[0], flask.g.get("kept")]

    client = site.client()
    assert client.emit("look", callback=True) == [1, None]
    with site.app.app_context():
        flask.g.kept = "by the test"
        assert client.emit("look", callback=True) == [1, "by the test"]
    assert not flask.has_app_context()
    database.close()


def test_what_an_error_handler_takes_is_not(site: Site) -> None:
    site.socketio.on_event("x", lambda: 1 / 0)
    site.socketio.on_error()(lambda error: "sorry")
    assert site.client().emit("x", callback=True) == "sorry"


def test_a_server_for_websockets_only_has_test_clients_too(echo: Site) -> None:
    echo.attach(transports=["websocket"])
    assert echo.client().emit("echo", 1, callback=True) == 1
    assert echo.app.test_client().get("/socket.io/?EIO=4&transport=polling").status_code == 400


def test_many_clients_at_once(echo: Site) -> None:
    echo.socketio.on_event("all", lambda n: emit("n", n, broadcast=True))
    echo.attach()
    clients = [echo.client() for _ in range(8)]

    def use(number: int) -> Any:
        for turn in range(20):
            assert clients[number].emit("echo", number, turn, callback=True) == [number, turn]
        clients[number].emit("all", number)

    at_once(8, use)
    assert all(sorted(event["args"][0] for event in client.get_received()) == list(range(8)) for client in clients)
