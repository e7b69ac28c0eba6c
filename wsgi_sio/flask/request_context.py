"""The request context of an event: a handler runs in it, and whose event it is, is found from it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextvars import ContextVar
from io import BytesIO
from typing import Any, Protocol

import flask

from ..socketio.socket import Socket
from .handler_arguments import EventHandler
from .handler_errors import ErrorHandler, guarded
from .manage_session import OwnSessions, fork, restore


class EventSource(Protocol):
    """What brings the events of the clients of one app (the Dispatcher).

    :ivar owner: the SocketIO.
    """

    owner: Any
    app: flask.Flask

    def has(self, namespace: Any) -> bool:
        """Whether the class-based ``namespace`` gets its events from here, perhaps from elsewhere too."""


# Where the environ of an event's request holds the client, and what brings its events.
SOCKET_KEY = "wsgi_sio.flask.socket"
DISPATCHER_KEY = "wsgi_sio.flask.dispatcher"

# Whose event a class-based namespace dispatches: it is not in any request's context yet.
DISPATCHING: ContextVar[EventSource] = ContextVar("wsgi_sio.flask.dispatching")


class RequestContexts:
    """Runs handlers in request contexts made of their clients' handshakes.

    :param source: whose handlers they are.
    :param error_handler: what takes the errors of a namespace's handlers.
    """

    def __init__(self, source: EventSource, error_handler: Callable[[str], ErrorHandler | None]) -> None:
        self._source = source
        self._app = source.app
        self._error_handler = error_handler
        self._own_sessions = OwnSessions()

    def run(self, handler: EventHandler, socket: Socket, args: tuple[Any, ...], message: str | None = "*") -> Any:
        """Run ``handler`` in a request context of ``socket``.

        :param args: the event's; a ``connect`` handler is not given the first, which is the environ.
        :param message: the event's name for ``request.event``; "*" takes the handler's.
        :return: what acknowledges the event.
        """
        kept = socket.handshake.environ
        context = self._app.request_context(self._complete(kept, socket))
        managed = self._source.owner.manage_session
        if managed:
            restore(context, kept)
        with context:
            if managed:
                fork(context, kept)
            request: Any = flask.request
            request.sid, request.namespace = socket.id, socket.nsp.name
            request.event = {"message": handler.event if message == "*" else message, "args": args}
            given = args[1:] if handler.event == "connect" else args
            result = guarded(handler, socket, given, self._error_handler)
            if not managed:
                self._own_sessions.save(self._app)
            return result

    def _complete(self, kept: dict[str, Any], socket: Socket) -> dict[str, Any]:
        """A full WSGI environ from what was kept of the handshake's, whose body and error stream are gone."""
        return {
            "wsgi.version": (1, 0),
            "wsgi.input": BytesIO(),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            **kept,
            "flask.app": self._app,
            SOCKET_KEY: socket,
            DISPATCHER_KEY: self._source,
        }


def current_dispatcher() -> EventSource | None:
    """What brings the events of the client whose event is being handled; None in views, and wherever else none is."""
    dispatcher: EventSource | None
    dispatcher = current_environ().get(DISPATCHER_KEY) if flask.has_request_context() else DISPATCHING.get(None)
    if dispatcher is not None and flask.has_app_context() and _behind(flask.current_app) is not dispatcher.app:
        return None  # the handler has entered the context of another app
    return dispatcher


def current_environ() -> dict[str, Any]:
    """That of the request in whose context we are; empty outside of any."""
    environ: dict[str, Any] = _behind(flask.request).environ if flask.has_request_context() else {}
    return environ


def _behind(proxy: Any) -> Any:
    """What one of Flask's proxies stands for: six times faster than to ask for its attributes."""
    return proxy._get_current_object()
