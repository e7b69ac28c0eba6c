"""Flask-SocketIO's options, and what they become: options of :class:`wsgi_sio.Server`."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import flask
import flask.json

from ..engineio.config import EngineConfig, refuse_unknown_options
from ..runtime import threads_are_greenlets
from ..server import Server
from ..validation import COUNT_OR_NONE_AT_ALL, check_option, check_options
from .logger_options import use_loggers
from .message_queue import MessageQueue
from .run import RUN_OPTIONS

logger = logging.getLogger("wsgi_sio.flask")

# Those that Server does not have by the same name.
_PEERS = frozenset(
    ("always_connect", "async_mode", "channel", "client_manager", "compression_threshold", "engineio_logger", "logger",
     "manage_session", "message_queue", "monitor_clients", "namespaces", "old_servers", "resource", "serializer")
)  # fmt: skip

# Of these, what is not passed on as it is.
_TYPES: Mapping[str, Any] = {
    "always_connect": bool,
    "compression_threshold": int,
    "monitor_clients": bool,
    "namespaces": str | Iterable[str] | None,
    "old_servers": bool,
    "resource": str | None,
}

# Three become an adapter (message_queue.py), beside a fourth that is ours; each client's events run in order, beside
# those of others; the session is not the server's business.
_NOT_PASSED_ON = ("message_queue", "client_manager", "channel", "old_servers", "async_handlers", "manage_session")

_COOKIE_ATTRIBUTES = {
    "name": "name",
    "path": "path",
    "domain": "domain",
    "secure": "secure",
    "httponly": "http_only",
    "samesite": "same_site",
    "maxage": "max_age",
}

_UNPATCHED = (
    "async_mode=%r, but gevent has not patched the standard library, so threads will serve, which works too; for"
    " greenlets put 'from gevent import monkey; monkey.patch_all()' at the very top of the program"
)


@dataclass(frozen=True)
class Options:
    """A SocketIO's options, taken apart.

    :ivar always_connect: answer clients before their ``connect`` handlers run.
    :ivar namespaces: which ones clients may join without handlers; "*" for all.
    :ivar queue: what connects the server with other processes, if anything but the host does.
    :ivar server: for :class:`wsgi_sio.Server`.
    """

    always_connect: bool
    namespaces: str | frozenset[str]
    queue: MessageQueue | None
    server: dict[str, Any]

    @classmethod
    def of(cls, options: Mapping[str, Any], app: flask.Flask) -> Options:
        """Take the options of one app apart.

        :raises TypeError: one is unknown.
        :raises ValueError: one cannot be had here; the text says what to do instead.
        """
        check(options)
        given = {name: value for name, value in options.items() if name not in _NOT_PASSED_ON}
        _check_async_mode(given.pop("async_mode", None))
        for name in ("logger", "engineio_logger"):
            use_loggers(name, given.pop(name, None))
        if given.pop("monitor_clients", True) is False:
            logger.warning("monitor_clients=False is ignored: watching for clients that have gone costs nothing here")
        namespaces = given.pop("namespaces", None)
        always_connect = given.pop("always_connect", False)
        _rename_path(given)
        _choose_codec(given, app)
        _split_ping_interval(given)
        _join_compression(given)
        _translate_cookie(given)
        _translate_cors(given)
        queue = MessageQueue.of(options)
        if queue is not None:
            given["adapter"] = queue.adapter()
        named = frozenset(("/",) if namespaces is None else _several(namespaces))
        return cls(always_connect, namespaces if namespaces == "*" else named, queue, given)


def _several(names: str | Iterable[str]) -> Iterable[str]:
    return [names] if isinstance(names, str) else names


def without_run_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is for ``run()``, with a warning: the peer ignores it without one."""
    misplaced = [name for name in options if name in RUN_OPTIONS]
    if misplaced:
        names = ", ".join(f"{name}=" for name in misplaced)
        logger.warning("%s in SocketIO() or init_app() is ignored: it belongs to socketio.run(app, ...)", names)
    return {name: value for name, value in options.items() if name not in RUN_OPTIONS}


def check(options: Mapping[str, Any]) -> None:
    """Refuse what can be told to be wrong without an app.

    :raises TypeError: an option is unknown, or its value of the wrong type.
    :raises ValueError: a value makes no sense, or there is no message queue of that kind.
    """
    refuse_unknown_options(options, {*_PEERS, *EngineConfig.names(), *inspect.signature(Server).parameters})
    checked = {name: value for name, value in options.items() if name in _TYPES}
    check_options(checked, _TYPES, {"compression_threshold": COUNT_OR_NONE_AT_ALL})
    MessageQueue.of(options)


def _check_async_mode(mode: str | None) -> None:
    if mode == "eventlet":
        raise ValueError(
            "async_mode='eventlet': eventlet is not supported (it is no longer developed, and gunicorn has dropped its"
            " worker); leave async_mode out: threads serve, or greenlets where gevent has patched the standard library"
        )
    if mode not in (None, "threading", "gevent", "gevent_uwsgi"):
        raise ValueError(f"async_mode must be 'threading' or 'gevent', or better be left out, not {mode!r}")
    if mode == "threading" and threads_are_greenlets():
        logger.warning("async_mode='threading', but gevent has patched the standard library, so greenlets will serve")
    elif mode not in (None, "threading") and not threads_are_greenlets():
        logger.warning(_UNPATCHED, mode)


def _rename_path(given: dict[str, Any]) -> None:
    resource = given.pop("resource", None)
    given["path"] = given.pop("path", None) or resource or "socket.io"


def _choose_codec(given: dict[str, Any], app: flask.Flask) -> None:
    if given.get("json") is flask.json:
        given["json"] = app.json  # whose own functions want an app context, which emits need not have
    serializer = given.pop("serializer", "default")
    if serializer == "msgpack":
        from ..socketio import packet_msgpack

        given["parser"] = packet_msgpack
    elif serializer != "default":
        raise ValueError(f"serializer must be 'default' or 'msgpack', not {serializer!r}; for your own see parser=")


def _split_ping_interval(given: dict[str, Any]) -> None:
    """The second of a pair is patience for slow clients: they are to be patient with us too, so it is the time-out."""
    pair = given.get("ping_interval")
    if isinstance(pair, (tuple, list)):
        if len(pair) != 2:
            raise ValueError(f"ping_interval must be seconds, or a pair of them, not {pair!r}")
        given["ping_interval"], grace = (check_option("ping_interval", seconds, float) for seconds in pair)
        timeout = check_option("ping_timeout", given.get("ping_timeout", EngineConfig.ping_timeout), float)
        given["ping_timeout"] = timeout + grace


def _join_compression(given: dict[str, Any]) -> None:
    threshold = given.pop("compression_threshold", EngineConfig.http_compression)
    compression = given.pop("http_compression", True)
    given["http_compression"] = threshold if compression is True else compression or None


def _translate_cookie(given: dict[str, Any]) -> None:
    cookie = given.get("cookie")
    if not isinstance(cookie, Mapping):
        return
    translated = {}
    for key, value in cookie.items():
        name = _COOKIE_ATTRIBUTES.get(key.lower().replace("-", "").replace("_", ""))
        if name is None:
            raise ValueError(f"cookie has the attribute {key!r}; there are: {', '.join(_COOKIE_ATTRIBUTES.values())}")
        translated[name] = value() if callable(value) else value
    # What is not named is not sent: the defaults of Server would add to what the application has asked for.
    given["cookie"] = {"http_only": False, "same_site": None, "path": None, **translated}


def _translate_cors(given: dict[str, Any]) -> None:
    given.setdefault("cors_credentials", True)
    origins = given.get("cors_allowed_origins")
    if isinstance(origins, (list, tuple)) and not origins:
        logger.warning(
            "cors_allowed_origins=[] admits every page, as it did, but now also sends the CORS headers; name the"
            " origins, and let nothing in front add the headers again"
        )
        given["cors_allowed_origins"] = "*"
