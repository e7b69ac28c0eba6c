"""Whose event is being handled here: what runs a handler is what its helpers mean."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import flask

if TYPE_CHECKING:
    from .dispatch import Dispatcher

# Where the environ of an event's request holds the client, and what brings its events.
SOCKET_KEY = "wsgi_sio.flask.socket"
DISPATCHER_KEY = "wsgi_sio.flask.dispatcher"

# Whose event a class-based namespace dispatches: it is not in any request's context yet.
DISPATCHING: ContextVar[Dispatcher] = ContextVar("wsgi_sio.flask.dispatching")


def current_dispatcher() -> Dispatcher | None:
    """What brings the events of the client whose event is being handled; None in views, and wherever else none is."""
    dispatcher: Dispatcher | None
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
