"""The process of our own clients: ``python -m tests.chaos.python_clients PORT threads|gevent``."""

from __future__ import annotations

import sys

if __name__ == "__main__" and sys.argv[2] == "gevent":  # before anything else is imported
    from gevent import monkey

    monkey.patch_all()

import random
import threading
import time
from typing import Any

from tests.chaos.line import Line
from tests.chaos.sending import Numbers, fill, is_whole
from wsgi_sio.client import Client
from wsgi_sio.runtime import Reactor, create_reactor

PERIOD = 0.1  # seconds between two looks at who is going to send
ECHO_TIMEOUT = 8.0  # seconds
KINDS = ("mail", "gift", "room", "crowd", "everybody")


class Member:
    """One client, that numbers what it emits and reports what it gets."""

    def __init__(self, line: Line, reactor: Reactor, plan: dict[str, Any]) -> None:
        self.key: str = plan["key"]
        self.rate: float = plan["rate"]
        self.sending = False
        self._line = line
        self._room = plan["room"]
        self._rng = random.Random(self.key)
        self._lock = threading.Lock()
        self._numbers = Numbers()
        self._connections = 0
        self._settling = False
        self._client = client = Client(
            plan["url"],
            auth=self._auth,
            transports=plan["transports"],
            reactor=reactor,
            retries=1000 if plan["retries"] else None,
            reconnection_delay=0.1,
            reconnection_delay_max=1.0,
            timeout=10.0,
        )
        client.on("connect", self._on_connect)
        client.on("disconnect", lambda reason: self._report("disconnected", reason))
        client.on("welcome", lambda first: self._report("welcome", first))
        client.on("maybe", lambda number: self._report("got", "maybe", number))
        client.on("ask", self._on_ask)
        for kind in KINDS:
            client.on(kind, self._receiver(kind))

    def _report(self, kind: str, *values: Any) -> None:
        self._line.report(kind, self.key, *values)

    def _auth(self) -> dict[str, Any]:
        with self._lock:
            self._connections += 1
            unsent = self._numbers.unsent()
        return {"key": self.key, "room": self._room, "connection": self._connections, "unsent": unsent}

    def come(self) -> None:
        self._client.connect(wait=False)

    def leave(self) -> None:
        self._client.disconnect()

    # -- what it gets -------------------------------------------------------------------------------------------

    def _on_connect(self) -> None:
        self._report("connected", self._client.recovered, self._client.io.transport_name)

    def _on_ask(self, connection: int, first: int, number: int) -> int:
        self._report("asked", connection, first, number)
        return number

    def _receiver(self, kind: str) -> Any:
        def receive(size: int, payload: Any, number: int) -> None:
            self._report("got", kind, number)
            if not is_whole(payload, number, size):
                self._report("spoilt", f"{kind} {number}, of {size} bytes")

        return receive

    # -- what it sends ------------------------------------------------------------------------------------------

    def send_something(self) -> None:
        """An event of some kind."""
        mode = self._rng.choices(("fast", "slow", "ask", str(self._rng.choice((1, 100, 3000)))), (5, 1, 2, 5))[0]
        self.put(mode, self._rng.choices((1, 20, 300, 20_000), (5, 5, 5, 1))[0], callback=self._rng.random() < 0.5)

    def put(self, mode: str, size: int, *, callback: bool) -> None:
        with self._lock:  # numbers go out in order
            number = self._numbers.take(self._client.connected)
            payload = fill(number, size, self._rng.random() < 0.2)
            told = self._on_acknowledged if callback else None
            self._client.timeout(600).emit("put", mode, size, payload, number, callback=told)

    def _on_acknowledged(self, error: Exception | None, number: int = -1) -> None:
        if error is None:
            self._report("acknowledged", number)

    def burst(self, count: int, mode: str, size: int) -> None:
        for _ in range(count):
            self.put(mode, size, callback=False)

    # -- the end ------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Be answered once more, then ask what should be there; again until both work."""
        with self._lock:
            number = self._numbers.take(self._client.connected)
            operator = self._client.timeout(ECHO_TIMEOUT)
            operator.emit("put", "fast", 1, fill(number, 1, False), number, callback=self._echoed)

    def _echoed(self, error: Exception | None, number: int = -1) -> None:
        if error is not None:
            self.settle()
            return
        self._report("acknowledged", number)
        self._client.timeout(ECHO_TIMEOUT).emit("fence", callback=self._fenced)

    def _fenced(self, error: Exception | None, last: Any = None) -> None:
        if error is not None:
            self.settle()
            return
        self._report("settled", self._numbers.next, last)


class Crew:
    """All clients of this process, and the run's orders for them."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._reactor = create_reactor()
        self._members: dict[str, Member] = {}
        self._rng = random.Random(0)

    def run(self) -> None:
        threading.Thread(target=self._send, daemon=True).start()
        for order, *values in self._line.orders():
            getattr(self, f"_do_{order}")(*values)

    def _send(self) -> None:
        while True:
            for member in list(self._members.values()):
                if member.sending and self._rng.random() < PERIOD * member.rate:
                    member.send_something()
            time.sleep(PERIOD)

    def _do_enter(self, plan: dict[str, Any]) -> None:
        self._members[plan["key"]] = Member(self._line, self._reactor, plan)

    def _do_forget(self, key: str) -> None:
        member = self._members.pop(key)
        member.sending = False
        self._aside(member.leave)

    def _do_come(self, key: str) -> None:
        self._members[key].come()

    def _do_leave(self, key: str) -> None:
        self._aside(self._members[key].leave)  # it waits until everything is out

    def _do_send(self, wanted: bool) -> None:
        for member in self._members.values():
            member.sending = wanted

    def _do_burst(self, key: str, count: int, mode: str, size: int) -> None:
        self._members[key].burst(count, mode, size)

    def _do_settle(self, key: str) -> None:
        self._members[key].settle()

    @staticmethod
    def _aside(job: Any) -> None:
        threading.Thread(target=job, daemon=True).start()


if __name__ == "__main__":
    Crew(Line(int(sys.argv[1]), "python")).run()
