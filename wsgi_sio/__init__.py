"""Socket.IO for the synchronous Python world.

The layers, from the wire upwards; each only knows those above it in this list, and tests/test_architecture.py holds
that:

* ``exceptions``, ``logtext`` (what of others' words a log line shows), ``http_compression``  for all.
* ``websocket``  RFC 6455 without I/O.
* ``runtime``    the only place that makes threads, greenlets, locks, timers and selectors.
* ``sockets``    what both roles do to sockets of every kind: TLS without blocking, a look at what is unread.
* ``siblings``   the processes that share our listening sockets: how they find each other, and links between them, for
  frames and descriptors; it knows nothing of Socket.IO.
* ``engineio``   sessions over long-polling and WebSocket: handshake, upgrade, heartbeat; the client's socket out of
  each WSGI server's hands; what a sibling's session is sent goes to its owner (``relay``).
* ``socketio``   namespaces, sockets, events and acknowledgements; the interface of adapters, the rooms of one process,
  and what is kept for clients that come back.
* ``cluster``    rooms and broadcasts over several processes: the adapter of siblings, and the base of those on a bus.
* ``adapters``   the public names of both layers' adapters, and nothing else.
* ``client``     the client, on ``websocket``, ``runtime`` and the packets of the layers between; beside the server.
* ``emitter``    events from processes that are no server: commands for a bus, in the formats of ``cluster``.
* ``server``     ``Server``: that of ``socketio``, with the adapter that it has unless it is given one.
* ``wsgi``, ``flask``, ``django``, ``testing``, ``development_server``, ``gunicorn``, ``client_files``, ``migrate``,
  ``demo``: what applications touch.

An event's way: bytes -> ``websocket.messages`` -> ``engineio.session`` -> ``socketio.packet`` -> the socket's mailbox
-> handler -> acknowledgement -> ``Session.send``, which writes in the same thread.

A request's way, if it reaches the wrong process: ``engineio.server`` -> ``relay.forwarder`` -> a link of ``siblings``,
and the client's descriptor with it -> ``relay.receiver``, in the process that the session's id names -> as above.
"""

from .client import Client, ClientSocket, Manager, SimpleClient
from .emitter import Emitter
from .exceptions import (
    AckTimeout,
    ConnectionFailed,
    ConnectRefused,
    Disconnected,
    LocalProtocolError,
    NotPublished,
    OutOfContext,
    RemoteProtocolError,
    SocketIOError,
    TimedOut,
)
from .server import Server
from .socketio.broadcast_operator import BroadcastOperator
from .socketio.handlers import NO_ACK, NoAck
from .socketio.namespace import Namespace
from .socketio.remote_socket import RemoteSocket
from .socketio.socket import Socket
from .socketio.socket_handshake import Handshake
from .wsgi import WSGIApp

__all__ = [
    "NO_ACK",
    "AckTimeout",
    "BroadcastOperator",
    "Client",
    "ClientSocket",
    "ConnectRefused",
    "ConnectionFailed",
    "Disconnected",
    "Emitter",
    "Handshake",
    "LocalProtocolError",
    "Manager",
    "Namespace",
    "NoAck",
    "NotPublished",
    "OutOfContext",
    "RemoteProtocolError",
    "RemoteSocket",
    "Server",
    "SimpleClient",
    "Socket",
    "SocketIOError",
    "TimedOut",
    "WSGIApp",
]

__version__ = "0.1.0"
