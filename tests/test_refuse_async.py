"""``async def`` is refused wherever the application hands something over to be called, with the cure."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import flask
import pytest

import wsgi_sio.flask
from tests.support.inprocess import InProcess
from wsgi_sio import Client, Namespace, Server
from wsgi_sio.engineio import EngineConfig
from wsgi_sio.refuse_async import refuse_async


async def never_run(*args: Any) -> int:
    return 1


async def generator(*args: Any) -> Any:
    yield 1


class Doubling(Namespace):
    async def on_double(self, socket: Any) -> None: ...


class Failing(Namespace):
    async def on_error(self, *args: Any) -> Any: ...  # type: ignore[override]


class FlaskDoubling(wsgi_sio.flask.Namespace):
    async def on_double(self) -> None: ...


class FlaskFailing(wsgi_sio.flask.Namespace):
    async def error(self, error: Exception) -> None: ...


class Callee:
    async def __call__(self, *args: Any) -> None: ...

    async def method(self, *args: Any) -> None: ...


def _flask() -> wsgi_sio.flask.SocketIO:
    return wsgi_sio.flask.SocketIO(flask.Flask(__name__))


HANDED_OVER: dict[str, Callable[[], Any]] = {
    "on": lambda: Server().on("x", never_run),
    "decorator": lambda: Server().on("x")(never_run),
    "once": lambda: Server().once("x", never_run),
    "event": lambda: Server().event(never_run),
    "class": lambda: Server().of("/x", Doubling),
    "class's on_error": lambda: Server().of("/x", Failing),
    "on_error": lambda: Server().on_error(never_run),
    "middleware": lambda: Server().use(never_run),
    "server side": lambda: Server().on_server_side("x", never_run),
    "namespace test": lambda: Server().of(never_run),  # type: ignore[call-overload]
    "background task": lambda: Server().start_background_task(never_run),
    "room events": lambda: Server().sockets.adapter.on("join-room", never_run),
    "callback": lambda: Server().timeout(1).emit("x", callback=never_run),
    "allow_request": lambda: EngineConfig(allow_request=never_run),  # type: ignore[arg-type]
    "cors_allowed_origins": lambda: Server(cors_allowed_origins=never_run),
    "client": lambda: Client("http://localhost").on("x", never_run),
    "client's listener": lambda: Client("http://localhost").on_any(never_run),
    "client's callback": lambda: Client("http://localhost").emit("x", callback=never_run),
    "Flask's on": lambda: _flask().on("x")(never_run),
    "Flask's event": lambda: _flask().event(never_run),
    "Flask's class": lambda: _flask().on_namespace(FlaskDoubling("/x")),
    "Flask's class's error": lambda: _flask().on_namespace(FlaskFailing("/x")),
    "Flask's on_error": lambda: _flask().on_error()(never_run),
    "Flask's on_error_default": lambda: _flask().on_error_default(never_run),
    "Flask's task": lambda: _flask().start_background_task(never_run),
    "Flask's callback": lambda: _flask().emit("x", callback=never_run),
}


@pytest.mark.parametrize("hand_over", HANDED_OVER.values(), ids=HANDED_OVER)
def test_it_is_refused_with_the_cure(hand_over: Callable[[], Any]) -> None:
    with pytest.raises(TypeError, match=r"is 'async def', which would never run.*plain 'def'"):
        hand_over()


@pytest.mark.parametrize("register", ["use", "on_any", "prepend_any", "on_any_outgoing", "prepend_any_outgoing"])
def test_on_a_socket(register: str) -> None:
    io = Server()
    process = InProcess(io)
    sid = process.client().connect()
    with pytest.raises(TypeError, match="async def"):
        getattr(io.sockets.sockets[sid], register)(never_run)
    process.close()


@pytest.mark.parametrize(
    "func",
    [never_run, generator, functools.partial(never_run, 1), Callee(), Callee().method],
    ids=["function", "generator", "partial", "object", "method"],
)
def test_whatever_gives_a_coroutine(func: Any) -> None:
    with pytest.raises(TypeError, match="the handler, .*, is 'async def'"):
        refuse_async(func, "the handler")


@pytest.mark.parametrize("func", [print, len, functools.partial(len, "x"), Callee, lambda: None, None, "*"])
def test_everything_else_is_taken(func: Any) -> None:
    refuse_async(func, "the handler")
