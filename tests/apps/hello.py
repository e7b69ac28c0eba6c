"""The smallest WSGI application: answers every request, and ``/boom`` with an exception."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    if environ["PATH_INFO"] == "/boom":
        raise RuntimeError("asked for")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]
