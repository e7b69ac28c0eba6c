"""The server's first packet: the session's id, the heartbeat's times, what may be upgraded to."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from ...engineio.packet import OPEN, decode_packet
from ...exceptions import ConnectionFailed
from ...validation import COUNT, check_option


@dataclass(frozen=True, slots=True)
class Handshake:
    """The server's first packet (Engine.IO protocol, "Handshake"); times in seconds here."""

    sid: str
    upgrades: tuple[str, ...]
    ping_interval: float
    ping_timeout: float
    max_payload: int | None

    @classmethod
    def of(cls, data: str | bytes) -> Handshake:
        """Read the packet.

        :raises ConnectionFailed: it is another, or has not what it must have.
        """
        try:
            packet = decode_packet(data)
            if packet.type != OPEN:
                raise ValueError("not an open packet")
            fields: Any = json.loads(packet.data or "")
            made = cls(
                sid=fields["sid"],
                upgrades=tuple(fields.get("upgrades", ())),
                ping_interval=fields["pingInterval"] / 1000,
                ping_timeout=fields["pingTimeout"] / 1000,
                max_payload=check_option("maxPayload", fields.get("maxPayload"), int | None, COUNT),
            )
            if not isinstance(made.sid, str) or not made.sid:
                raise ValueError("no session id")
            if not 0 < made.ping_interval + made.ping_timeout < math.inf:
                raise ValueError("no heartbeat")
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            hint = f"{data[:100]!r} ({error})"
            raise ConnectionFailed(f"server error: this is no Engine.IO 4 handshake: {hint}") from error
        return made
