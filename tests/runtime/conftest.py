"""Reactors of this world, and descriptors to watch with them."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from wsgi_sio.runtime import Reactor, Watch, create_reactor

MakeReactor = Callable[..., Any]


@pytest.fixture
def make_reactor() -> Iterator[MakeReactor]:
    """``make_reactor(max_workers=None)``; closed with the test."""
    made: list[Reactor] = []

    def make(max_workers: int | None = None) -> Reactor:
        made.append(create_reactor(max_workers=max_workers))
        return made[-1]

    yield make
    for reactor in made:
        reactor.close()


@pytest.fixture
def reactor(make_reactor: MakeReactor) -> Any:
    return make_reactor()


class Conn:
    """One end of a socket pair in a reactor; the callbacks are the test's."""

    def __init__(
        self,
        reactor: Reactor,
        on_readable: Callable[[Conn], None],
        on_writable: Callable[[Conn], None] | None = None,
        *,
        reading: bool = True,
    ) -> None:
        import _socket

        near, self.peer = socket.socketpair()
        self.sock = _socket.socket(fileno=near.detach())
        self.sock.setblocking(False)
        self.writable = 0
        self._on_readable = on_readable
        self._on_writable = on_writable
        self.watch: Watch = reactor.watch(self, reading=reading)

    def fileno(self) -> int:
        return self.sock.fileno()

    def on_readable(self) -> None:
        self._on_readable(self)

    def on_writable(self) -> None:
        self.writable += 1
        if self._on_writable is not None:
            self._on_writable(self)

    def close(self) -> None:
        self.watch.close(self.sock.close)
        self.peer.close()
