"""Clients of ours and of python-socketio's: ``python -m tests.live.python_peers URL TRANSPORTS``."""

from __future__ import annotations

import json
import sys
from typing import Any

import socketio

from wsgi_sio.client import SimpleClient

EACH = 3
ROUNDS = 20


def main(url: str, transports: list[str]) -> dict[str, Any]:
    """Have all of them ask by turns, so that their requests are mixed."""
    ours = [SimpleClient(url, transports=transports) for _ in range(EACH)]
    theirs = [socketio.Client(reconnection=False) for _ in range(EACH)]
    for client in ours:
        client.connect()
    for other in theirs:
        other.connect(url, transports=transports, wait_timeout=10)
    echoed, workers = 0, set()
    try:
        for number in range(ROUNDS):
            echoed += sum(client.call("echo", number, timeout=10) == number for client in ours)
            echoed += sum(other.call("echo", number, timeout=10) == number for other in theirs)
        workers |= {client.call("who", timeout=10)[0] for client in ours}
        workers |= {other.call("who", timeout=10)[0] for other in theirs}
    finally:
        for client in ours:
            client.disconnect()
        for other in theirs:
            other.disconnect()
    return {"echoed": echoed, "workers": len(workers)}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], json.loads(sys.argv[2]))))
