"""``logger=`` and ``engineio_logger=`` of Flask-SocketIO switch the debug log on, or say where it goes."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from typing import Any

import flask
import pytest

from tests.support.inprocess import InProcess, eventually
from wsgi_sio.flask import SocketIO

NAMES = ("wsgi_sio", "wsgi_sio.socketio", "wsgi_sio.flask", "wsgi_sio.engineio")


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Loggers are the process's: each test finds them untouched."""
    before = [(each, each.level, list(each.handlers), each.propagate) for each in map(logging.getLogger, NAMES)]
    yield
    for each, level, handlers, propagate in before:
        each.setLevel(level)
        each.handlers[:] = handlers
        each.propagate = propagate


@pytest.fixture
def target() -> tuple[logging.Logger, io.StringIO]:
    """A logger of the application's, and what it has written."""
    written = io.StringIO()
    logger = logging.Logger("the application's", logging.DEBUG)
    logger.addHandler(logging.StreamHandler(written))
    return logger, written


def serve_one(**options: Any) -> None:
    """Serve a client that emits an event which nothing handles."""
    socketio = SocketIO(flask.Flask(__name__), **options)
    process = InProcess(socketio.io)
    client = process.client()
    client.connect()
    client.emit("hello")
    client.close()
    eventually(lambda: not socketio.io.sockets.sockets, "the end")
    process.close()


def test_true_shows_events(caplog: pytest.LogCaptureFixture) -> None:
    serve_one(logger=True)
    assert "event 'hello' of" in caplog.text and "has connected over websocket" in caplog.text
    assert "a session with" not in caplog.text  # which is the engine's


def test_true_shows_the_engine_s_sessions(caplog: pytest.LogCaptureFixture) -> None:
    serve_one(engineio_logger=True)
    assert "a session with" in caplog.text and "event 'hello'" not in caplog.text


@pytest.mark.parametrize("value", [None, False])
def test_nothing_is_shown_otherwise(caplog: pytest.LogCaptureFixture, value: Any) -> None:
    serve_one(logger=value, engineio_logger=value)
    assert caplog.text == ""


def test_an_application_without_handlers_sees_it_on_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    package = logging.getLogger("wsgi_sio")
    monkeypatch.setattr(package, "propagate", False)  # the test runner's own handlers are above it
    SocketIO(flask.Flask(__name__), logger=True)
    SocketIO(flask.Flask(__name__), logger=True, engineio_logger=True)
    assert [type(handler) for handler in package.handlers] == [logging.StreamHandler]


def test_a_level_that_the_application_has_set_stands() -> None:
    logging.getLogger("wsgi_sio.socketio").setLevel(logging.ERROR)
    SocketIO(flask.Flask(__name__), logger=True)
    assert logging.getLogger("wsgi_sio.socketio").level == logging.ERROR


def test_a_logger_of_the_application_gets_the_lines(
    target: tuple[logging.Logger, io.StringIO], caplog: pytest.LogCaptureFixture
) -> None:
    logger, written = target
    SocketIO(flask.Flask(__name__), logger=logger)  # a second app with the same one doubles nothing
    serve_one(logger=logger)
    assert written.getvalue().count("10 bytes") == 1
    assert "event 'hello' of" not in caplog.text


def test_its_level_decides(target: tuple[logging.Logger, io.StringIO]) -> None:
    logger, written = target
    logger.setLevel(logging.WARNING)
    serve_one(logger=logger, engineio_logger=logger)
    assert written.getvalue() == ""


@pytest.mark.parametrize("name", ["wsgi_sio.socketio", "wsgi_sio.socketio.child"])
def test_one_of_ours_is_not_given_its_own_lines_again(caplog: pytest.LogCaptureFixture, name: str) -> None:
    caplog.set_level(logging.DEBUG, "wsgi_sio.socketio")
    serve_one(logger=logging.getLogger(name))
    assert caplog.text.count("10 bytes") == 1


def test_what_is_no_logger_is_named(caplog: pytest.LogCaptureFixture) -> None:
    SocketIO(flask.Flask(__name__), logger=print)
    (record,) = caplog.records
    assert record.getMessage().startswith("logger= (builtin_function_or_method) is ignored: it takes True, or a")
