"""A server that asks its application about origins, and pages that tell how often; for ``tests/live/``."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from wsgi_sio import Server, Socket, WSGIApp

asked: Counter[str] = Counter()


def may(origin: str) -> bool:
    asked[origin] += 1
    return True


io = Server(cors_allowed_origins=may, **json.loads(os.environ.get("SIO_OPTIONS", "{}")))


@io.on("echo")
def echo(socket: Socket, value: Any) -> Any:
    return value


def page(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    body = str(asked.total()).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


app = WSGIApp(io, page)
