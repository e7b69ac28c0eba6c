"""Each page tells the pool that runs its request."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from wsgi_sio.engineio.wsgi_pool_size import find_pool


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    pool = find_pool(environ)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"unknown" if pool is None else f"{pool.size}; {pool.setting}".encode()]
