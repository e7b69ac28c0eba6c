"""What applications written for Flask-SocketIO may name: nothing of it is missing."""

from __future__ import annotations

import inspect

import flask
import pytest

import wsgi_sio.flask
from wsgi_sio import ConnectRefused
from wsgi_sio.flask import Namespace, SocketIO, SocketIOTestClient

MODULE = "emit send call join_room leave_room close_room rooms disconnect SocketIO Namespace SocketIOTestClient"
ATTRIBUTES = (
    "on event on_event on_error on_error_default on_namespace init_app emit send call close_room run stop"
    " start_background_task sleep test_client reason server async_mode server_options wsgi_server manage_session"
)
SERVER = (
    "emit send call enter_room leave_room close_room rooms disconnect get_environ transport get_session save_session"
    " session start_background_task sleep shutdown reason async_mode"
)
PARAMETERS = {
    "emit": "event namespace callback broadcast to room include_self skip_sid ignore_queue",
    "send": "message json",
    "call": "event namespace to room timeout ignore_queue",
    "join_room": "room sid namespace",
    "leave_room": "room sid namespace",
    "close_room": "room namespace",
    "rooms": "sid namespace",
    "disconnect": "sid namespace silent",
}
METHODS = {
    SocketIO: {
        "on": "message namespace",
        "on_event": "message handler namespace",
        "emit": "event namespace to room include_self skip_sid callback ignore_queue",
        "send": "data json namespace to",
        "call": "event namespace to room timeout ignore_queue",
        "close_room": "room namespace",
        "run": "app host port",
        "start_background_task": "target",
        "sleep": "seconds",
        "test_client": "app namespace query_string headers auth flask_test_client",
    },
    Namespace: {
        "__init__": "namespace",
        "trigger_event": "event",
        "emit": "event data room include_self namespace callback",
        "send": "data room include_self namespace callback",
        "close_room": "room namespace",
    },
    SocketIOTestClient: {
        "is_connected": "namespace",
        "connect": "namespace query_string headers auth",
        "disconnect": "namespace",
        "emit": "event callback namespace",
        "send": "data json callback namespace",
        "get_received": "namespace",
    },
}


def test_the_module_s_names() -> None:
    for name in [*MODULE.split(), "ConnectionRefusedError"]:
        assert name in wsgi_sio.flask.__all__ and hasattr(wsgi_sio.flask, name)
    assert issubclass(wsgi_sio.flask.ConnectionRefusedError, ConnectRefused)


def test_the_extension_s_and_the_server_s_names() -> None:
    socketio = SocketIO(flask.Flask(__name__))
    assert [name for name in ATTRIBUTES.split() if not hasattr(socketio, name)] == []
    assert [name for name in SERVER.split() if not hasattr(socketio.server, name)] == []
    reasons = ["SERVER_DISCONNECT", "CLIENT_DISCONNECT", "PING_TIMEOUT", "TRANSPORT_CLOSE", "TRANSPORT_ERROR"]
    assert [getattr(socketio.reason, name) for name in reasons] == [name.lower().replace("_", " ") for name in reasons]


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_helpers_parameters(name: str) -> None:
    assert set(PARAMETERS[name].split()) <= set(inspect.signature(getattr(wsgi_sio.flask, name)).parameters)


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, methods in METHODS.items() for name in methods])
def test_the_methods_parameters_in_their_order(kind: type, name: str) -> None:
    given = [each for each in inspect.signature(getattr(kind, name)).parameters if each not in ("self", "args")]
    expected = METHODS[kind][name].split()
    assert [each for each in given if each in expected] == expected


@pytest.mark.parametrize("name", wsgi_sio.flask.__all__)
def test_everything_public_is_explained(name: str) -> None:
    thing = getattr(wsgi_sio.flask, name)
    assert inspect.getdoc(thing)
    members = vars(thing).items() if inspect.isclass(thing) and thing.__module__.startswith("wsgi_sio") else ()
    assert [key for key, value in members if not key.startswith("_") and callable(value) and not value.__doc__] == []
