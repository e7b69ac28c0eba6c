"""What becomes of each name of the old packages.

A dotted name stands for what can be reached by it; ``()`` is an instance of the class before it.  The longest entry
that a name begins with is its advice.
"""

from __future__ import annotations

import inspect

from ..engineio.config import EngineConfig
from ..server import Server

# The packages whose uses are looked for.
PACKAGES = frozenset(("flask_socketio", "socketio", "engineio", "eventlet", "geventwebsocket"))

# Classes whose instances are followed.
CLASSES = frozenset(("flask_socketio.SocketIO", "socketio.Server", "socketio.Client", "socketio.SimpleClient"))

# What wsgi_sio.flask has under the same name.
FLASK_NAMES = frozenset(
    ("ConnectionRefusedError", "Namespace", "SocketIO", "SocketIOTestClient", "call", "close_room", "disconnect")
    + ("emit", "join_room", "leave_room", "rooms", "send")
)

_ASYNCIO = "there is no asyncio here: stay with python-socketio for this"
_ADAPTER = (
    "leave it out for the workers of one host; several hosts: adapter=redis_adapter(url) of wsgi_sio.adapters, with"
    " bridged() around it while old processes emit; write_only=True: wsgi_sio.Emitter(url)"
)
_KOMBU = (
    "leave it out for the workers of one host; several hosts with RabbitMQ: adapter=kombu_adapter(url) of"
    " wsgi_sio.adapters, with bridged() around it while old processes emit; write_only=True: wsgi_sio.Emitter(url)"
)
_NO_ADAPTER = "leave it out for the workers of one host; for several: redis_adapter() and Emitter(), by Redis or Valkey"
_PRIVATE_MANAGER = "still there to read; better: socketio.io.of(namespace).in_(room).fetch_sockets(), socket.rooms"
_PRIVATE_ENGINE = "its options are still there to read; better: the options given to SocketIO, socketio.io.engine"

ADVICE: dict[str, str] = {
    "flask_socketio": "wsgi_sio.flask, once nothing is used that it does not have",
    # -- what applications look at behind Flask-SocketIO
    "flask_socketio.SocketIO().server.manager": _PRIVATE_MANAGER,
    "flask_socketio.SocketIO().server.eio": _PRIVATE_ENGINE,
    "flask_socketio.SocketIO().server.environ": "still there to read; better: flask.request.environ in a handler",
    # -- python-socketio's server
    "socketio": "wsgi_sio; what is like it there is told at each use",
    "socketio.Server": "wsgi_sio.Server; handlers get the Socket first: socket.id for the sid, socket.handshake for the"
    " environ; the connect handler is (socket, auth)",
    "socketio.Server().on": "the same, with the handler (socket, *args) instead of (sid, data)",
    "socketio.Server().event": "the same, with the handler (socket, *args) instead of (sid, data)",
    "socketio.Server().emit": "socket.emit(event, *args) to one client, io.to(room).emit(...) to a room,"
    " io.except_(sid).emit(...) for skip_sid, io.of(namespace) first for a namespace; a tuple is several arguments",
    "socketio.Server().send": "socket.send(*args), io.to(room).send(*args)",
    "socketio.Server().call": "socket.emit_with_ack(event, *args, timeout=seconds)",
    "socketio.Server().enter_room": "socket.join(room)",
    "socketio.Server().leave_room": "socket.leave(room)",
    "socketio.Server().close_room": "io.in_(room).sockets_leave(room)",
    "socketio.Server().rooms": "socket.rooms",
    "socketio.Server().get_session": "socket.data, a dictionary",
    "socketio.Server().save_session": "socket.data, a dictionary: nothing to save",
    "socketio.Server().session": "socket.data, a dictionary: no context manager",
    "socketio.Server().disconnect": "socket.disconnect(); disconnect(close=True) also closes the connection",
    "socketio.Server().get_environ": "socket.handshake.environ",
    "socketio.Server().environ": "socket.handshake.environ",
    "socketio.Server().transport": "socket.conn.session.transport.name",
    "socketio.Server().register_namespace": "io.of(name, Class)",
    "socketio.Server().handle_request": "wsgi_sio.WSGIApp(io)",
    "socketio.Server().shutdown": "io.close(), or io.drain(seconds)",
    "socketio.Server().manager": "io.of(namespace).fetch_sockets(), .in_(room).fetch_sockets(), socket.rooms",
    "socketio.Server().eio": "io.engine",
    "socketio.Server().reason": "the reference's strings, such as 'client namespace disconnect'",
    "socketio.WSGIApp": "wsgi_sio.WSGIApp(io, app); static files are the app's, or WhiteNoise's, to serve",
    "socketio.Middleware": "wsgi_sio.WSGIApp(io, app)",
    "socketio.Namespace": "wsgi_sio.Namespace, with methods on_<event>(self, socket, *args); io.of(name, Class)",
    "socketio.exceptions.ConnectionRefusedError": "wsgi_sio.ConnectRefused(message, data)",
    "socketio.exceptions.TimeoutError": "wsgi_sio.AckTimeout",
    "socketio.exceptions.DisconnectedError": "wsgi_sio.Disconnected",
    "socketio.exceptions.ConnectionError": "wsgi_sio.ConnectionFailed",
    "socketio.exceptions.SocketIOError": "wsgi_sio.SocketIOError",
    "socketio.exceptions": "the errors of wsgi_sio.exceptions",
    "socketio.Manager": "none is needed",
    "socketio.PubSubManager": _ADAPTER,
    "socketio.RedisManager": _ADAPTER,
    "socketio.KombuManager": _KOMBU,
    "socketio.KafkaManager": _NO_ADAPTER,
    "socketio.ZmqManager": _NO_ADAPTER,
    "socketio.MsgPackPacket": "parser=wsgi_sio.socketio.packet_msgpack",
    # -- python-socketio's clients
    "socketio.Client": "wsgi_sio.client.Client(url, **options): connect() takes no URL, auth= and path= are options",
    "socketio.Client().sid": "client.id",
    "socketio.Client().call": "client.emit_with_ack(event, *args, timeout=seconds)",
    "socketio.Client().emit": "client.emit(event, *args): a tuple becomes several arguments",
    "socketio.ClientNamespace": "the handlers of a client: one client for each namespace",
    "socketio.SimpleClient": "wsgi_sio.client.SimpleClient, with id instead of sid",
    "socketio.SimpleClient().sid": "client.id",
    # -- asyncio
    "socketio.ASGIApp": _ASYNCIO,
    "socketio.AsyncServer": _ASYNCIO,
    "socketio.AsyncClient": _ASYNCIO,
    "socketio.AsyncSimpleClient": _ASYNCIO,
    "socketio.AsyncNamespace": _ASYNCIO,
    "socketio.AsyncClientNamespace": _ASYNCIO,
    "socketio.AsyncManager": _ASYNCIO,
    "socketio.AsyncRedisManager": _ASYNCIO,
    "socketio.AsyncAioPikaManager": _ASYNCIO,
    "engineio.AsyncServer": _ASYNCIO,
    "engineio.AsyncClient": _ASYNCIO,
    "engineio.ASGIApp": _ASYNCIO,
    # -- what is below
    "engineio": "wsgi_sio.engineio; what is like it there is told at each use",
    "engineio.Server": "wsgi_sio.engineio.EngineServer",
    "engineio.WSGIApp": "wsgi_sio.WSGIApp",
    "engineio.Middleware": "wsgi_sio.WSGIApp",
    "engineio.payload.Payload.max_decode_packets": "delete it: any number of packets is taken, and bytes are limited by"
    " max_http_buffer_size",
    "eventlet": "eventlet is not supported: delete it for threads, or put gevent's monkey.patch_all() in its place",
    "geventwebsocket": "delete it: WebSocket needs no server or worker class of its own",
}

_LOGGERS = "set the level of logging.getLogger('wsgi_sio')"
_FLASK = {
    "async_mode": "leave it out: threads serve, or greenlets where gevent has patched the standard library",
    "message_queue": "leave it out for the workers of one host; else it stays, for Redis, Valkey, RabbitMQ (redis://, amqp://...);"
    " with old servers beside, also old_servers=True",
    "client_manager": "leave it out for the workers of one host; else message_queue= with its URL (Redis, Valkey,"
    " RabbitMQ); a RedisManager or KombuManager is taken as it is",
    "monitor_clients": "leave it out: clients that have gone are always noticed",
    "async_handlers": "leave it out: a client's events are handled in order, those of different clients side by side",
}

# By what is called: keyword arguments that are not what they were.
OPTIONS: dict[str, dict[str, str]] = {
    "flask_socketio.SocketIO": _FLASK,
    "flask_socketio.SocketIO().init_app": _FLASK,
    "flask_socketio.SocketIO().run": {"allow_unsafe_werkzeug": "leave it out"},
    "socketio.Server": {
        "async_mode": _FLASK["async_mode"],
        "client_manager": _ADAPTER,
        "logger": _LOGGERS,
        "engineio_logger": _LOGGERS,
        "serializer": "parser=wsgi_sio.socketio.packet_msgpack for 'msgpack'",
        "always_connect": "leave it out: emit from the handler of 'connection', which runs after the answer",
        "namespaces": "io.of(name) for each: only these can be joined",
        "monitor_clients": _FLASK["monitor_clients"],
        "async_handlers": "False is the default here: a client's events are handled in order",
        "compression_threshold": "http_compression=bytes; None for never",
        "http_compression": "the number of bytes from which on answers are compressed; None for never",
    },
}

_SERVER_OPTIONS = frozenset(EngineConfig.names()) | frozenset(inspect.signature(Server).parameters)
_SOCKETIO = _SERVER_OPTIONS | {
    "always_connect",
    "channel",
    "compression_threshold",
    "engineio_logger",
    "logger",
    "manage_session",
    "namespaces",
    "old_servers",
    "resource",
}
_RUN = frozenset(
    ("host", "port", "debug", "use_reloader", "reloader_options", "extra_files", "log_output", "load_dotenv")
    + ("ssl_context", "certfile", "keyfile", "use_debugger", "use_evalex", "passthrough_errors", "request_handler")
    + ("threaded", "processes", "exclude_patterns", "reloader_interval", "reloader_type")
)

# By what is called: the other keyword arguments that it takes.
KEYWORDS: dict[str, frozenset[str]] = {
    "flask_socketio.SocketIO": _SOCKETIO | {"app", "serializer"},
    "flask_socketio.SocketIO().init_app": _SOCKETIO | {"app", "serializer"},
    "flask_socketio.SocketIO().run": _RUN | {"app"},
    "socketio.Server": _SERVER_OPTIONS,
}

# Where a chain of attributes ends like this and speaks of socketio, whatever it begins with.
PRIVATE: dict[tuple[str, str], str] = {
    ("server", "manager"): _PRIVATE_MANAGER,
    ("server", "eio"): _PRIVATE_ENGINE,
}

# Settings of gunicorn in Python: worker classes that have gone or are not needed.
WORKERS: dict[str, str] = {
    "eventlet": "'gevent', or 'gthread' with threads = 100",
    "geventwebsocket.gunicorn.workers.GeventWebSocketWorker": "'gevent'",
}

_VERSION = r"(?:\[[\w, -]*\])?(?:\s*[=<>~!]=?\s*[\w.*]+)*"

# In requirements and commands, by pattern; the first that matches somewhere has it.
TEXT_ADVICE: tuple[tuple[str, str], ...] = (
    (rf"\bflask[-_]socketio\b{_VERSION}", "wsgi-sio[flask]"),
    (rf"\bpython-(?:socketio|engineio)\b{_VERSION}", "wsgi-sio"),
    (rf"\bgevent-websocket\b{_VERSION}", "delete it: wsgi-sio[gevent] is enough"),
    (rf"\bsimple-websocket\b{_VERSION}", "it comes with wsgi-sio"),
    (r"\b(?:geventwebsocket\.[\w.]+\.)?GeventWebSocketWorker\b", "gevent"),
    # as a shell has it, and as a list of JSON or YAML
    (r"(?:-k|--worker-class)(?:['\"]?[ =,]\s*['\"]?)?eventlet\b", "-k gevent, or --threads 100"),
    (r"\bworker_class\s*=\s*['\"]?eventlet\b", "gevent, or gthread with threads = 100"),
    (
        r"(?:--|^)http-websockets\b",
        "gunicorn -k gevent, or --threads 100: uWSGI gives its sockets away to nobody, so only polling works there",
    ),
    (rf"\beventlet\b{_VERSION}", "delete it, or gevent"),
)


def option_advice(call: str, keyword: str) -> str | None:
    """The advice for a keyword argument of a call; None for what is what it was, or of what nothing is known."""
    known = KEYWORDS.get(call)
    if known is None or keyword in OPTIONS[call]:
        return OPTIONS.get(call, {}).get(keyword)
    if keyword in known:
        return None
    if call.startswith("flask_socketio"):
        if call.endswith(".run") and keyword in (_SOCKETIO | set(_FLASK)):
            return "an option of SocketIO(...), not of run()"
        if call.endswith(".run"):
            return "no option where threads serve; where gevent does, one of its pywsgi server's or an error"
        if keyword in _RUN:
            return "an option of run(), not of SocketIO(...)"
    return "leave it out: there is no such option"


def advice_for(name: str) -> str | None:
    """The advice for a dotted name; None for what needs none."""
    known = name
    while known not in ADVICE:
        if not known or known.endswith("()"):
            return None
        known = known.rpartition(".")[0]
    return "there is nothing like it" if known in ("socketio", "engineio") and known != name else ADVICE[known]
