"""Clients of ours behind a load balancer: ``python -m tests.live.balanced URL COUNT TRANSPORTS``.

Does and prints what ``tests/js/balanced.js`` does.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from dataclasses import asdict, dataclass, field

from wsgi_sio.client import Client


@dataclass
class Seen:
    """What one client has seen.

    :ivar pid: the process that serves it, 0 while it is not connected.
    """

    pid: int = 0
    troubles: list[str] = field(default_factory=list)
    answers: int = 0


def begin(url: str, number: int, transports: list[str]) -> tuple[Client, Seen]:
    """A client that connects."""
    seen = Seen()
    client = Client(
        url,
        transports=transports,
        reconnection_delay=0.1,
        reconnection_delay_max=0.5,
        extra_headers={"X-Forwarded-For": f"10.8.1.{number + 1}"},
    )

    def took(pid: int, tag: str) -> None:
        seen.pid = pid

    def left(reason: str, *details: object) -> None:
        seen.pid = 0
        seen.troubles.append(reason)

    client.on("connect", lambda: client.emit("who", callback=took))
    client.on("disconnect", left)
    client.on("connect_error", lambda error: seen.troubles.append(str(error)))
    return client, seen


def main(url: str, count: int, transports: list[str]) -> None:
    clients = [begin(url, number, transports) for number in range(count)]
    for client, _ in clients:
        client.connect(wait=False)
    told = threading.Event()

    def ask_all() -> None:
        while True:
            for client, seen in clients:
                if seen.pid:
                    client.emit("echo", 0, callback=lambda _, seen=seen: setattr(seen, "answers", seen.answers + 1))
            if not told.is_set() and all(seen.pid for _, seen in clients):
                told.set()
                tell()
            time.sleep(0.05)

    def tell() -> None:
        print(json.dumps([asdict(seen) for _, seen in clients]), flush=True)

    threading.Thread(target=ask_all, daemon=True).start()
    for _ in sys.stdin:
        tell()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3]))
