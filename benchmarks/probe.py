"""A client that asks all the time, in a process of its own, and says how long the longest answer took."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from contextlib import suppress
from time import monotonic

from benchmarks.install import Unavailable
from benchmarks.load import WebSocketClient
from benchmarks.servers import ROOT

_PAUSE = 0.005  # seconds between an answer and the next question
_TIMEOUT = 60.0  # seconds for anything that the probe does


class Probe:
    """The one process with the clients, seen from the one that has the crowd; a context manager that ends it.

    :raises Unavailable: it cannot connect.
    """

    def __init__(self, port: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.probe", str(port)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            self._read()
        except BaseException:
            self.close()
            raise

    def lap(self) -> float:
        """The longest that an answer has taken since the last lap, in seconds; one that is still to come counts."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended, as the next line finds
            self._process.stdin.write(b"\n")
            self._process.stdin.flush()
        return self._read()

    def _read(self) -> float:
        assert self._process.stdout is not None
        poll = select.poll()  # select() takes no descriptor above 1023
        poll.register(self._process.stdout, select.POLLIN)
        line = self._process.stdout.readline() if poll.poll(_TIMEOUT * 1000) else b""
        if not line:
            raise Unavailable("the client that asks all the time has ended, or hangs")
        return float(line)

    def close(self) -> None:
        self._process.kill()
        with suppress(BrokenPipeError):  # what it never read
            self._process.communicate()
        self._process.wait()

    def __enter__(self) -> Probe:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def main(port: int) -> None:
    """Be the probe: a line with a figure for each line that comes, until the standard input ends."""
    client = WebSocketClient(port)
    number, asked, due, longest = 0, 0.0, 0.0, 0.0
    print(0.0, flush=True)
    while True:
        now = monotonic()
        if not asked and now >= due:
            number += 1
            client.send(b'42%d["echo","?"]' % number)
            asked = monotonic()
        ready, _, _ = select.select([client.socket.fileno(), 0], [], [], None if asked else max(0.0, due - now))
        if client.socket.fileno() in ready:
            for message in client.receive():
                if message == b'43%d["?"]' % number:
                    now = monotonic()
                    longest, asked, due = max(longest, now - asked), 0.0, now + _PAUSE
        if 0 in ready:
            if not os.read(0, 100):
                return
            print(max(longest, monotonic() - asked if asked else 0.0), flush=True)
            longest = 0.0


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]))
    except OSError as error:
        sys.exit(f"the client that asks all the time: {error}")
