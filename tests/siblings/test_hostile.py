"""Whoever connects to a sibling's socket: at worst its link is closed, and told once; nothing is left or held up."""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from tests.siblings.conftest import ByHand, Member, Process, Raw, dial_by_hand, soon
from tests.support.inprocess import open_descriptors
from wsgi_sio.siblings import encode
from wsgi_sio.siblings import siblings as module

MakeMember = Callable[..., Member]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, "wsgi_sio")
    return caplog


def warnings(log: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in log.records if record.levelno >= logging.WARNING]


def befriend(member: Member, by_hand: ByHand) -> Raw:
    """Become a sibling; what is returned is the link that was dialled by hand."""
    by_hand.listen()
    theirs = by_hand.dial(member.tag)
    theirs.send(1, 0, by_hand.hello())
    near = by_hand.accept()
    assert near.receive().kind == 1
    near.send(2, 0, b'{"version": 1}')
    assert theirs.receive().kind == 2
    soon(lambda: by_hand.tag in member.knows(), "the news")
    return theirs


def hello(tag: str, **other: Any) -> bytes:
    return json.dumps({"version": 1, "tag": tag, "load": 0, "draining": False, "topics": [], **other}).encode()


@pytest.mark.parametrize(
    "first",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        bytes(1000),
        b"\xff" * 1000,
        encode(1, 0, b"junk"),
        encode(1, 0, b"{}"),
        encode(1, 0, b"[" * 100_000),
        encode(1, 0, hello("../x")),
        encode(1, 0, hello("abcde")),
        encode(1, 0, hello("abc\0")),
        encode(1, 0, hello("none")),  # nobody listens there
        encode(2, 0, b'{"version": 1}'),
        encode(3, 5, b""),
        encode(7, 0, b""),
        encode(0, 0, b""),
        encode(15, 0, b""),
        encode(16, 0, b"no hello before"),
        (17 << 20).to_bytes(4, "little") + b"\x01" + bytes(4),  # a HELLO of 17 MB is promised
    ],
)
def test_junk_is_turned_away(make_member: MakeMember, log: pytest.LogCaptureFixture, first: bytes) -> None:
    member = make_member()
    for _ in range(3):
        raw = dial_by_hand(member.siblings._socket_file._directory, member.tag)
        with suppress(OSError):
            raw.send_bytes(first)
        assert raw.at_end()
        raw.close()
    assert len(warnings(log)) == 1
    assert member.siblings.links() == () and member.news == [] and member.got == []
    # and it is as open as before
    other = make_member()
    soon(lambda: member.knows() == {other.tag}, "the news")


def test_its_own_tag_is_nobody_elses(make_member: MakeMember, directory: str) -> None:
    member = make_member()
    raw = dial_by_hand(directory, member.tag)
    raw.send(1, 0, hello(member.tag))
    assert raw.at_end()
    raw.close()


def test_a_tag_of_another_process(
    make_member: MakeMember, directory: str, start: Callable[..., Process], log: pytest.LogCaptureFixture
) -> None:
    """The kernel tells who has dialled, and who listens there."""
    member, process = make_member(), start().joined()
    soon(lambda: member.knows() == {process.tag}, "the news")
    raw = dial_by_hand(directory, member.tag)
    raw.send(1, 0, hello(process.tag, load=1_000_000))
    assert raw.at_end()
    raw.close()
    assert any(f"says that it is {process.tag}, and is not" in line for line in warnings(log))
    (link,) = member.siblings.links()
    assert link.open and link.load == 0
    assert process.ask("send", member.tag, 16, 5, "still friends") is not None
    soon(lambda: member.got, "the frame")


def test_who_changes_its_name(make_member: MakeMember, by_hand: ByHand) -> None:
    member, other = make_member(), make_member()
    raw = befriend(member, by_hand)
    raw.send(1, 0, hello(other.tag))
    assert raw.at_end()


def test_another_version_is_told_once_and_not_linked(
    make_member: MakeMember, by_hand: ByHand, log: pytest.LogCaptureFixture
) -> None:
    member = make_member()
    for _ in range(2):
        raw = by_hand.dial(member.tag)
        raw.send(1, 0, by_hand.hello(version=2, tag=None, more="things"))
        answer = raw.receive()
        assert answer.kind == 2 and json.loads(answer.payload) == {"version": 1}
        assert raw.at_end()
    assert len(warnings(log)) == 1 and "version 2" in warnings(log)[0]
    assert member.siblings.links() == () and member.news == []


def test_another_version_where_we_dial(make_member: MakeMember, by_hand: ByHand, log: pytest.LogCaptureFixture) -> None:
    by_hand.listen()
    member = make_member(join=False)
    ends: list[bool] = []
    member.siblings.join(0.1)
    (link,) = member.siblings.links()
    link.on_end(lambda: ends.append(True))
    raw = by_hand.accept()
    assert raw.receive().kind == 1
    raw.send(2, 0, b'{"version": 2}')
    assert raw.at_end()
    soon(lambda: ends, "the end")
    assert member.siblings.links() == () and member.siblings.reach(by_hand.tag) is None
    assert len(warnings(log)) == 1 and member.news == []


def test_half_a_hello_and_then_silence(
    make_member: MakeMember, directory: str, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_INTRODUCTION", 0.3)
    member = make_member()
    raws = [dial_by_hand(directory, member.tag) for _ in range(5)]
    for raw in raws[1:]:
        raw.send_bytes(encode(1, 0, hello("abcd"))[:20])
    for raw in raws:
        assert raw.at_end()
        raw.close()
    assert len(warnings(log)) == 1
    soon(lambda: not (member.siblings._table.inbound or member.siblings._table.strangers), "them to be forgotten")


def test_strangers_are_bounded(make_member: MakeMember, directory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_STRANGERS", 10)
    member = make_member()
    raws = [dial_by_hand(directory, member.tag) for _ in range(15)]
    for raw in raws[10:]:
        assert raw.at_end()
    assert len(member.siblings._table.strangers) == 10
    for raw in raws:
        raw.close()
    soon(lambda: not member.siblings._table.strangers, "them to be forgotten")
    other = make_member()
    assert [link.tag for link in other.siblings.links()] == [member.tag]


def test_unknown_kinds_are_dropped_and_told_once(
    make_member: MakeMember, by_hand: ByHand, log: pytest.LogCaptureFixture
) -> None:
    member = make_member()
    raw = befriend(member, by_hand)
    before = open_descriptors()
    reading, writing = os.pipe()
    for number in range(2000):
        raw.send(100, number, b"?", *([reading] if number % 10 == 0 else []))
    raw.send(16, 7, b"known")
    soon(lambda: member.got, "the frame behind")
    os.close(reading)
    os.close(writing)
    assert member.got == [(by_hand.tag, 16, 7, b"known", None)]
    assert len(warnings(log)) == 1 and "kind 100" in warnings(log)[0]
    soon(lambda: open_descriptors() <= before, "the descriptors")


@pytest.mark.parametrize("how", ["reserved", "welcome", "hello with", "bye with", "topic", "not announced", "missing"])
def test_a_sibling_that_breaks_the_rules(
    make_member: MakeMember, by_hand: ByHand, log: pytest.LogCaptureFixture, how: str
) -> None:
    """Its link is closed; it may come again, and is a sibling as before then."""
    member = make_member()
    raw = befriend(member, by_hand)
    before = open_descriptors()
    with socket.socket() as some:
        if how == "reserved":
            raw.send(15, 0, b"")
        elif how == "welcome":
            raw.send(2, 0, b'{"version": 1}')
        elif how == "hello with":
            raw.send(1, 0, by_hand.hello(), some.fileno())
        elif how == "bye with":
            raw.send(7, 0, b"", some.fileno())
        elif how == "topic":
            raw.send(4, 0, b"\xff")
        elif how == "not announced":
            raw.send(16, 0, b"", some.fileno(), announced=False)
        else:
            raw.send(16, 0, b"", announced=True)
        assert raw.at_end()
    soon(lambda: open_descriptors() < before, "the descriptors")
    assert len(warnings(log)) == 1 and "(broken link)" in warnings(log)[0]
    again = by_hand.dial(member.tag)
    again.send(1, 0, by_hand.hello(load=9))
    assert again.receive().kind == 2
    again.send(16, 1, b"again")
    soon(lambda: member.got, "the frame")
    assert member.siblings.links()[0].load == 9


def test_what_comes_on_an_older_link_is_out_of_date(make_member: MakeMember, by_hand: ByHand) -> None:
    member = make_member()
    old = befriend(member, by_hand)
    new = by_hand.dial(member.tag)
    new.send(1, 0, by_hand.hello(load=20, topics=["new"]))
    assert new.receive().kind == 2
    old.send(3, 99)
    old.send(1, 0, by_hand.hello(load=98, topics=["old"]))
    assert old.receive().kind == 2
    (link,) = member.siblings.links()
    assert link.load == 20 and link.topics == {"new"}
    new.send(3, 30)
    soon(lambda: link.load == 30, "the load")
    new.close()
    old.send(3, 40)  # there is no newer one any more
    soon(lambda: len(member.siblings._table.inbound) == 1, "the end of the newer")
    old.send(3, 41)
    soon(lambda: link.load == 41, "the load")


def test_floods_hold_nobody_up(make_member: MakeMember, by_hand: ByHand) -> None:
    """One sibling sends as fast as it can; another is heard all the same."""
    member, other = make_member(), make_member()
    raw = befriend(member, by_hand)
    raw.sock.setblocking(False)
    link = other.siblings.reach(member.tag)
    assert link is not None
    flood = encode(100, 0, bytes(2000)) * 30

    def push() -> None:
        # A part of a frame may have gone: then the rest is junk, which is as good, until the link is closed for it.
        with suppress(OSError):
            raw.sock.send(flood)

    for number in range(100):
        push()
        assert link.send(16, number, b"")

    def heard() -> bool:
        push()
        return len(member.got) == 100

    soon(heard, "the other one")


def test_who_sends_answers_and_reads_none_is_cut_off(make_member: MakeMember, by_hand: ByHand) -> None:
    """What it asks for fills the outbox of its link, which is bounded."""
    member = make_member(join=False, max_outbox=100_000)
    member.siblings.handle(30, lambda link, number, payload, descriptor: link.send(31, number, bytes(5000)))  # type: ignore[arg-type, func-returns-value]
    member.siblings.join(0.1)
    by_hand.listen()
    theirs = by_hand.dial(member.tag)
    theirs.send(1, 0, by_hand.hello())
    with suppress(OSError):
        for number in range(1000):
            theirs.send(30, number)
    soon(lambda: member.siblings.lost > 10, "the cut")
