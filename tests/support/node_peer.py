"""A Socket.IO server of Node in a cluster with ours: a process of ``tests/js/*_peer.js``, told what to do."""

from __future__ import annotations

import base64
import json
import queue
import subprocess
import threading
from typing import Any

from tests.support.inprocess import DEADLINE
from tests.support.node import JS


class NodePeer:
    """Such a process, with one client.

    :ivar sid: the client's id.
    """

    def __init__(self, script: str, *arguments: str) -> None:
        self._results: queue.Queue[Any] = queue.Queue()
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            ["node", script, *arguments], cwd=JS, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        threading.Thread(target=self._read, daemon=True).start()
        self.sid = self._results.get(timeout=DEADLINE)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            message = json.loads(line, object_hook=_revive)
            if "result" in message:
                self._results.put(message["result"])
            else:
                self.take(line.strip())

    def take(self, line: bytes) -> None:
        """It has said something that is no result."""

    def send(self, line: bytes) -> None:
        assert self._process.stdin is not None
        with self._lock:
            self._process.stdin.write(line + b"\n")
            self._process.stdin.flush()

    def do(self, command: str, *args: Any) -> Any:
        """Run a command of the script; its result."""
        self.send(json.dumps({"do": command, "args": args}, default=_replace).encode())
        return self._results.get(timeout=DEADLINE)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


def _replace(value: object) -> Any:
    assert isinstance(value, bytes), value
    return {"$bytes": base64.b64encode(value).decode()}


def _revive(value: dict[str, Any]) -> Any:
    return base64.b64decode(value["$bytes"]) if "$bytes" in value else value
