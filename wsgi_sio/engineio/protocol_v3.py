"""Engine.IO protocol 3, which clients of Socket.IO v2 speak (``allow_eio3``): what its sessions do differently.

The client pings and the server answers; binary messages and polling payloads look different (packet_v3.py); and polling
may be JSONP, by script elements, for browsers without CORS. Text on a WebSocket is the same in both protocols, so what
is broadcast shares its frames; a binary message gets its own (base64_session.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from urllib.parse import parse_qs

from ..websocket.frames import BINARY, TEXT, encode_frame
from .base64_session import FramedSession
from .config import Environ
from .packet import CLOSE, MESSAGE, PING, PONG, Packet, PacketError, to_utf8
from .packet_v3 import decode_packet_v3, encode_packet_v3, encode_payload_v3, packets_of_v3
from .polling import BINARY as BINARY_CONTENT
from .polling import PLAIN_TEXT, PollingTransport, is_binary
from .request import EngineRequest, parse_query
from .session_writer import OPEN, SessionServer

_PONG = Packet(PONG)

_not_digits = re.compile("[^0-9]")
_escaped_newline = re.compile(r"(\\)?\\n")


class SessionV3(FramedSession):
    """A client that speaks protocol 3.

    :ivar binary: whether it takes bytes as they are, and not in base64; its handshake tells, once and for all.
    """

    __slots__ = ("binary",)

    protocol = 3

    def __init__(self, server: SessionServer, sid: str, environ: Environ) -> None:
        super().__init__(server, sid, environ)
        query = parse_query(environ.get("QUERY_STRING", ""))
        self.binary = not query.get("b64") and "j" not in query

    def _frame(self, packet: Packet) -> bytes:
        message = encode_packet_v3(packet, self.binary)
        return encode_frame(TEXT, message.encode()) if isinstance(message, str) else encode_frame(BINARY, message)

    def ping(self) -> None:
        """The client pings; the heartbeat only waits for that."""

    def receive(self, data: str | bytes) -> None:
        try:
            packet = decode_packet_v3(data)
        except PacketError as error:
            self.parse_error(str(error))
        else:
            self.take(packet)

    def take(self, packet: Packet) -> None:
        """Take one packet; see :meth:`receive`."""
        kind = packet.type
        if self._state != OPEN:
            return
        if kind == MESSAGE:
            self.on_message(packet.data)  # type: ignore[arg-type]  # it always has some
        elif kind == PING:
            self._server.heartbeat.start(self)
            self.send([_PONG])
        elif kind == CLOSE:
            self.close("transport close", abort=True)
        elif kind == PONG:  # only the client pings in protocol 3
            self.close("transport error", abort=True)


class PollingTransportV3(PollingTransport):
    """Long-polling with the payloads of protocol 3; a request with the parameter ``j`` is JSONP."""

    __slots__ = ()

    session: SessionV3

    def _encode(self, request: EngineRequest, packets: list[Packet]) -> tuple[bytes, str]:
        jsonp = request.query.get("j")
        payload = encode_payload_v3(packets, self.session.binary and jsonp is None)
        if isinstance(payload, bytes):
            return payload, BINARY_CONTENT
        if jsonp is not None:
            payload = f"___eio[{_not_digits.sub('', jsonp)}]({json.dumps(payload)});"
        return to_utf8(payload), PLAIN_TEXT

    def decode(self, request: EngineRequest, body: bytes) -> Iterator[Packet]:
        return packets_of_v3(body) if is_binary(request) else _packets_in(body, form="j" in request.query)

    def deliver(self, packet: Packet) -> None:
        self.session.take(packet)


def _packets_in(body: bytes, form: bool) -> Iterator[Packet]:
    try:
        text = body.decode()
        payload = _from_form(text) if form else text
    except ValueError:
        raise PacketError("the payload is not UTF-8, or no form") from None
    yield from packets_of_v3(payload)


def _from_form(body: str) -> str:
    """The payload in the field ``d`` of a form, whose line breaks the browser would have changed: they are escaped."""
    (payload,) = parse_qs(body, max_num_fields=2).get("d", [""])
    return _escaped_newline.sub(lambda match: "\\n" if match[1] else "\n", payload)
