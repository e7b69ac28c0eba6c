"""Every error the package raises on purpose::

    SocketIOError
    ├── LocalProtocolError      this side asked for something the protocol forbids
    ├── RemoteProtocolError     the other side broke the protocol
    ├── ConnectRefused          raise it to refuse a client: (message, data) reach it as ``connect_error``
    ├── TimedOut                the client waited in vain (also a TimeoutError)
    │   └── AckTimeout          an acknowledgement did not come in time
    ├── Disconnected            the other side went away before it could answer
    ├── ConnectionFailed        the client could not reach the server (also a ConnectionError)
    ├── NotPublished            an emitter could not publish
    └── OutOfContext            a Flask-style helper was called outside a handler

None shadows a builtin.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "AckTimeout",
    "ConnectRefused",
    "ConnectionFailed",
    "Disconnected",
    "LocalProtocolError",
    "NotPublished",
    "OutOfContext",
    "RemoteProtocolError",
    "SocketIOError",
    "TimedOut",
]


class SocketIOError(Exception):
    """Base of all errors of this package."""


class LocalProtocolError(SocketIOError):
    """This side asked for something the protocol forbids, such as emitting a reserved event name."""


class RemoteProtocolError(SocketIOError):
    """The other side broke the protocol."""


class ConnectRefused(SocketIOError):
    """Raise it in a middleware or a ``connect`` handler to refuse a client.

    :param message: becomes ``err.message`` of the client's ``connect_error``.
    :param data: JSON-serialisable details, ``err.data`` on the client; None leaves it out.
    """

    def __init__(self, message: str = "Connection refused", data: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.data = data


class TimedOut(SocketIOError, TimeoutError):
    """What was waited for did not come in time."""


class AckTimeout(TimedOut):
    """An acknowledgement did not come in time.

    :ivar responses: what had arrived by then, for a broadcast.
    """

    def __init__(self, message: str = "operation has timed out", responses: list[Any] | None = None) -> None:
        super().__init__(message)
        self.responses: list[Any] = responses if responses is not None else []


class Disconnected(SocketIOError):
    """The other side went away before it could answer."""


class ConnectionFailed(SocketIOError, ConnectionError):
    """The client could not open its connection.

    :ivar description: the HTTP status of the server's refusal, if there was one.
    :ivar context: the text of its answer.
    """

    def __init__(self, message: str, description: int | None = None, context: str | None = None) -> None:
        super().__init__(message)
        self.description = description
        self.context = context


class NotPublished(SocketIOError):
    """An emitter could not publish.

    :ivar perhaps: False: certainly not, so it can be tried again; True: it may have been, for the connection was lost
        before the answer came, so that whoever tries again may have clients get it twice.
    """

    def __init__(self, message: str, perhaps: bool = False) -> None:
        super().__init__(message)
        self.perhaps = perhaps

    def __reduce__(self) -> tuple[type[NotPublished], tuple[str, bool]]:
        return type(self), (str(self), self.perhaps)  # task queues pickle what a task raises


class OutOfContext(SocketIOError, RuntimeError):
    """A helper that needs the current client was called outside a handler."""
