"""A program that forks while its client is connected: the connection is the parent's alone."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.forking import forked
from tests.support.inprocess import eventually
from tests.support.servers import SERVERS, start_server
from wsgi_sio.client import Client, SimpleClient

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="about fork")
TRANSPORTS = pytest.mark.parametrize("transport", ["websocket", "polling"])


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with start_server(SERVERS[0], "tests.apps.main:app") as server:
        yield server.url


@TRANSPORTS
def test_a_child_is_not_connected_and_disturbs_nothing(url: str, transport: str) -> None:
    client = Client(url, transports=[transport])
    got: list[Any] = []
    ended: list[Any] = []
    client.on("echoed", lambda *args: got.append(args))
    client.on("disconnect", lambda *args: ended.append(args))

    def child() -> Any:
        found = [client.connected, client.io.connected, client.id, client.emit("echo event", "from the child")]
        time.sleep(0.3)  # its hub gets a turn, if there is one
        client.disconnect()
        client.io.close()
        return [*found, ended]

    with client:
        with forked(child) as it:
            for number in range(20):
                client.emit("echo event", number)
                assert client.emit_with_ack("echo", number, timeout=5) == number
            assert it.outcome() == "[False, False, None, True, []]"
        assert client.emit_with_ack("echo", "after it", timeout=5) == "after it"
        eventually(lambda: len(got) == 20, "the events")
        assert got == [(number,) for number in range(20)] and ended == []


@TRANSPORTS
def test_a_child_may_connect_and_sends_only_what_it_has_emitted_itself(url: str, transport: str) -> None:
    client = Client(url, transports=[transport])
    client.emit("echo event", "of the parent")

    def child() -> Any:
        got: list[Any] = []
        client.on("echoed", lambda *args: got.append(args))
        client.emit("echo event", "of the child")
        with client:
            assert client.id != parent
            eventually(lambda: got, "the echo")
            return [client.emit_with_ack("echo", 1, timeout=5), got]

    with client:
        parent = client.id
        assert client.emit_with_ack("echo", 1, timeout=5) == 1
        with forked(child) as it:
            assert it.outcome() == "[1, [('of the child',)]]"
        assert client.id == parent and client.emit_with_ack("echo", 2, timeout=5) == 2


def test_a_child_that_ends_leaves_the_connection_alone(url: str) -> None:
    """Its atexit functions and the end of its objects as well."""
    with SimpleClient(url) as client:
        with forked(client.disconnect) as it:
            assert it.outcome() == "None"
        assert client.call("echo", 1) == 1
