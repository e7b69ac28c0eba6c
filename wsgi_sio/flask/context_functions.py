"""``emit()``, ``join_room()`` and the like: they act on the SocketIO whose handler runs, for the client of ``request``.

Those that are told whom they are for work in views, and anywhere else in an app context, as well: for the SocketIO of
``current_app``, the last one if it has several.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import flask

from ..exceptions import OutOfContext
from .emit_parameters import either
from .request_context import current_dispatcher

if TYPE_CHECKING:
    from .extension import SocketIO


def _extension(helper: str) -> SocketIO:
    if not flask.has_app_context():
        raise OutOfContext(
            f"{helper}() finds its client in the context of a handler, and there is none here; in threads, tasks and"
            f" other code use the SocketIO object: socketio.emit(..., to=sid_or_room)"
        )
    dispatcher = current_dispatcher()
    socketio: SocketIO | None = flask.current_app.extensions.get("socketio") if dispatcher is None else dispatcher.owner
    if socketio is None:
        raise OutOfContext(f"{helper}(): {flask.current_app!r} has no SocketIO: call SocketIO(app) or init_app(app)")
    return socketio


def _sid(helper: str, sid: Any = None) -> Any:
    """The client (or room) named, or else the client whose event is being handled."""
    if sid is not None:
        return sid
    found = getattr(flask.request, "sid", None) if flask.has_request_context() else None
    if found is None:
        raise OutOfContext(
            f"{helper}() is meant for the client whose event is being handled, and no event is, here; name one:"
            f" socketio.emit(..., to=sid_or_room), emit(..., broadcast=True), join_room(room, sid=sid)"
        )
    return found


def _namespace(namespace: str | None) -> str:
    """The namespace named, or else that of the event, or else "/"."""
    if namespace is not None:
        return namespace or "/"
    current = getattr(flask.request, "namespace", None) if flask.has_request_context() else None
    return current or "/"


def emit(
    event: str,
    *args: Any,
    namespace: str | None = None,
    callback: Callable[..., Any] | None = None,
    broadcast: bool = False,
    to: Any = None,
    room: Any = None,
    include_self: bool = True,
    skip_sid: Any = None,
    ignore_queue: bool = False,
    **ignored: Any,
) -> None:
    """Answer the client whose event is being handled, or send to others.

    :param args: the arguments; a single tuple means several.
    :param namespace: None: that of the event.
    :param callback: called with the client's acknowledgement, in a request context like the handler's; for several
        clients, see :meth:`SocketIO.emit`.
    :param broadcast: to everybody in the namespace.
    :param to: to these rooms or clients instead, an empty list being nobody; ``room`` is the same.
    :param include_self: False leaves the client out whose event is being handled.
    :param skip_sid: one or several clients to leave out.
    :param ignore_queue: means nothing without a message queue.
    :raises OutOfContext: it is not said whom it is for, and no event is being handled.
    """
    _mention(ignored)
    socketio = _extension("emit")
    target = either(to, room)
    if target is None and not broadcast:
        target = _sid("emit")
    socketio.emit(
        event,
        *args,
        namespace=_namespace(namespace),
        to=target,
        include_self=include_self,
        skip_sid=skip_sid,
        callback=callback,
    )


def send(message: Any, json: bool = False, **kwargs: Any) -> None:
    """Emit the event ``message`` (or ``json``); the other parameters are those of :func:`emit`."""
    emit("json" if json else "message", message, **kwargs)


def call(
    event: str,
    *args: Any,
    namespace: str | None = None,
    to: Any = None,
    room: Any = None,
    timeout: float | None = 60,
    ignore_queue: bool = False,
    **ignored: Any,
) -> Any:
    """Ask the client whose event is being handled, or another, and block until it answers; see :meth:`SocketIO.call`.

    :raises AckTimeout: no answer came in ``timeout`` seconds.
    :raises OutOfContext: see :func:`emit`.
    """
    _mention(ignored)
    socketio = _extension("call")
    target = _sid("call", either(to, room))
    return socketio.call(event, *args, namespace=_namespace(namespace), to=target, timeout=timeout)


def join_room(room: Any, sid: str | None = None, namespace: str | None = None) -> None:
    """Put the current client, or ``sid``, into ``room``."""
    _extension("join_room").server.enter_room(_sid("join_room", sid), room, _namespace(namespace))


def leave_room(room: Any, sid: str | None = None, namespace: str | None = None) -> None:
    """Take the current client, or ``sid``, out of ``room``."""
    _extension("leave_room").server.leave_room(_sid("leave_room", sid), room, _namespace(namespace))


def close_room(room: Any, namespace: str | None = None) -> None:
    """Make everybody leave ``room``."""
    _extension("close_room").close_room(room, _namespace(namespace))


def rooms(sid: str | None = None, namespace: str | None = None) -> list[Any]:
    """The rooms of the current client, or of ``sid``, its own among them."""
    return _extension("rooms").server.rooms(_sid("rooms", sid), _namespace(namespace))


def disconnect(sid: str | None = None, namespace: str | None = None, silent: bool = False) -> None:
    """Disconnect the current client, or ``sid``, from the namespace; ``silent`` means nothing any more."""
    _extension("disconnect").server.disconnect(_sid("disconnect", sid), _namespace(namespace))


def _mention(ignored: dict[str, Any]) -> None:
    """Flask-SocketIO takes any keyword here without a word, so applications may have one too many."""
    if ignored:
        warnings.warn(f"ignored: {', '.join(map(repr, ignored))}; emit() has no such parameter", stacklevel=3)
