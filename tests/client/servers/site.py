"""The site around a Socket.IO server that has no pages."""

from __future__ import annotations

from typing import Any


def site(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("204 No Content", [])
    return []
