"""Why a client has left, in Flask-SocketIO's words."""

from __future__ import annotations


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
