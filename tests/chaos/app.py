"""The server's application: takes numbered events, sends numbered events, and reports both.

Which numbers a client has to get is told by ``welcome``, the first event of each of its lives.
"""

from __future__ import annotations

import gc
import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from tests.chaos.line import Line
from tests.chaos.sending import fill, is_whole
from tests.chaos.setting import MAX_MAILBOX, MAX_OUTBOX, MAX_STORED, PING_INTERVAL, PING_TIMEOUT, RECOVERY
from wsgi_sio import Server, Socket, WSGIApp

SLOW = 0.02  # seconds that a slow handler takes
PERIOD = 0.05  # seconds between two broadcasts, and between two rounds of mail
ASK_TIMEOUT = 15.0  # seconds

io = Server(
    ping_interval=PING_INTERVAL,
    ping_timeout=PING_TIMEOUT,
    max_mailbox=MAX_MAILBOX,
    max_outbox=MAX_OUTBOX,
    connection_state_recovery={"max_disconnection_duration": RECOVERY, "max_stored": MAX_STORED},
)
line = Line(int(os.environ["CHAOS_PORT"]), "server")
rng = random.Random(os.environ["CHAOS_SEED"])


class Post:
    """All that is sent out of the background: to rooms, to everybody, and mail to single clients.

    The lock makes joining and the numbers that a client has to get from then on one step; it is not held over mail,
    which may wait for the client.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sent: Counter[str] = Counter()  # by room, and for "crowd" and "everybody"
        self._mailed: dict[str, int] = {}  # by socket id, as long as it may come back
        self._dead: dict[str, float] = {}  # ids whose connection is over: until when they may come back
        self.running = threading.Event()

    def begin_life(self, socket: Socket, room: str) -> None:
        """Welcome a client, and have it get everything from now on."""
        with self._lock:
            first = {"mail": 1, "gift": 1, "room": self._sent[room] + 1}
            first |= {kind: self._sent[kind] + 1 for kind in ("crowd", "everybody")}
            socket.emit("welcome", first)
            socket.join([room, "crowd"])
            self._mailed[socket.id] = 0

    def recovered(self, sid: str) -> None:
        """A client is back."""
        with self._lock:
            self._dead.pop(sid, None)

    def left(self, sid: str) -> None:
        """A client's connection is over; while it may be recovered, mail goes on."""
        with self._lock:
            self._dead[sid] = time.monotonic() + RECOVERY
            for old in [old for old, until in self._dead.items() if until < time.monotonic()]:
                del self._dead[old]
                self._mailed.pop(old, None)

    def last(self, socket: Socket, room: str) -> dict[str, int]:
        """The last numbers that a client has to have."""
        with self._lock:
            return {
                "mail": self._mailed.get(socket.id, 0),
                "gift": socket.data.get("gifts", 0),
                "room": self._sent[room],
                "crowd": self._sent["crowd"],
                "everybody": self._sent["everybody"],
            }

    def broadcast(self) -> None:
        """One event to a room, to several, to everybody, and a volatile one."""
        with self._lock:
            rooms = [name for name in self._sent if name.startswith("room ")]
            room = rng.choice(rooms) if rooms else "room 0"
            self._send("room", room, io.to(room))
            if rng.random() < 0.1:
                self._send("crowd", "crowd", io.to(["crowd", room]))  # its members are in both, and get it once
            if rng.random() < 0.1:
                self._send("everybody", "everybody", io)
            if rng.random() < 0.1:
                self._sent["maybe"] += 1
                io.volatile.emit("maybe", self._sent["maybe"])

    def _send(self, kind: str, counter: str, to: Any) -> None:
        self._sent[counter] += 1
        number = self._sent[counter]
        size = rng.choice((1, 20, 300, 2000))
        to.emit(kind, size, fill(number, size, binary=rng.random() < 0.2), number)

    def mail(self) -> None:
        """An event to some clients each, perhaps to one that is not there now."""
        with self._lock:
            sids = [sid for sid in self._mailed if rng.random() < PERIOD * float(os.environ["CHAOS_RATE"])]
        for sid in sids:
            with self._lock:
                if sid not in self._mailed:
                    continue
                number = self._mailed[sid] = self._mailed[sid] + 1
            size = rng.choice((1, 20, 300, 5000))
            io.to(sid).emit("mail", size, fill(number, size, binary=rng.random() < 0.2), number)

    def work(self, job: Callable[[], None], rested: threading.Event) -> None:
        """Do a job again and again while it is wanted."""
        while True:
            if self.running.is_set():
                rested.clear()
                job()
            else:
                rested.set()
            time.sleep(PERIOD)


post = Post()


# --- what clients do ---


@io.on("connect")
def connect(socket: Socket, auth: dict[str, Any]) -> None:
    line.report("came", auth["key"], auth["connection"], auth["unsent"])


@io.on("connection")
def connection(socket: Socket) -> None:
    if socket.recovered:
        post.recovered(socket.id)
    else:
        post.begin_life(socket, socket.handshake.auth["room"])


@io.on("disconnect")
def disconnect(socket: Socket, reason: str) -> None:
    post.left(socket.id)
    line.report("left", socket.handshake.auth["key"], socket.handshake.auth["connection"], reason)


@io.on("put")
def put(socket: Socket, mode: str, size: int, payload: Any, number: int) -> int:
    """Take a numbered event; do with it, or send back, what it says."""
    auth = socket.handshake.auth
    line.report("handled", auth["key"], auth["connection"], number)
    if not is_whole(payload, number, size):
        line.report("spoilt", auth["key"], f"put {number}, of {size} bytes")
    if mode == "slow":
        time.sleep(SLOW)
    elif mode == "ask":
        ask(socket)
    elif mode != "fast":
        give(socket, int(mode))
    return number


def ask(socket: Socket) -> None:
    """Send an event that wants an answer."""
    auth = socket.handshake.auth
    number = socket.data["asked"] = socket.data.get("asked", 0) + 1
    connection, first = socket.data.get("asked over", (-1, 0))
    if connection != auth["connection"]:
        connection, first = socket.data["asked over"] = (auth["connection"], number)

    def answered(error: Exception | None, answer: Any = None) -> None:
        if error is None:
            line.report("answered", auth["key"], number, answer)

    socket.timeout(ASK_TIMEOUT).emit("ask", connection, first, number, callback=answered)


def give(socket: Socket, size: int) -> None:
    """Send a numbered event of so many bytes."""
    number = socket.data["gifts"] = socket.data.get("gifts", 0) + 1
    socket.emit("gift", size, fill(number, size, binary=number % 3 == 0), number)


@io.on("fence")
def fence(socket: Socket) -> dict[str, int]:
    """What a client has to have, when nothing is under way any more."""
    return post.last(socket, socket.handshake.auth["room"])


# --- what the run wants ---


def obey(orders: Iterable[list[Any]], rested: list[threading.Event]) -> None:
    for order, *_ in orders:
        if order == "run":
            post.running.set()
        elif order == "rest":
            post.running.clear()
            for event in rested:
                event.clear()
                event.wait()
            line.report("resting", "")
    os.kill(os.getppid(), signal.SIGTERM)  # the run is gone, and nobody else would end this server


def count_rooms() -> Callable[[], int]:
    """A function that tells how many rooms there are."""
    rooms: set[Any] = set()
    adapter = io.of("/").adapter
    adapter.on("create-room", rooms.add)
    adapter.on("delete-room", rooms.discard)
    return lambda: len(rooms)


room_count = count_rooms()


def site(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """What is left of the clients."""
    gc.collect()
    stats = {"sessions": len(io.engine.sessions), "sockets": len(io.of("/").sockets), "rooms": room_count()}
    body = b"" if environ["REQUEST_METHOD"] == "HEAD" else json.dumps(stats).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


app = WSGIApp(io, site)

_rested = [threading.Event(), threading.Event()]
threading.Thread(target=obey, args=(line.orders(), _rested), daemon=True).start()
threading.Thread(target=post.work, args=(post.broadcast, _rested[0]), daemon=True).start()
threading.Thread(target=post.work, args=(post.mail, _rested[1]), daemon=True).start()
