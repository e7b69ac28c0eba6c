"""What a request is answered with; only wsgi.py knows ``start_response``."""

from __future__ import annotations

from dataclasses import dataclass, field
from http.client import responses
from typing import NamedTuple

from ..runtime import Event

Headers = list[tuple[str, str]]

NO_STORE = ("Cache-Control", "no-store")


@dataclass(slots=True)
class Response:
    """An HTTP answer."""

    status: int
    headers: Headers = field(default_factory=list)
    body: bytes = b""

    @property
    def status_line(self) -> str:
        """Such as ``200 OK``."""
        return f"{self.status} {responses[self.status]}"


class Hijacked(NamedTuple):
    """The connection is no longer the WSGI server's; its request is to end with an answer that nobody reads.

    :ivar held: to be waited for first, when the connection could not be moved away from its thread.
    :ivar status: for the server's access log.
    """

    held: Event | None
    status: str = "101 Switching Protocols"
