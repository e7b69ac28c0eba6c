"""Many raw clients in one process; each of their requests comes on a connection of its own, so any worker may get it.

``python -m tests.live.crowd PLAN`` has them connect to ``tests/apps/many.py``, exchange numbers with it for a while,
and prints two lines of JSON: one when all have joined, and the report.

What is checked, for each session: the numbers that it sent come back, each once and in order; of each worker's
broadcasts it gets each number once and in order, from the first if the worker began when the session was there already;
in the end it has everything.  It is noted which sessions ended before that, and why.
"""

from __future__ import annotations

import asyncio
import json
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.live.peers import CLOSE, TEXT, text_frame

SEPARATOR = "\x1e"
MODES = ("polling", "websocket", "upgrade")
# How long one request may take, and how long all may take to have everything when nothing is sent any more (seconds).
_REQUEST = 60.0
_SETTLING = 20.0
_PUT = "put"
_MOST = 20  # of what is wrong is told


@dataclass(frozen=True)
class Plan:
    """What the clients do.

    :ivar addresses: ports of this host, or paths of Unix sockets; each connection goes to one of them.
    :ivar clients: how many; a third for each of the modes.
    :ivar seconds: for which they send.
    :ivar period: seconds between two numbers that a client sends.
    :ivar arrive: over how many seconds they come.
    :ivar broadcasts: whether the broadcasts of all workers are awaited.
    :ivar cookies: whether they keep cookies, as browsers do.
    :ivar forwarded: whether they say that they come from addresses of their own, as a proxy in front would.
    """

    addresses: tuple[int | str, ...]
    clients: int = 12
    seconds: float = 3.0
    period: float = 0.25
    arrive: float = 0.5
    modes: tuple[str, ...] = MODES
    broadcasts: bool = False
    cookies: bool = False
    forwarded: bool = False

    def encode(self) -> str:
        return json.dumps(asdict(self))


class Gone(Exception):
    """The session has ended; says why."""


class Wire:
    """A WebSocket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, packet: str) -> None:
        self._writer.write(text_frame(packet))

    async def receive(self) -> str:
        """The next packet."""
        first, size = await self._reader.readexactly(2)
        if size == 126:
            size = int.from_bytes(await self._reader.readexactly(2), "big")
        elif size == 127:
            size = int.from_bytes(await self._reader.readexactly(8), "big")
        payload = await self._reader.readexactly(size)
        if first & 0x0F == CLOSE:
            raise Gone(f"closed: {int.from_bytes(payload[:2], 'big')}")
        if first != 0x80 | TEXT:
            raise Gone(f"no text: {first:x} {payload!r}")
        return payload.decode()

    def close(self) -> None:
        self._writer.close()


class Client:
    """What a client has beyond its sessions: an address, and cookies."""

    def __init__(self, number: int, plan: Plan) -> None:
        self._plan = plan
        self._address = f"10.9.{number // 250}.{number % 250 + 1}"
        self._cookies: dict[str, str] = {}

    def headers(self) -> str:
        """What it says with each request."""
        lines = [f"X-Forwarded-For: {self._address}\r\n"] if self._plan.forwarded else []
        if self._cookies:
            lines.append(f"Cookie: {'; '.join(f'{name}={value}' for name, value in self._cookies.items())}\r\n")
        return "".join(lines)

    def note(self, head: str) -> None:
        """Keep the cookies of an answer."""
        for line in head.splitlines() if self._plan.cookies else ():
            if line.lower().startswith("set-cookie:"):
                name, _, value = line.partition(":")[2].partition(";")[0].strip().partition("=")
                self._cookies[name] = value


class Session:
    """One session of a client, from its handshake to its end."""

    def __init__(self, crowd: Crowd, mode: str, client: Client) -> None:
        self._crowd = crowd
        self._mode = mode
        self._client = client
        self._outgoing: list[str] = []
        self._something = asyncio.Event()
        self._writing = asyncio.Lock()
        self._pausing = False  # an upgrade is near its end: no more polls
        self._paused = asyncio.Event()
        self._switched = asyncio.Event()
        self._wire: Wire | None = None
        self._joined_at: float | None = None
        self.sid = ""
        self.pid = 0
        self.waits: tuple[str, float, str] = "nothing", 0.0, ""  # the last request, since when, from where
        self.sent = 0
        self.echoed = 0
        self.heard: dict[int, int] = {}

    @property
    def tag(self) -> str:
        return self.sid[-4:]

    @property
    def welcomed(self) -> bool:
        return self.pid != 0

    def was_there(self, moment: float) -> bool:
        """Whether it had been let in by then."""
        return self._joined_at is not None and self._joined_at < moment

    # -- its course ---------------------------------------------------------------------------------------------

    async def live(self) -> None:
        """Connect and go on until something ends it, which is raised."""
        try:
            await self._open()
            self._place("40")
            jobs = [self._write_all(), self._read_all(), self._put_all()]
            if self._mode == "upgrade":
                jobs.append(self._upgrade())
            await until_one_fails(jobs)
        finally:
            if self._wire is not None:
                self._wire.close()

    async def _open(self) -> None:
        if self._mode == "websocket":
            self._wire = await self._dial("EIO=4&transport=websocket")
            self._switched.set()
            opened = await asyncio.wait_for(self._wire.receive(), _REQUEST)
        else:
            opened = await self._request("GET", "EIO=4&transport=polling")
        if not opened.startswith("0{"):
            raise Gone(f"no handshake: {opened}")
        self.sid = json.loads(opened[1:])["sid"]
        self._query = f"EIO=4&transport=polling&sid={self.sid}"

    async def _upgrade(self) -> None:
        wire = await self._dial(f"EIO=4&transport=websocket&sid={self.sid}")
        wire.send("2probe")
        answer = await asyncio.wait_for(wire.receive(), _REQUEST)
        if answer != "3probe":
            raise Gone(f"the probe was answered {answer}")
        self._pausing = True
        async with self._writing:
            await self._paused.wait()
            self._wire = wire
            wire.send("5")
        self._switched.set()
        await asyncio.Event().wait()

    async def _read_all(self) -> None:
        if not self._switched.is_set():
            while not self._pausing:
                for packet in (await self._request("GET", self._query)).split(SEPARATOR):
                    self._take(packet)
            self._paused.set()
            await self._switched.wait()
        while True:
            assert self._wire is not None
            self._take(await self._wire.receive())

    async def _write_all(self) -> None:
        while True:
            await self._something.wait()
            async with self._writing:
                packets, self._outgoing = self._outgoing, []
                self._something.clear()
                if self._wire is not None:
                    for packet in packets:
                        self._wire.send(packet)
                elif (answer := await self._request("POST", self._query, SEPARATOR.join(packets))) != "ok":
                    raise Gone(f"a POST was answered {answer}")

    async def _put_all(self) -> None:
        period = self._crowd.plan.period
        while True:
            await asyncio.sleep(period * random.uniform(0.5, 1.5))
            if self.welcomed and self._crowd.sending:
                self._place(f'42["{_PUT}",{self.sent}]')
                self.sent += 1

    def _place(self, packet: str) -> None:
        self._outgoing.append(packet)
        self._something.set()

    # -- what comes ---------------------------------------------------------------------------------------------

    def _take(self, packet: str) -> None:
        if packet == "2":
            self._place("3")
        elif packet.startswith("42"):
            name, *args = json.loads(packet[2:])
            getattr(self, f"_on_{name}")(*args)
        elif packet.startswith("40"):
            self._joined_at = time.monotonic()
        elif packet != "6":
            raise Gone(f"packet {packet}")

    def _on_welcome(self, pid: int, tag: str) -> None:
        if tag and tag != self.tag:
            self._crowd.blame(f"{self.sid} lives in {tag}")
        self.pid = pid
        self._crowd.pids[pid] = tag

    def _on_echo(self, number: int) -> None:
        if number != self.echoed:
            self._crowd.blame(f"{self._mode} {self.sid}: {number} came back, not {self.echoed}")
        self.echoed = number + 1
        self._crowd.counts["echoes"] += 1

    def _on_all(self, origin: int, number: int, began: float) -> None:
        last = self.heard.get(origin)
        if last is None:
            if number and self.was_there(began):
                self._crowd.blame(f"{self._mode} {self.sid}: {number} is the first heard of {origin}")
        elif number != last + 1:
            self._crowd.blame(f"{self._mode} {self.sid}: {number} of {origin} came after {last}")
        self.heard[origin] = number
        self._crowd.note_broadcast(origin, number, began)

    # -- connections --------------------------------------------------------------------------------------------

    async def _dial(self, query: str) -> Wire:
        reader, writer, head = await self._exchange(
            "GET",
            query,
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            "Sec-WebSocket-Version: 13\r\n",
        )
        if not head.startswith("HTTP/1.1 101 "):
            writer.close()
            raise Gone(f"no WebSocket: {head.splitlines()[0]}")
        return Wire(reader, writer)

    async def _request(self, method: str, query: str, body: str = "") -> str:
        """The body of the answer."""
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        reader, writer, head = await self._exchange(method, query, length, body)
        try:
            lengths = [line for line in head.lower().splitlines() if line.startswith("content-length:")]
            reading = reader.readexactly(int(lengths[0].split(":")[1])) if lengths else reader.read()
            answer = (await asyncio.wait_for(reading, _REQUEST)).decode()
        finally:
            writer.close()
        if not head.startswith("HTTP/1.1 200 "):
            raise Gone(f"{method}: {head.split()[1]} {answer}")
        return answer

    async def _exchange(
        self, method: str, query: str, headers: str, body: str = ""
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, str]:
        self._crowd.counts["requests"] += 1
        address = random.choice(self._crowd.plan.addresses)
        if isinstance(address, int):
            reader, writer = await asyncio.open_connection("127.0.0.1", address)
        else:
            reader, writer = await asyncio.open_unix_connection(address)
        self.waits = method, time.monotonic(), str(writer.get_extra_info("sockname"))
        try:
            writer.write(f"{method} /socket.io/?{query} HTTP/1.1\r\nHost: test\r\n".encode())
            writer.write(f"{self._client.headers()}{headers}\r\n{body}".encode())
            head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _REQUEST)).decode()
            self._client.note(head)
        except asyncio.IncompleteReadError:
            writer.close()
            raise Gone(f"{method}: end of file") from None
        except BaseException:
            writer.close()
            raise
        return reader, writer, head


class Crowd:
    """All of them, and what has been seen."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.sending = False
        self.counts: Counter[str] = Counter()
        self.pids: dict[int, str] = {}
        self._sessions: dict[int, Session] = {}
        self._wrong: list[str] = []
        self._lost: list[tuple[float, str, str, str]] = []
        self._newest: dict[int, tuple[int, float]] = {}  # of each worker's broadcasts, and when it was emitted
        self._began = 0.0

    def blame(self, text: str) -> None:
        """A promise was not kept."""
        self._wrong.append(text)

    def note_broadcast(self, origin: int, number: int, began: float) -> None:
        self.counts["broadcasts"] += 1
        self._newest[origin] = max((number, began), self._newest.get(origin, (number, began)))

    async def run(self) -> dict[str, Any]:
        """Come, exchange numbers, settle; the report."""
        self._began = time.monotonic()
        plan = self.plan
        members = [asyncio.create_task(self._be(number)) for number in range(plan.clients)]
        await until(lambda: len(self._welcomed()) == plan.clients, 60.0 + plan.arrive)
        tags = Counter(session.tag for session in self._welcomed())
        say({"tags": tags, "pids": self.pids, "lost": self._lost, "seconds": time.monotonic() - self._began})
        self._began = time.monotonic()
        self.sending = True
        await asyncio.sleep(plan.seconds)
        self.sending = False
        settled = await until(lambda: not self._unsettled(), _SETTLING, True)
        took = [time.monotonic() - self._began - plan.seconds]
        newest = {origin: last for origin, last in self._newest.items() if not has_ended(origin)}
        complete = not plan.broadcasts or await until(lambda: not self._behind(newest), _SETTLING, True)
        took.append(time.monotonic() - self._began - plan.seconds)
        for text in [] if settled else self._unsettled():
            self.blame(text)
        for text in [] if complete else self._behind(newest):
            self.blame(text)
        for member in members:
            member.cancel()
        await asyncio.gather(*members, return_exceptions=True)
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "wrong": self._wrong[:_MOST],
            "wrongs": len(self._wrong),
            "lost": self._lost,
            "tags": Counter(session.tag for session in self._sessions.values()),
            "pids": self.pids,
            "newest": {origin: number for origin, (number, _) in newest.items()},
            "counts": self.counts,
            "cpu": usage.ru_utime + usage.ru_stime,
            "took": took,
            "wall": time.monotonic() - self._began,
        }

    async def _be(self, number: int) -> None:
        """One client: whenever its session has ended it opens another one."""
        plan = self.plan
        client = Client(number, plan)
        await asyncio.sleep(plan.arrive * number / plan.clients)
        while True:
            session = self._sessions[number] = Session(self, plan.modes[number % len(plan.modes)], client)
            try:
                await session.live()
            except (Gone, OSError, EOFError, asyncio.TimeoutError, asyncio.LimitOverrunError) as error:
                why = str(error) or type(error).__name__
                self._lost.append((time.monotonic() - self._began, session.tag, session._mode, why))
            await asyncio.sleep(random.uniform(0.1, 0.5))

    def _welcomed(self) -> list[Session]:
        return [session for session in self._sessions.values() if session.welcomed]

    def _unsettled(self) -> list[str]:
        """Who has not got back all that it has sent."""
        return [
            f"{session._mode} {session.sid} sent {session.sent}, {session.echoed} came back; {session.waits[0]} from"
            f" {session.waits[2]} since {time.monotonic() - session.waits[1]:.1f} s"
            for session in self._sessions.values()
            if not session.welcomed or session.echoed != session.sent
        ]

    def _behind(self, newest: dict[int, tuple[int, float]]) -> list[str]:
        """Who has not heard all that somebody has heard, though it had been let in before that was emitted."""
        return [
            f"{session._mode} {session.sid} has heard {session.heard.get(origin)} of {origin}, not {number}"
            for session in self._sessions.values()
            for origin, (number, emitted) in newest.items()
            if session.heard.get(origin, -1) < number and session.was_there(emitted)
        ]


def has_ended(pid: int) -> bool:
    """Whether the process is gone, or a zombie that has not been collected yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


async def until(holds: Any, seconds: float, bounded: bool = False) -> bool:
    """Wait until something holds; whether it does, in the end."""
    ends = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > ends:
            if bounded:
                return False
            raise TimeoutError(f"not within {seconds} s")
        await asyncio.sleep(0.02)
    return True


async def until_one_fails(jobs: list[Coroutine[Any, Any, None]]) -> None:
    """Run jobs that never end until one of them fails, and let none outlive that."""
    running = {asyncio.create_task(job) for job in jobs}
    try:
        await asyncio.wait(running, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        failed = [task for task in running if task.done()]
        running.difference_update(failed)
        while running:  # again: wait_for() swallows a cancellation that comes together with a result (before 3.12)
            for task in running:
                task.cancel()
            done, running = await asyncio.wait(running, timeout=0.05)
            await asyncio.gather(*done, return_exceptions=True)
    raise next(filter(None, [task.exception() for task in failed]))


def say(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        say(asyncio.run(Crowd(Plan(**json.loads(sys.argv[1]))).run()))
