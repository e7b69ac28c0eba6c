"""A WSGI application that tells what ``server_identity.py`` finds out, in JSON; served by all kinds of servers."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from wsgi_sio.engineio.hijack import find_socket
from wsgi_sio.siblings.server_addresses import listening_names, name_of
from wsgi_sio.siblings.server_identity import find_server, identify_server

MADE_IN = os.getpid()
if "SIBLINGS_SHOW" in os.environ:  # at the import already: gunicorn has its worker by then, or is preloading
    print("at import:", find_server(), file=sys.stderr, flush=True)


def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Tell of this request and this process."""
    client = find_socket(environ)
    chosen = identify_server(environ, client, handed_down=os.getpid() != MADE_IN)
    before = identify_server(None)
    found = {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "client": name_of(client),
        "place": getattr(chosen, "name", None),
        "several": getattr(chosen, "several", None),
        "why": getattr(chosen, "why", None),
        "missed": getattr(chosen, "missed", None),
        "before": getattr(before, "name", None),
        "listening": sorted(listening_names()),
        "multiprocess": environ["wsgi.multiprocess"],
    }
    body = json.dumps(found).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
