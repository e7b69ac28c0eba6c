"""Flask-SocketIO's options: what each becomes, and what is said of those that cannot be had."""

from __future__ import annotations

import datetime
import inspect
import logging
from typing import Any

import flask
import pytest

from tests.flask.conftest import Site
from tests.support.world import WORLD
from wsgi_sio.flask import SocketIO
from wsgi_sio.flask.options import Options
from wsgi_sio.flask.run import RUN_OPTIONS, Runner

ALL = {
    "manage_session": True,
    "message_queue": None,
    "channel": "flask-socketio",
    "client_manager": None,
    "logger": False,
    "engineio_logger": False,
    "serializer": "default",
    "json": None,
    "async_handlers": True,
    "always_connect": False,
    "namespaces": ["/"],
    "async_mode": None,
    "ping_interval": 25,
    "ping_timeout": 20,
    "max_http_buffer_size": 1_000_000,
    "allow_upgrades": True,
    "http_compression": True,
    "compression_threshold": 1024,
    "cookie": None,
    "cors_allowed_origins": None,
    "cors_credentials": True,
    "monitor_clients": True,
    "transports": ["polling", "websocket"],
}


def config(**options: Any) -> Any:
    """The engine's configuration that ``options`` lead to."""
    return SocketIO(flask.Flask(__name__), **options).io.engine.config


def test_flask_socketio_s_defaults_are_taken_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    explicit, implicit = config(**ALL), config()
    assert explicit == implicit and caplog.text == ""
    assert explicit.cors_credentials and explicit.path == "/socket.io"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"path": "/ws/"}, {"path": "/ws"}),
        ({"resource": "ws"}, {"path": "/ws"}),
        ({"ping_interval": (10, 3)}, {"ping_interval": 10, "ping_timeout": 23}),
        ({"ping_interval": (10, 3), "ping_timeout": 5}, {"ping_interval": 10, "ping_timeout": 8}),
        ({"http_compression": False}, {"http_compression": None}),
        ({"compression_threshold": 99}, {"http_compression": 99}),
        ({"http_compression": 7}, {"http_compression": 7}),
        ({"transports": "polling"}, {"transports": ("polling",)}),
        ({"cookie": "io"}, {"cookie": "io"}),
        ({"cors_credentials": False}, {"cors_credentials": False}),
        ({"max_outbox": 1000}, {"max_outbox": 1000}),
    ],
)
def test_what_options_become(options: dict[str, Any], expected: dict[str, Any]) -> None:
    made = config(**options)
    assert {name: getattr(made, name) for name in expected} == expected


def test_cookies_with_attributes(site: Site) -> None:
    attributes = {"name": "sid", "path": "/", "SameSite": "Lax", "HttpOnly": True, "max-age": lambda: 60}
    site.attach(cookie=attributes)
    answer = site.app.test_client().get("/socket.io/?EIO=4&transport=polling")
    name, *rest = answer.headers["Set-Cookie"].split("; ")
    assert name.startswith("sid=") and set(rest) == {"Path=/", "SameSite=Lax", "HttpOnly", "Max-Age=60"}
    with pytest.raises(ValueError, match="'expiry'; there are: name, "):
        config(cookie={"name": "sid", "expiry": 1})


def test_init_app_adds_to_the_constructor_s_options() -> None:
    socketio = SocketIO(ping_interval=3, manage_session=False)
    socketio.init_app(flask.Flask(__name__), ping_timeout=4)
    made = socketio.io.engine.config
    assert (made.ping_interval, made.ping_timeout, socketio.manage_session) == (3, 4, False)
    assert socketio.server_options == {"ping_interval": 3, "ping_timeout": 4}


def test_the_app_s_json(site: Site) -> None:
    """``json=flask.json`` is the app's provider, outside of its context too."""
    site.socketio.on_event("echo", lambda value: value)
    site.attach(json=flask.json)
    client = site.client()
    assert client.emit("echo", [1, b"\x01"], callback=True) == [1, b"\x01"]
    site.socketio.emit("when", datetime.date(2026, 1, 2))
    assert client.get_received()[0]["args"] == ["Fri, 02 Jan 2026 00:00:00 GMT"]


def test_msgpack(site: Site) -> None:
    pytest.importorskip("msgpack")
    site.socketio.on_event("echo", lambda value: value)
    site.attach(serializer="msgpack")
    assert site.client().emit("echo", {"a": [1, b"\x01"]}, callback=True) == {"a": [1, b"\x01"]}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"message_queue": "zmq://"},
            "message_queue: no bus for the scheme 'zmq'; there are redis, redis.*amqp",
        ),
        ({"message_queue": "kafka://"}, "no bus for the scheme 'kafka'.*Kafka is none of them"),
        ({"message_queue": "redis://", "adapter": object}, "message_queue= and adapter= say the same"),
        ({"message_queue": "redis://", "client_manager": object()}, "message_queue= and client_manager= say the same"),
        ({"client_manager": object()}, "client_manager: what object is about.*leave it out.*redis://"),
        ({"old_servers": True}, "old_servers=True needs message_queue="),
        ({"async_mode": "eventlet"}, "eventlet is not supported.*leave async_mode out"),
        ({"async_mode": "asyncio"}, "'threading' or 'gevent'.*not 'asyncio'"),
        ({"serializer": "pickle"}, "'default' or 'msgpack', not 'pickle'"),
    ],
)
def test_what_cannot_be_had_says_what_to_do(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        SocketIO(flask.Flask(__name__), **options)


def test_a_queue_without_an_app_is_checked_as_well() -> None:
    for attach in (lambda: SocketIO(message_queue="zmq://"), lambda: SocketIO().init_app(None, message_queue="zmq://")):
        with pytest.raises(ValueError, match="no bus for the scheme 'zmq'"):
            attach()


def test_an_unknown_option_is_named_at_once_with_the_likely_one() -> None:
    with pytest.raises(TypeError, match="'cors_allowed_origin'; did you mean 'cors_allowed_origins'"):
        SocketIO(cors_allowed_origin="*")
    with pytest.raises(TypeError, match="'ping_intervall'; did you mean 'ping_interval'"):
        SocketIO().init_app(flask.Flask(__name__), ping_intervall=3)


@pytest.mark.parametrize("way", ["SocketIO(app)", "SocketIO()", "init_app"])
def test_what_belongs_to_run_is_dropped_with_a_warning(way: str, caplog: pytest.LogCaptureFixture) -> None:
    """As in code that was written for Flask-SocketIO, which takes it and does nothing with it."""
    app = flask.Flask(__name__)
    options: dict[str, Any] = {"debug": True, "threaded": True, "port": 80, "max_outbox": 1000}
    socketio = (
        SocketIO(app, **options) if way == "SocketIO(app)" else SocketIO(**(options if way == "SocketIO()" else {}))
    )
    if way != "SocketIO(app)":
        socketio.init_app(app, **(options if way == "init_app" else {}))
    (record,) = caplog.records
    assert record.getMessage().startswith(
        "debug=, threaded=, port= in SocketIO() or init_app() is ignored: it belongs to"
    )
    assert socketio.io.engine.config.max_outbox == 1000 and "port" not in socketio.server_options


def test_whatever_run_takes_can_be_misplaced() -> None:
    parameters = inspect.signature(Runner.run).parameters.values()
    assert {p.name for p in parameters if p.kind is p.KEYWORD_ONLY} <= RUN_OPTIONS
    assert {"host", "port"} <= RUN_OPTIONS


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"monitor_clients": False}, "monitor_clients=False is ignored"),
        ({"cors_allowed_origins": []}, "cors_allowed_origins=[] admits every page"),
        (
            {"async_mode": "gevent"} if WORLD == "threads" else {"async_mode": "threading"},
            "monkey.patch_all()" if WORLD == "threads" else "greenlets will serve",
        ),
    ],
)
def test_what_has_another_meaning_is_mentioned_once(
    options: dict[str, Any], text: str, caplog: pytest.LogCaptureFixture
) -> None:
    config(**options)
    (record,) = [record for record in caplog.records if record.name != "wsgi_sio.runtime"]  # a machine that is busy
    assert text in record.getMessage() and record.levelno == logging.WARNING


def test_the_mode_that_fits_is_taken_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    mode = "gevent" if WORLD == "gevent" else "threading"
    assert SocketIO(flask.Flask(__name__), async_mode=mode).async_mode == mode
    assert caplog.text == ""


def test_every_option_of_flask_socketio_s_documentation_is_known() -> None:
    assert Options.of(ALL, flask.Flask(__name__)).namespaces == {"/"}
