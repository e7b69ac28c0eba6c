"""Links whose other end is the test's, and siblings in one process or in several."""

from __future__ import annotations

import _socket
import array
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.inprocess import eventually
from tests.support.world import WORLD
from wsgi_sio.runtime import Reactor
from wsgi_sio.siblings import Link, Siblings, encode
from wsgi_sio.siblings.frames import Frame, FrameDecoder

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 30.0  # seconds; longer than anything takes on a machine that has other things to do


def soon(condition: Callable[[], Any], what: str) -> Any:
    """Wait until ``condition()`` is true, and return its value."""
    return eventually(condition, what, PATIENCE)


class Owner:
    """Has a link, and keeps what it is told."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.reports: list[str] = []
        self.behind: list[tuple[int, int]] = []
        self.ends: list[bool] = []
        self.on_frame: Callable[[Link, Frame], None] = lambda link, frame: None

    def received(self, link: Link, frame: Frame) -> None:
        self.frames.append(frame)
        self.on_frame(link, frame)

    def report(self, kind: str, text: str) -> None:
        self.reports.append(f"{kind}: {text}")

    def fell_behind(self, link: Link, frames: int, size: int) -> None:
        self.behind.append((frames, size))

    def ended(self, link: Link, by_sibling: bool) -> None:
        self.ends.append(by_sibling)


class Raw:
    """The other end of a link, by hand."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sock.settimeout(PATIENCE)
        self._decoder = FrameDecoder()

    def send(
        self, kind: int, number: int = 0, payload: bytes = b"", *descriptors: int, announced: bool | None = None
    ) -> None:
        """A frame with as many descriptors as you like, whatever it announces."""
        with_descriptor = bool(descriptors) if announced is None else announced
        self.send_bytes(encode(kind, number, payload, with_descriptor=with_descriptor), *descriptors)

    def send_bytes(self, data: bytes, *descriptors: int) -> None:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        sent = self.sock.sendmsg([data], rights)
        if sent < len(data):
            self.sock.sendall(data[sent:])

    def receive(self, size: int = 65536) -> Frame:
        """The next frame. Raises EOFError at the end."""
        while (frame := self._decoder.take()) is None:
            data, ancillary, _, _ = self.sock.recvmsg(size, 1024)
            if not data:
                raise EOFError
            descriptors = array.array("i")
            for _, _, rights in ancillary:
                descriptors.frombytes(rights)
            self._decoder.feed(data, list(descriptors))
        return frame

    def at_end(self) -> bool:
        """Wait for the end, dropping what comes before."""
        try:
            while True:
                self.receive()
        except (EOFError, ConnectionError):
            return True

    def close(self) -> None:
        for descriptor in self._decoder.drain():  # of a frame that has not come to its end
            os.close(descriptor)
        self.sock.close()


@pytest.fixture
def directory() -> Iterator[str]:
    """A private one, with a short path."""
    with tempfile.TemporaryDirectory(prefix="sib") as path:
        yield path


MakeLink = Callable[..., tuple[Link, Owner, Raw]]


@pytest.fixture
def make_link(reactor: Reactor) -> Iterator[MakeLink]:
    """``make_link(**options)``: a started link, its owner, its other end."""
    links: list[Link] = []
    raws: list[Raw] = []

    def make(buffer: int | None = None, **options: Any) -> tuple[Link, Owner, Raw]:
        near, far = socket.socketpair()
        if buffer is not None:
            near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        sock = _socket.socket(fileno=near.detach())
        sock.setblocking(False)
        owner = Owner()
        link = Link(reactor, sock, owner, tag="peer", **options)
        link.start()
        links.append(link)
        raws.append(Raw(far))
        return link, owner, raws[-1]

    yield make
    for raw in raws:
        raw.close()
    for link in links:
        link.close()


class Member:
    """One of several siblings in this process, and what it has been told."""

    def __init__(self, reactor: Reactor, directory: str, **options: Any) -> None:
        self.siblings = Siblings(reactor, directory, **options)
        self.got: list[tuple[str, int, int, bytes, int | None]] = []
        self.news: list[tuple[str, str]] = []
        self.siblings.on_joined(lambda link: self.news.append(("joined", link.tag)))
        self.siblings.on_left(lambda tag: self.news.append(("left", tag)))
        for kind in (16, 17):
            self.siblings.handle(kind, lambda *frame, kind=kind: self._keep(kind, *frame))

    def _keep(self, kind: int, link: Link, number: int, payload: bytes, descriptor: int | None) -> None:
        self.got.append((link.tag, kind, number, payload, descriptor))

    @property
    def tag(self) -> str:
        return self.siblings.tag

    def knows(self) -> set[str]:
        """Whom it has been told of."""
        known: set[str] = set()
        for what, tag in list(self.news):
            (known.add if what == "joined" else known.remove)(tag)
        return known


@pytest.fixture
def make_member(reactor: Reactor, directory: str) -> Iterator[Callable[..., Member]]:
    """``make_member(join=True, **options)``."""
    members: list[Member] = []

    def make(join: bool = True, **options: Any) -> Member:
        member = Member(reactor, directory, **options)
        members.append(member)
        if join:
            member.siblings.join(PATIENCE)
        return member

    yield make
    for member in members:
        member.siblings.leave()


class Process:
    """A sibling in a process of its own (peer.py), and its answers."""

    def __init__(self, directory: str, *options: str) -> None:
        ours, theirs = socket.socketpair()
        self.child = subprocess.Popen(
            [sys.executable, "-m", "tests.siblings.peer", WORLD, str(theirs.fileno()), directory, *options],
            cwd=ROOT,
            pass_fds=[theirs.fileno()],
            stderr=subprocess.PIPE,
        )
        theirs.close()
        ours.settimeout(100)  # eight Pythons on two busy cores take half a minute to start
        self._sock = ours
        self._file = ours.makefile("rwb")
        self.tag = ""

    def ask(self, *question: Any) -> Any:
        """Have it do something, and wait for what comes of it."""
        self._file.write(json.dumps(question).encode() + b"\n")
        self._file.flush()
        return self.answer()

    def answer(self) -> Any:
        line = self._file.readline()
        assert line, f"a sibling has ended: {self.child.stderr.read().decode() if self.child.stderr else ''}"
        answer = json.loads(line)
        assert not (isinstance(answer, dict) and "failed" in answer), answer["failed"]
        return answer

    def joined(self) -> Process:
        """Wait until it has joined."""
        self.tag = self.answer()
        return self

    def kill(self, signum: int = signal.SIGKILL) -> None:
        os.kill(self.child.pid, signum)

    def end(self) -> str:
        """End it, if it has not, and return what it has written."""
        with suppress(OSError):
            self._file.close()
        self._sock.close()
        with suppress(ProcessLookupError):
            self.kill()
            self.kill(signal.SIGCONT)
        _, errors = self.child.communicate(timeout=PATIENCE)
        return errors.decode()


@pytest.fixture
def start(directory: str) -> Iterator[Callable[..., Process]]:
    """``start(*options)``: a sibling in a process of its own; :meth:`Process.joined` waits for it."""
    processes: list[Process] = []

    def make(*options: str) -> Process:
        processes.append(Process(directory, *options))
        return processes[-1]

    yield make
    for process in processes:
        process.end()


def dial_by_hand(directory: str, tag: str) -> Raw:
    """A connection to a sibling's file."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(PATIENCE)
    sock.connect(os.path.join(directory, tag))
    return Raw(sock)


class ByHand:
    """A sibling's file by hand: who dials it is accepted here.

    Its process is the test's, as is that of all members in it.
    """

    def __init__(self, directory: str, tag: str | None = None) -> None:
        self.tag = tag or secrets.token_urlsafe(3)
        self.directory = directory
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.settimeout(PATIENCE)
        self._raws: list[Raw] = []

    def listen(self) -> ByHand:
        """Be there, from now on: who joins dials, and waits for an answer."""
        self._listener.bind(os.path.join(self.directory, self.tag))
        self._listener.listen()
        return self

    def hello(self, **other: Any) -> bytes:
        told = {"version": 1, "tag": self.tag, "load": 0, "draining": False, "topics": [], **other}
        return json.dumps(told).encode()

    def dial(self, tag: str) -> Raw:
        self._raws.append(dial_by_hand(self.directory, tag))
        return self._raws[-1]

    def accept(self) -> Raw:
        sock, _ = self._listener.accept()
        self._raws.append(Raw(sock))
        return self._raws[-1]

    def close(self) -> None:
        self._listener.close()
        for raw in self._raws:
            raw.close()


@pytest.fixture
def by_hand(directory: str) -> Iterator[ByHand]:
    """One that does not listen yet."""
    made = ByHand(directory)
    yield made
    made.close()


def native_threads() -> int:
    return threading.active_count()
