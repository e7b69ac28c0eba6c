"""Socket.IO servers in this process, ended with the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.support.inprocess import InProcess
from wsgi_sio import Server

Serve = Callable[[Server], InProcess]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """``serve(io)`` gives the way for clients to it."""
    started: list[InProcess] = []

    def start(io: Server) -> InProcess:
        started.append(InProcess(io))
        return started[-1]

    yield start
    for process in started:
        process.close()
