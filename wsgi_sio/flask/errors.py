"""Refusing a client, and why one has left, in Flask-SocketIO's words."""

from __future__ import annotations

from typing import Any

from ..exceptions import ConnectRefused


class ConnectionRefusedError(ConnectRefused):
    """Raise it in a ``connect`` handler to refuse the client.

    :param args: the message, and what else the client is to get as the error's ``data``: one value, or a list of
        several.
    """

    def __init__(self, *args: Any) -> None:
        message, *data = args or ("Connection rejected by server",)
        super().__init__(str(message), (data[0] if len(data) == 1 else data) if data else None)


class Reason:
    """Why a client has left: what ``disconnect`` handlers get is equal to one of these."""

    SERVER_DISCONNECT = "server disconnect"
    CLIENT_DISCONNECT = "client disconnect"
    PING_TIMEOUT = "ping timeout"
    TRANSPORT_CLOSE = "transport close"
    TRANSPORT_ERROR = "transport error"


# What the reference's reasons are called here; the others are the same, or errors of the transport.
_KNOWN_AS = {
    "server namespace disconnect": Reason.SERVER_DISCONNECT,
    "server shutting down": Reason.SERVER_DISCONNECT,
    "client namespace disconnect": Reason.CLIENT_DISCONNECT,
    "ping timeout": Reason.PING_TIMEOUT,
    "transport close": Reason.TRANSPORT_CLOSE,
}


class DisconnectReason(str):
    """One of :class:`Reason`.

    :ivar detail: the reference's own, finer string, such as ``server shutting down`` or ``parse error``.
    """

    __slots__ = ("detail",)

    detail: str

    @classmethod
    def of(cls, detail: str) -> DisconnectReason:
        """The reason for one of the reference's strings."""
        reason = cls(_KNOWN_AS.get(detail, Reason.TRANSPORT_ERROR))
        reason.detail = detail
        return reason
