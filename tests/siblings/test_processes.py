"""Siblings in processes of their own: start, death, standing still, being cut off, children."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest

from tests.siblings.conftest import PATIENCE, Member, Process, soon
from tests.support.forking import forked
from tests.support.freezing import freeze, thaw
from tests.support.inprocess import open_descriptors
from tests.support.waiting import readable

Start = Callable[..., Process]
MakeMember = Callable[..., Member]


def everybody_knows(processes: list[Process]) -> None:
    tags = {process.tag for process in processes}
    for process in processes:
        soon(lambda process=process: set(process.ask("knows")) == tags - {process.tag}, "all to know all")  # type: ignore[misc]


@pytest.mark.slow
def test_eight_that_start_together_all_see_each_other(start: Start) -> None:
    processes = [start() for _ in range(8)]
    for process in processes:
        process.joined()
    # It is so when join() has returned, on both sides.
    tags = sorted(process.tag for process in processes)
    for process in processes:
        assert process.ask("links") == [tag for tag in tags if tag != process.tag]
    everybody_knows(processes)
    for number, process in enumerate(processes):
        for other in processes:
            if other is not process:
                assert process.ask("send", other.tag, 16, number, "hello") is not None
    for process in processes:
        soon(lambda process=process: process.ask("count") == 7, "all greetings")  # type: ignore[misc]


def test_death_is_seen_at_once_by_all(start: Start, directory: str) -> None:
    processes = [start() for _ in range(4)]
    for process in processes:
        process.joined()
    everybody_knows(processes)
    victim, *others = processes
    victim.kill()
    died = time.monotonic()
    for other in others:
        soon(lambda other=other: ["left", victim.tag] in other.ask("news"), "the news")  # type: ignore[misc]
    assert time.monotonic() - died < 5
    for other in others:
        news = other.ask("news")
        assert [what for what, tag in news if tag == victim.tag] == ["joined", "left"]
        assert other.ask("send", victim.tag, 16, 0, "too late") is None
    soon(lambda: not os.path.exists(os.path.join(directory, victim.tag)), "its file to be removed")


def test_exit_is_a_good_bye(start: Start, directory: str) -> None:
    one, two = start().joined(), start().joined()
    everybody_knows([one, two])
    with pytest.raises((AssertionError, ConnectionError)):
        one.ask("exit")
    soon(lambda: ["left", one.tag] in two.ask("news"), "the news")
    assert os.listdir(directory) == [two.tag]


@pytest.mark.slow
def test_one_that_stands_still_holds_up_nobody(start: Start) -> None:
    """Who sends to it goes on; who joins is patient, within its bound; and all is there when it goes on."""
    frozen, other = start().joined(), start().joined()
    everybody_knows([frozen, other])
    freeze(frozen.child.pid)
    took = 0.0
    for number in range(300):
        took = max(took, other.ask("send", frozen.tag, 16, number, "x" * 10_000))
    assert took < 2
    late = start()
    soon(lambda: len(other.ask("links")) == 2, "one that joins")  # which is patient
    thaw(frozen.child.pid)
    late.joined()
    everybody_knows([frozen, other, late])
    soon(lambda: frozen.ask("count") == 300, "all that was sent")
    assert [number for _, _, number, _ in frozen.ask("got")] == list(range(300))


def test_one_that_takes_nothing_is_cut_off_and_comes_back(make_member: MakeMember, start: Start) -> None:
    member = make_member(max_outbox=500_000)
    frozen = start().joined()
    soon(lambda: member.knows() == {frozen.tag}, "the news")
    freeze(frozen.child.pid)
    (link,) = member.siblings.links()
    number = 0
    while link.open:
        number += 1
        link.send(16, number, bytes(10_000))
        assert number < 10_000
    assert member.siblings.lost > 10
    thaw(frozen.child.pid)
    # Its end is read when all before has been; then it says hello again, and is dialled.
    soon(lambda: member.news == [("joined", frozen.tag), ("left", frozen.tag), ("joined", frozen.tag)], "its return")
    again = member.siblings.reach(frozen.tag)
    assert again is not None and again is not link and again.send(16, 0, b"again")
    soon(lambda: frozen.ask("got")[-1] == [member.tag, 16, 0, "again"], "the frame")
    got = [number for _, _, number, _ in frozen.ask("got")[:-1]]
    assert got == list(range(1, len(got) + 1))
    assert frozen.ask("send", member.tag, 17, 5, "back") is not None
    soon(lambda: member.got, "the answer")


def test_children_of_other_programs_keep_no_link_alive(make_member: MakeMember, start: Start) -> None:
    member = make_member()
    process = start().joined()
    soon(lambda: member.knows() == {process.tag}, "the news")
    pid = process.ask("sleepers")
    try:
        process.kill()
        soon(lambda: ("left", process.tag) in member.news, "the news")
        assert os.path.exists(f"/proc/{pid}") or not os.path.isdir("/proc/self")
    finally:
        os.kill(pid, signal.SIGKILL)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_children_of_this_program_keep_no_link_alive(make_member: MakeMember, start: Start, directory: str) -> None:
    member = make_member()
    process = start().joined()
    soon(lambda: member.knows() == {process.tag}, "the news")
    pid = process.ask("fork")
    try:
        process.kill()
        soon(lambda: ("left", process.tag) in member.news, "the news")
        soon(lambda: not os.path.exists(os.path.join(directory, process.tag)), "its file to be removed")
    finally:
        os.kill(pid, signal.SIGKILL)


def test_a_child_neither_speaks_nor_ends_anything(make_member: MakeMember, directory: str) -> None:
    one, two = make_member(), make_member()
    (link,) = one.siblings.links()
    before = sorted(os.listdir(directory))

    def child() -> str:
        assert one.siblings.links() == () and one.siblings.reach(two.tag) is None
        assert not link.open and not link.send(16, 0, b"from the child") and link.fileno() == -1
        one.siblings.tell_load(50)
        one.siblings.subscribe("child")
        one.siblings.leave()
        two.siblings.leave()
        one.siblings.join()
        return "quiet"

    with forked(child) as forked_child:
        assert forked_child.outcome() == "quiet"
    assert sorted(os.listdir(directory)) == before
    assert link.send(16, 1, b"from the parent")
    soon(lambda: two.got == [(one.tag, 16, 1, b"from the parent", None)], "the frame")
    assert two.siblings.links()[0].load == 0 and two.knows() == {one.tag}


def test_a_child_has_siblings_of_its_own(make_member: MakeMember, reactor: object, directory: str) -> None:
    """As a server does that was made before the fork: a reactor and siblings of the child."""
    one = make_member()

    def child() -> str:
        from wsgi_sio.runtime import create_reactor

        member = Member(create_reactor(), directory)
        member.siblings.join(PATIENCE)
        assert [link.tag for link in member.siblings.links()] == [one.tag]
        assert member.siblings.links()[0].send(16, 1, b"from the child")
        soon(lambda: member.got, "the answer")
        member.siblings.leave()
        return "joined"

    with forked(child) as forked_child:
        soon(lambda: one.got, "the frame")
        (answer,) = one.siblings.links()
        assert answer.send(17, 2, b"")
        assert forked_child.outcome() == "joined"
    soon(lambda: [what for what, _ in one.news] == ["joined", "left"], "the news")


def test_a_child_closes_what_was_waiting_to_be_sent(make_member: MakeMember, start: Start) -> None:
    """A client's connection that waits for a stopped sibling is not kept open by a child."""
    member = make_member()
    frozen = start().joined()
    soon(lambda: member.knows() == {frozen.tag}, "the news")
    freeze(frozen.child.pid)
    (link,) = member.siblings.links()
    while not link.outbox_size:
        link.send(40, 0, bytes(10_000))
    reading, writing = os.pipe()
    assert link.send(16, 0, b"", writing, os.close)

    def child() -> str:
        signal.alarm(60)
        while True:
            signal.pause()

    with forked(child):
        link.close()
        # Readable at its end: nobody has the other one any more.
        soon(lambda: readable(reading), "the end")
    os.close(reading)


def test_a_thousand_connections_handed_over(make_member: MakeMember, start: Start) -> None:
    member = make_member()
    process = start().joined()
    soon(lambda: member.knows() == {process.tag}, "the news")
    before, there = open_descriptors(), process.ask("descriptors")
    for _ in range(200):
        for number in range(5):
            assert process.ask("hand_over", member.tag, number)
        soon(lambda: len(member.got) == 5, "five connections")
        for *_, descriptor in member.got:
            assert descriptor is not None
            os.close(descriptor)
        member.got.clear()
    soon(lambda: open_descriptors() <= before, "the descriptors")
    assert process.ask("descriptors") <= there + 1


def test_one_that_has_no_descriptor_left(make_member: MakeMember, start: Start) -> None:
    """The kernel drops what it cannot give: the link is broken, told once, and dialled again."""
    member = make_member()
    process = start().joined()
    soon(lambda: member.knows() == {process.tag}, "the news")
    process.ask("limit", 0)
    reading, writing = os.pipe()
    link = member.siblings.reach(process.tag)
    assert link is not None
    for number in range(3):
        assert link.send(16, number, b"")
    assert link.send(16, 3, b"", reading)
    soon(lambda: not link.open, "the end")
    process.ask("unlimit")

    def sent() -> bool:
        again = member.siblings.reach(process.tag)
        return again is not None and again.send(17, 4, b"", os.dup(writing))

    soon(sent, "another link")
    soon(lambda: [number for _, _, number, _ in process.ask("got")][-1:] == [4], "the frame")
    assert [number for _, _, number, _ in process.ask("got")][:3] == [0, 1, 2]
    os.close(writing)
    errors = process.end()
    assert errors.count("WARNING:wsgi_sio.siblings:siblings (broken link)") == 1
