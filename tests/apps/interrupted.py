"""A process that is interrupted: its main thread emits in a loop, and a signal handler, all the time, too.

``python -m tests.apps.interrupted MODE SECONDS [gevent]`` prints, as JSON, how much the two have emitted, how much of
it each client got, and how much of that was out of turn or damaged. MODE is how they emit; see EMITTERS.
"""

from __future__ import annotations

import faulthandler
import json
import signal
import sys
import threading
import time
from collections.abc import Callable
from itertools import count
from types import FrameType
from typing import Any

if __name__ == "__main__" and sys.argv[3:] == ["gevent"]:
    from gevent import monkey

    monkey.patch_all()

from tests.support.inprocess import Client, InProcess
from wsgi_sio import Server
from wsgi_sio.websocket.messages import MessageDecoder

CLIENTS = 4
SMALL = 4096  # bytes of the sockets' buffers: half of all emits find them full
INTERVAL = 0.0003  # seconds between two signals
PADDING = "x" * 60


def to_all(io: Server, who: str, number: int) -> None:
    io.emit(who, number, PADDING)


def to_room(io: Server, who: str, number: int) -> None:
    """The handler moves clients about as well, but the first."""
    io.to("room").emit(who, number, PADDING)
    if who == "handler":
        for socket in io.fetch_sockets()[1:]:
            (socket.join if number % 2 else socket.leave)("room")


def to_each(io: Server, who: str, number: int) -> None:
    for socket in io.fetch_sockets():
        socket.emit(who, number, PADDING)


steps = count()


def with_callback(io: Server, who: str, number: int) -> None:
    """Each time-out is due before all others, which wakes the clock."""
    io.sockets.timeout(600 - next(steps) / 1000).emit(who, number, PADDING, callback=lambda error, answers: None)


EMITTERS: dict[str, Callable[[Server, str, int], None]] = {
    "all": to_all,
    "room": to_room,
    "each": to_each,
    "callback": with_callback,
}


class Reader(threading.Thread):
    """Takes what comes to one client, and looks at it when all is over."""

    def __init__(self, client: Client) -> None:
        super().__init__(daemon=True)
        self._sock = client.wire.sock  # type: ignore[union-attr]
        self._data = bytearray()
        self.start()

    def run(self) -> None:
        self._sock.settimeout(None)
        while b'"over"' not in self._data[-200:]:
            self._data += self._sock.recv(65536)

    def judge(self) -> dict[str, Any]:
        """How many events of each emitter came, and how many came out of turn."""
        came = {"main": 0, "handler": 0, "over": 0}
        last = dict.fromkeys(came, -1)
        wrong = 0
        for message in MessageDecoder(expect_masked=False, max_message_size=1 << 30).feed(bytes(self._data)):
            if message != "2":
                who, number, padding = json.loads(message[message.index("[") :])
                wrong += number <= last[who] or padding != PADDING
                last[who] = number
                came[who] += 1
        return {"came": came, "wrong": wrong}


def run(mode: str, seconds: float) -> dict[str, Any]:
    io = Server(max_outbox=1 << 30, ping_interval=1000)
    process = InProcess(io)
    clients = [process.client(buffers=SMALL) for _ in range(CLIENTS)]
    for client in clients:
        client.connect()
    io.sockets_join("room")
    readers = [Reader(client) for client in clients]
    emit = EMITTERS[mode]
    sent = {"main": 0, "handler": 0}
    interrupting = False

    def on_alarm(number: int, frame: FrameType | None) -> None:
        nonlocal interrupting
        if not interrupting:  # else it has interrupted itself, and what comes first is not defined
            interrupting = True
            emit(io, "handler", sent["handler"])
            sent["handler"] += 1
            interrupting = False

    signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, INTERVAL, INTERVAL)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        emit(io, "main", sent["main"])
        sent["main"] += 1
        if sent["main"] % 50 == 0:
            time.sleep(0.005)  # the readers must get on, too
    signal.setitimer(signal.ITIMER_REAL, 0)
    io.emit("over", 0, PADDING)
    for reader in readers:
        reader.join(20)
    return {"sent": sent, "got": [reader.judge() for reader in readers]}


if __name__ == "__main__":
    faulthandler.dump_traceback_later(float(sys.argv[2]) + 25, exit=True)
    print(json.dumps(run(sys.argv[1], float(sys.argv[2]))))
