"""Socket.IO in Flask, with the names, parameters and handler contract of Flask-SocketIO.

Each handler runs in a request context made from the environ of the client's handshake, so ``request``, ``session``,
``g``, ``current_app`` and the teardown functions work as in a view.  ``request`` also has ``sid``, ``namespace`` and
``event`` (``{"message": name, "args": arguments}``).
"""

from ..exceptions import ConnectRefused
from ..socketio.handlers import NO_ACK
from .context_functions import call, close_room, disconnect, emit, join_room, leave_room, rooms, send
from .disconnect_reason import DisconnectReason
from .extension import SocketIO
from .handler_errors import ConnectionRefusedError
from .namespace import Namespace
from .test_client import SocketIOTestClient

__all__ = [
    "NO_ACK",
    "ConnectRefused",
    "ConnectionRefusedError",
    "DisconnectReason",
    "Namespace",
    "SocketIO",
    "SocketIOTestClient",
    "call",
    "close_room",
    "disconnect",
    "emit",
    "join_room",
    "leave_room",
    "rooms",
    "send",
]
