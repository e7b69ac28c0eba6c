"""A process that forks after it has served: the child builds a reactor of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import traceback
import warnings

import pytest

from tests.support.forking import forked
from tests.support.inprocess import DEADLINE, InProcess
from tests.support.servers import ROOT
from tests.support.waiting import readable
from tests.support.world import WORLD
from wsgi_sio import Server
from wsgi_sio.runtime import has_forked

pytestmark = pytest.mark.skipif(WORLD != "threads" or not hasattr(os, "fork"), reason="about threads and fork")


def test_a_child_serves_with_threads_of_its_own() -> None:
    """The parent has sessions, threads and timers; the child has none of them, and serves new clients."""
    io = Server(ping_interval=0.1, ping_timeout=0.2)
    io.on("echo", lambda socket, value: value)
    parent = InProcess(io)
    client = parent.client()
    client.connect()
    assert client.call("echo", "parent") == ["parent"]
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 and later warn of forking with threads
        pid = os.fork()
    if pid == 0:
        _serve_in_the_child(io, writing)
    os.close(writing)
    try:
        deadline = time.monotonic() + DEADLINE
        while not readable(reading, 0.02):
            assert time.monotonic() < deadline, "the child said nothing"
            client.expect_silence(0.02)  # the parent's client goes on answering pings
        assert os.read(reading, 10_000).decode() == "served"
        assert client.call("echo", "still here") == ["still here"]
    finally:
        os.close(reading)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        parent.close()


def _serve_in_the_child(io: Server, writing: int) -> None:
    outcome = "served"
    try:
        child = InProcess(io)
        assert child.engine.reactor is not None and not child.engine.sessions
        for _ in range(3):
            client = child.client()
            client.connect()
            assert client.call("echo", "child") == ["child"]
        deadline = time.monotonic() + 0.35  # longer than a heartbeat: the child's clock runs too
        while time.monotonic() < deadline:
            client.expect_silence(0.05)
        assert client.call("echo", "child") == ["child"]
    except BaseException:
        outcome = traceback.format_exc()
    os.write(writing, outcome.encode())
    os._exit(0)


def test_who_has_forked_knows() -> None:
    """And its child does not take that for its own doing, until it has forked as well."""

    def child() -> tuple[bool, bool]:
        before = has_forked()
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        return before, has_forked()

    with forked(child) as process:
        assert process.outcome() == "(False, True)"
        assert has_forked()


def test_a_command_that_was_run_is_no_fork() -> None:
    """A program of its own has none of this one's sockets."""
    code = (
        "import os, subprocess; from wsgi_sio.runtime import has_forked; subprocess.run(['true']); os.system('true');"
        "print(has_forked())"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT).stdout == "False\n"
