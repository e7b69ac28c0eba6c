"""What the application under test saw, readable from outside: ``GET /journal/<session id>``."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

PREFIX = "/journal/"


class Journal:
    """Entries by session id, and the WSGI application that shows one session's entries as a JSON array."""

    def __init__(self) -> None:
        self._entries: defaultdict[str, list[str]] = defaultdict(list)

    def record(self, session_id: str, entry: str) -> None:
        """Append ``entry`` to what is known of the session."""
        self._entries[session_id].append(entry)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if not path.startswith(PREFIX):
            start_response("404 Not Found", [("Content-Type", "text/plain")])
            return [b"not found"]
        body = json.dumps(self._entries.get(path.removeprefix(PREFIX), [])).encode()
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]
