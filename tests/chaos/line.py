"""A process's line to the run: it reports records, and gets orders."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

_PERIOD = 0.03  # seconds between two writes
_SIGN = 0.5  # seconds between two signs of life


class Line:
    """Threads or greenlets report at no cost but that of the JSON; another thread (or greenlet) sends it in pieces.

    :param name: who this is.
    """

    def __init__(self, port: int, name: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._waiting: deque[str] = deque()
        self.report("hello", name)
        threading.Thread(target=self._send, daemon=True).start()

    def report(self, *record: Any) -> None:
        """Send a record, soon."""
        self._waiting.append(json.dumps(record))

    def orders(self) -> Iterator[list[Any]]:
        """What the run wants, until it ends."""
        with self._socket.makefile() as lines:
            for line in lines:
                yield json.loads(line)

    def _send(self) -> None:
        sign_at = 0.0
        while True:
            if time.monotonic() > sign_at:
                self.report("alive", "")
                sign_at = time.monotonic() + _SIGN
            lines = [self._waiting.popleft() for _ in range(len(self._waiting))]
            self._socket.sendall("".join(f"{line}\n" for line in lines).encode())
            time.sleep(_PERIOD)
