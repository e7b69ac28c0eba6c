"""Frames that no sibling of ours would send: dropped, told once, nothing is leaked or harmed; and many handovers."""

from __future__ import annotations

import gc
import json
import os
import resource
import socket
import struct
import threading
from itertools import product

import pytest

from tests.engineio.conftest import Engine
from tests.engineio.relay.conftest import MakeSiblings, body_of, company, get, link_between, post
from tests.support.inprocess import eventually, open_descriptors
from wsgi_sio.engineio.relay.wire_format import ABORT, ANSWER, NEW, RELEASE, REQUEST
from wsgi_sio.engineio.relay.wire_format import UPGRADE as HANDOVER

Two = tuple[Engine, Engine]

KINDS = (REQUEST, HANDOVER, NEW, ANSWER, RELEASE, ABORT)


def head(value: object, body: bytes = b"") -> bytes:
    text = json.dumps(value).encode()
    return struct.pack("<I", len(text)) + text + body


POLL = "EIO=4&transport=polling&sid="
JUNK = (
    b"",
    b"\1",
    b"\xff\xff\xff\xff",
    b"\xff\xff\xff\xff{}",
    struct.pack("<I", 2) + b"\xff\xfe",
    struct.pack("<I", 100_000) + b"[" * 100_000,
    *map(
        head,
        (
            None, 1, "x", [], {}, [[]], [[], []], [1, 2], [1, 2, 3], [1, 2, 3, 4], [[], [], []], [{}, 0],
            [{}, -1], [{}, 10**30], [{}, "0"], [{}, None], [{}, True],
            ["GET", False, ["", "", ""], []],
            ["GET", False, ["transport=polling", "", ""], [["a"]]],
            ["GET", False, ["transport=polling", "", ""], [[1, 2]]],
            ["GET", False, ["transport=polling", "", 1], []],
            ["GET", False, ["transport=polling", ""], []],
            ["GET", False, ["transport=websocket", "", ""], []],
            ["PUT", False, ["transport=polling", "", ""], []],
            [1, False, ["transport=polling", "", ""], []],
            ["GET", False, ["&" * 5000, "", ""], []],
            ["GET", False, ["transport=polling", "", ""], [], False],
            ["GET", False, ["transport=polling", "", ""], [], 1],
            ["GET", False, ["transport=polling", "", ""], [], True, True], [{}, [], 0, None], [{}, [], 0, True, True],
            [{"QUERY_STRING": "transport=polling"}, 0], [{"QUERY_STRING": 1}, 0], [{"QUERY_STRING": "&" * 5000}, 0],
            [{"QUERY_STRING": 1}, [], 0], [{"QUERY_STRING": "&" * 5000}, [], 0], [{}, [["a"]], 0], [[], [], 0],
            [200, [["a"]]], [999_999, []], ["200", []], [[], None], [None, None],
        ),
    ),
)  # fmt: skip


@pytest.mark.parametrize("with_descriptor", [False, True])
@pytest.mark.parametrize("number", [0, 7])
def test_junk(two: Two, caplog: pytest.LogCaptureFixture, number: int, with_descriptor: bool) -> None:
    holder, owner = two
    polling, session = owner.over_polling()
    link = link_between(holder, owner)
    others = []
    for kind, payload in product(KINDS, JUNK):
        if kind == RELEASE:
            continue  # it has no payload
        mine, theirs = socket.socketpair()
        others.append(mine)
        assert link.send(kind, number, payload, theirs.detach() if with_descriptor else theirs.detach() and None)
    session.send_message("still here")
    assert body_of(get(holder, polling.sid).response()) == "4still here"
    assert link.open
    assert len(owner.engine.sessions) == 1
    told = [record.getMessage() for record in caplog.records if record.levelname in ("WARNING", "ERROR")]
    assert [message[:30] for message in told if "one process" not in message] == ["refused (junk from a sibling):"]
    for sock in others:
        sock.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_descriptor_that_is_missing_or_too_many(two: Two, kind: int) -> None:
    """What has no use for one closes it; what needs one is dropped without."""
    holder, owner = two
    polling, session = owner.over_polling()
    link = link_between(holder, owner)
    query = f"EIO=4&transport=polling&sid={polling.sid}"
    payloads = {
        REQUEST: head(["GET", False, [query, "", ""], []]),
        HANDOVER: head([{"QUERY_STRING": query.replace("polling", "websocket")}, 0]),
        NEW: head([{"QUERY_STRING": "EIO=4&transport=polling"}, [], 0]),
        ANSWER: head([200, []]),
        RELEASE: b"",
        ABORT: head(["x" * 20, "transport error"]),
    }
    descriptors = open_descriptors()
    link.send(kind, 0, payloads[kind])
    session.send_message("1")
    assert body_of(get(holder, polling.sid).response()) == "41"
    if kind in (ANSWER, RELEASE, ABORT):
        mine, theirs = socket.socketpair()
        link.send(kind, 5, payloads[kind], theirs.detach())
        mine.settimeout(5)
        assert mine.recv(1) == b""
        mine.close()
    session.send_message("2")
    assert body_of(get(holder, polling.sid).response()) == "42"
    assert len(owner.engine.sessions) == 1 and session.open
    eventually(lambda: open_descriptors() <= descriptors, "nothing to be left open")


@pytest.mark.parametrize("kind", [REQUEST, HANDOVER, NEW])
def test_a_descriptor_that_is_no_connection(two: Two, kind: int) -> None:
    holder, owner = two
    polling, session = owner.over_polling()
    link = link_between(holder, owner)
    query = f"EIO=4&transport=polling&sid={polling.sid}"
    payload = {
        REQUEST: head(["POST", False, [query, "", ""], []], b"4x"),
        HANDOVER: head([{"QUERY_STRING": query.replace("polling", "websocket")}, 0]),
        NEW: head([{"QUERY_STRING": "EIO=4&transport=websocket"}, [], 3], b"101"),
    }[kind]
    descriptors = open_descriptors()
    for path in ("/dev/null", "/"):
        link.send(kind, 0, payload, os.open(path, os.O_RDONLY))
    session.send_message("on")
    assert body_of(get(holder, polling.sid).response()) == "4on"
    eventually(lambda: open_descriptors() <= descriptors, "nothing to be left open")


def test_answers_and_releases_that_nobody_waits_for(two: Two) -> None:
    holder, owner = two
    polling, session = owner.over_polling()
    back = next(iter(company(owner).siblings._table.inbound))
    for number in (0, 1, 12345, 0xFFFFFFFF):
        back.send(ANSWER, number, head([200, []]))
        link_between(holder, owner).send(RELEASE, number, b"")
    session.send_message("on")
    assert body_of(get(holder, polling.sid).response()) == "4on"


def test_numbers_go_round(two: Two) -> None:
    from itertools import count

    holder, owner = two
    polling, _ = owner.over_polling()
    company(holder).forwarder._numbers = count(0xFFFFFFFE)
    for number in range(4):
        assert holder.request("POST", {}, b"4x", transport="polling", sid=polling.sid).status == 200, number
    assert owner.received == ["x"] * 4


def memory() -> int:
    """Resident bytes."""
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


@pytest.mark.slow
def test_ten_thousand_handovers(make_siblings: MakeSiblings) -> None:
    """Descriptors, memory and threads are as they were."""
    from tests.engineio.test_hijack import echo

    holder, owner = make_siblings(2, echo)

    def some(count: int) -> None:
        polling, session = owner.over_polling()
        for number in range(count):
            assert body_of(post(holder, polling.sid, f"4{number}").response()) == "ok"
            assert body_of(get(holder, polling.sid).response()) == f"4{number}"
            if number % 10 == 0:
                other, _ = owner.over_polling()
                websocket = holder.websocket(other.sid)
                websocket.send("2probe")
                assert websocket.receive() == "3probe"
                websocket.send("5", "4x")
                assert websocket.receive() == "4x"
                websocket.send_close()
                assert websocket.wait_closed() == 1000
                websocket.close()
                post(holder, other.sid, "1").response()
                assert owner.request("POST", {}, b"4y", transport="polling", sid=polling.sid).status == 200
                assert owner.request("GET", transport="polling", sid=polling.sid).body == b"4y"
        session.close(abort=True)
        for engine in (holder, owner):
            engine.sessions.clear()
            engine.received.clear()
            engine.ended.clear()
            engine._sockets.clear()

    some(1000)
    eventually(lambda: not owner.engine.sessions, "the sessions' end")
    before = (open_descriptors(), threading.active_count(), memory())
    for _ in range(5):
        some(1000)
    eventually(lambda: open_descriptors() <= before[0], "the descriptors to be closed")
    eventually(lambda: threading.active_count() <= before[1] + 1, "the threads to end", timeout=30)
    assert memory() - before[2] < 4_000_000, memory() - before[2]
