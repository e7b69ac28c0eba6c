"""``socketio.server``: python-socketio's methods by session id, and views of what it kept to itself."""

from __future__ import annotations

from typing import Any

import pytest

from tests.flask.conftest import Site
from wsgi_sio import Server
from wsgi_sio.socketio.packet import DISCONNECT


def test_methods_by_session_id(site: Site) -> None:
    client, sid = site.joined()
    server = site.socketio.server
    server.enter_room(sid, "r")
    assert set(server.rooms(sid)) == {sid, "r"}
    server.emit("x", (1, 2), room="r", namespace="/")
    server.send("text", to=sid)
    assert client.expect("x") == [1, 2]
    assert client.expect("message") == ["text"]
    server.leave_room(sid, "r")
    server.enter_room(sid, "s")
    server.close_room("s")
    assert server.rooms(sid) == [sid]
    assert (server.transport(sid), server.async_mode) == ("websocket", site.socketio.async_mode)
    environ = server.get_environ(sid)
    assert environ is not None and environ["PATH_INFO"] == "/socket.io/"
    with server.session(sid) as session:
        session["name"] = "ada"
    assert server.get_session(sid) == {"name": "ada"}
    server.save_session(sid, {})
    assert server.get_session(sid) == {}
    server.disconnect(sid)
    assert client.receive().type == DISCONNECT


def test_who_has_gone_is_nobody(site: Site) -> None:
    server = site.attach().server
    server.enter_room("nobody", "r")
    server.leave_room("nobody", "r")
    server.disconnect("nobody")
    assert server.rooms("nobody") == [] and server.get_environ("nobody") is None
    with pytest.raises(KeyError, match="no client 'nobody' in namespace '/'"):
        server.get_session("nobody")


def test_the_server_underneath(site: Site) -> None:
    assert isinstance(site.attach().server.io, Server) and site.socketio.io is site.socketio.server.io


def test_private_parts_are_views_that_warn(site: Site) -> None:
    client = site.client()
    sid = next(iter(site.attach().io.sockets.sockets))
    server: Any = site.socketio.server
    server.enter_room(sid, "r")
    with pytest.warns(DeprecationWarning, match="manager is a view.*fetch_sockets"):
        manager = server.manager
    assert list(manager.get_participants("/", "r")) == [(sid, client.eio_sid)]
    assert manager.rooms["/"] == {None: {sid: client.eio_sid}, sid: {sid: client.eio_sid}, "r": {sid: client.eio_sid}}
    assert manager.is_connected(sid, "/") and not manager.is_connected("nobody", "/")
    assert list(manager.get_namespaces()) == ["/"]
    with pytest.warns(DeprecationWarning, match="eio is a view"):
        engine = server.eio
    assert list(engine.sockets) == [client.eio_sid] and engine.ping_timeout == 20 and engine.allow_upgrades
    with pytest.warns(DeprecationWarning, match="environ is a view.*get_environ"):
        environs = server.environ
    assert list(environs) == [client.eio_sid] and len(environs) == 1
    assert environs[client.eio_sid]["REQUEST_METHOD"] == "GET"


def test_shutdown_ends_the_connections(site: Site) -> None:
    client, _ = site.joined()
    site.socketio.server.shutdown()
    assert client.wait_closed()
