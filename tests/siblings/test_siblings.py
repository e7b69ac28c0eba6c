"""Siblings in one process: finding each other, telling, leaving, files."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.siblings.conftest import PATIENCE, ByHand, Member, native_threads, soon
from tests.support.inprocess import Background, at_once, open_descriptors
from tests.support.world import WORLD
from wsgi_sio.runtime import Reactor
from wsgi_sio.siblings import Siblings, is_tag

MakeMember = Callable[..., Member]


def tags(member: Member) -> set[str]:
    return {link.tag for link in member.siblings.links()}


def test_each_knows_each_when_join_returns(make_member: MakeMember) -> None:
    members: list[Member] = []
    for _ in range(4):
        members.append(make_member())
        everybody = {member.tag for member in members}
        for member in members:
            assert tags(member) == everybody - {member.tag}
        assert all(link.known and link.welcomed for link in members[-1].siblings.links())
    for member in members:
        soon(lambda member=member: member.knows() == everybody - {member.tag}, "the news")
        assert is_tag(member.tag)


def test_many_at_once(make_member: MakeMember) -> None:
    members = at_once(8, lambda number: make_member(), PATIENCE)
    everybody = {member.tag for member in members}
    assert len(everybody) == 8
    for member in members:
        soon(lambda member=member: member.knows() == everybody - {member.tag}, "the news")


def test_alone_nobody_is_waited_for(reactor: Reactor, directory: str) -> None:
    siblings = Siblings(reactor, directory)
    began = time.monotonic()
    siblings.join(1000)
    siblings.join(1000)
    assert time.monotonic() - began < PATIENCE
    assert siblings.links() == () and siblings.reach("abcd") is None
    assert stat.S_IMODE(os.stat(os.path.join(directory, siblings.tag)).st_mode) == 0o600
    siblings.leave()
    siblings.leave()
    siblings.join()
    assert os.listdir(directory) == []


def test_all_who_join_at_once_wait_for_the_same(make_member: MakeMember, by_hand: ByHand) -> None:
    """The sibling by hand answers late; nobody comes back before it has, and nobody joins twice."""
    by_hand.listen()
    member = make_member(join=False)
    callers = [Background(member.siblings.join, PATIENCE) for _ in range(3)]
    link = by_hand.accept()
    assert link.receive().kind == 1
    assert not any(caller.done for caller in callers)
    theirs = by_hand.dial(member.tag)
    theirs.send(1, 0, by_hand.hello())
    assert theirs.receive().kind == 2
    assert not any(caller.done for caller in callers)
    link.send(2, 0, b'{"version": 1}')
    for caller in callers:
        caller.result(PATIENCE)
    assert member.knows() == {by_hand.tag}


def test_who_does_not_answer_is_waited_for_with_patience(make_member: MakeMember, by_hand: ByHand) -> None:
    by_hand.listen()
    member = make_member(join=False)
    began = time.monotonic()
    member.siblings.join(0.3)
    assert 0.25 < time.monotonic() - began < PATIENCE
    again = time.monotonic()
    member.siblings.join(1000)  # nobody waits twice
    assert time.monotonic() - again < PATIENCE
    (link,) = member.siblings.links("anything")  # who knows what it wants to hear?
    assert link.tag == by_hand.tag and not link.known
    assert member.news == []
    # It wakes up, and has lost nothing.
    link.send(16, 5, b"meanwhile")
    near = by_hand.accept()
    assert [near.receive().kind for _ in range(2)] == [1, 16]
    theirs = by_hand.dial(member.tag)
    theirs.send(1, 0, by_hand.hello(topics=["/"], load=7))
    near.send(2, 0, b'{"version": 1}')
    soon(lambda: member.news == [("joined", by_hand.tag)], "the news")
    assert link.load == 7 and member.siblings.links("anything") == () and member.siblings.links("/") == (link,)


def test_messages_and_answers(make_member: MakeMember) -> None:
    one, two = make_member(), make_member()
    link = one.siblings.reach(two.tag)
    assert link is not None and link is one.siblings.links()[0]
    reading, writing = os.pipe()
    for number in range(200):
        assert link.send(16, number, b"x" * number, os.dup(reading) if number % 10 == 0 else None)
    soon(lambda: len(two.got) == 200, "all frames")
    for number, (tag, kind, got, payload, descriptor) in enumerate(two.got):
        assert (tag, kind, got, len(payload)) == (one.tag, 16, number, number)
        assert (descriptor is not None) == (number % 10 == 0)
        if descriptor is not None:
            os.close(descriptor)
    os.close(reading)
    os.close(writing)


def test_what_is_answered_on_the_link_comes_to_who_asked(make_member: MakeMember) -> None:
    one, two = make_member(join=False), make_member(join=False)
    answers: list[tuple[str, int]] = []
    one.siblings.handle(21, lambda link, number, payload, descriptor: answers.append((link.tag, number)))

    def answer(link: Any, number: int, payload: bytes, descriptor: int | None) -> None:
        assert link.inbound and link.send(21, number, b"")

    two.siblings.handle(20, answer)
    one.siblings.join(PATIENCE)
    two.siblings.join(PATIENCE)
    link = one.siblings.reach(two.tag)
    assert link is not None and all(link.send(20, number, b"") for number in range(50))
    soon(lambda: answers == [(two.tag, number) for number in range(50)], "the answers")


def test_topics(make_member: MakeMember) -> None:
    one, two = make_member(join=False), make_member(join=False)
    one.siblings.subscribe("before")
    one.siblings.join(PATIENCE)
    two.siblings.join(PATIENCE)
    assert [link.tag for link in two.siblings.links("before")] == [one.tag]
    assert two.siblings.links("after") == ()
    one.siblings.subscribe("after")
    one.siblings.subscribe("after")
    soon(lambda: two.siblings.links("after"), "the topic")
    assert two.siblings.links()[0].topics == {"before", "after"}
    one.siblings.unsubscribe("before")
    one.siblings.unsubscribe("never")
    soon(lambda: two.siblings.links()[0].topics == {"after"}, "the change")
    assert one.siblings.links("after") == ()


def test_loads_and_draining(make_member: MakeMember) -> None:
    one, two = make_member(join=False), make_member(join=False)
    one.siblings.tell_load(100)
    one.siblings.join(PATIENCE)
    two.siblings.join(PATIENCE)
    (link,) = two.siblings.links()
    assert link.load == 100 and not link.draining
    for load in (101, 99, 102):  # 2 % are worth telling
        one.siblings.tell_load(load)
    soon(lambda: link.load == 102, "the load")
    one.siblings.tell_load(1)
    one.siblings.tell_load(2)
    soon(lambda: link.load == 2, "the load")
    one.siblings.tell_load(0)
    one.siblings.tell_draining()
    one.siblings.tell_draining()
    soon(lambda: link.draining, "the draining")
    assert link.load == 0


def test_changes_while_others_join_are_missed_by_nobody(make_member: MakeMember) -> None:
    one = make_member()
    stop = threading.Event()

    def change() -> int:
        number = 0
        while not stop.is_set():
            number += 1
            one.siblings.subscribe(f"/{number}")
            one.siblings.unsubscribe(f"/{number - 3}")
            one.siblings.tell_load(number)
            time.sleep(0)
        return number

    changing = Background(change)
    others = at_once(5, lambda number: make_member(), PATIENCE)
    stop.set()
    last = changing.result(PATIENCE)
    expected = {f"/{number}" for number in range(max(1, last - 2), last + 1)}
    for other in others:
        link = other.siblings.reach(one.tag)
        assert link is not None
        soon(lambda link=link: link.topics == expected, "the topics")
        assert abs(link.load - last) <= max(1, last * 0.02)


def test_leaving_is_told_at_once_and_leaves_nothing(make_member: MakeMember, directory: str) -> None:
    before = open_descriptors()
    one, two, three = (make_member() for _ in range(3))
    ends: list[str] = []
    for link in two.siblings.links():
        link.on_end(lambda link=link: ends.append(link.tag))  # type: ignore[misc]
    one.siblings.leave()
    for member in (two, three):
        soon(lambda member=member: ("left", one.tag) in member.news, "the news")
        assert one.tag not in tags(member) and member.siblings.reach(one.tag) is None
    assert ends == [one.tag]
    assert one.siblings.links() == () and one.siblings.reach(two.tag) is None
    assert sorted(os.listdir(directory)) == sorted([two.tag, three.tag])
    for member in (two, three):
        member.siblings.leave()
    if before >= 0:
        soon(lambda: open_descriptors() <= before + 4, "the descriptors")  # those of the reactor are there now
    assert one.news.count(("joined", two.tag)) == one.news.count(("left", two.tag)) == 1


def test_what_waits_when_we_leave_is_written_if_that_is_soon_done(make_member: MakeMember) -> None:
    """A command that emits ends right after."""
    one, two = make_member(), make_member()
    (link,) = one.siblings.links()
    for number in range(3):
        link.send(16, number, bytes(800_000))
    one.siblings.leave()
    soon(lambda: [frame[2] for frame in two.got] == [0, 1, 2], "all frames")


def test_what_waits_when_we_leave_is_given_back(make_member: MakeMember, by_hand: ByHand) -> None:
    by_hand.listen()
    member = make_member(join=False)
    member.siblings.join(0.1)
    (link,) = member.siblings.links()
    while not link.outbox_size:
        link.send(40, 0, bytes(10_000))
    reading, writing = os.pipe()
    back: list[int] = []
    assert link.send(16, 0, b"", reading, back.append)
    member.siblings.leave()
    assert back == [reading]
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize("tag", ["", "abc", "abcde", "../x", "..", "a/bc", ".abc", "abc\0", "ab\nc"])
def test_reach_takes_no_paths(make_member: MakeMember, directory: str, tag: str) -> None:
    member = make_member()
    assert member.siblings.reach(tag) is None
    assert member.siblings.reach(member.tag) is None


def test_reach_before_join_finds_nobody(make_member: MakeMember) -> None:
    one, two = make_member(), make_member(join=False)
    assert two.siblings.reach(one.tag) is None


def test_kinds_are_taken_once_and_not_ours() -> None:
    from wsgi_sio.runtime import create_reactor

    reactor = create_reactor()
    siblings = Siblings(reactor, "nowhere")
    siblings.handle(16, lambda *args: None)
    for kind in (16, 15, 1, 128):
        with pytest.raises(ValueError):
            siblings.handle(kind, lambda *args: None)
    reactor.close()


def test_failing_handlers_and_listeners_end_nothing(make_member: MakeMember, caplog: pytest.LogCaptureFixture) -> None:
    one, two = make_member(join=False), make_member(join=False)

    def fail(*args: Any) -> None:
        raise ValueError("on purpose")

    two.siblings.handle(30, fail)
    two.siblings.on_joined(fail)
    two.siblings.on_left(fail)
    later: list[str] = []
    two.siblings.on_left(later.append)
    one.siblings.join(PATIENCE)
    two.siblings.join(PATIENCE)
    link = one.siblings.reach(two.tag)
    assert link is not None and link.send(30, 0, b"") and link.send(16, 1, b"")
    soon(lambda: two.got, "the frame behind")
    one.siblings.leave()
    soon(lambda: later == [one.tag], "the news")
    assert caplog.text.count("on purpose") >= 3


# -- files -------------------------------------------------------------------------------------------------------


def dead_file(path: Path, listening: bool = True) -> None:
    """What a process leaves that is killed."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        if listening:
            sock.listen()


def test_files_of_the_dead_are_removed_and_no_others(make_member: MakeMember, directory: str) -> None:
    where = Path(directory)
    dead_file(where / "dead")
    dead_file(where / ".olds")
    dead_file(where / ".news", listening=False)
    dead_file(where / ".half", listening=False)
    dead_file(where / "too-long-for-a-tag")
    os.utime(where / ".half", (1, 1))
    os.utime(where / ".olds", (1, 1))
    (where / "file").write_text("not a socket")
    (where / ".file").write_text("nor this")
    (where / "fold").mkdir()
    member = make_member()
    assert member.siblings.links() == ()
    assert set(os.listdir(where)) == {member.tag, ".news", ".file", "file", "fold", "too-long-for-a-tag"}


def test_the_file_of_one_that_dies_while_it_is_dialled_is_removed(
    make_member: MakeMember, by_hand: ByHand, directory: str
) -> None:
    """Its listening socket may be the last that the kernel closes, so that it can be dialled once more."""
    by_hand.listen()
    member = make_member(join=False)
    member.siblings.join(0.1)
    by_hand.accept()
    by_hand.close()
    soon(lambda: os.listdir(directory) == [member.tag], "the file to be removed")
    assert member.siblings.links() == () and member.news == []


@pytest.mark.parametrize("name", ["{}", ".{}"])
def test_a_tag_that_is_taken_is_not_taken_again(make_member: MakeMember, directory: str, name: str) -> None:
    member = make_member(join=False)
    taken = member.tag
    Path(directory, name.format(taken)).write_text("here")
    member.siblings.join(PATIENCE)
    assert member.tag != taken and is_tag(member.tag)
    assert Path(directory, name.format(taken)).read_text() == "here"


def test_our_file_is_made_anew(make_member: MakeMember, directory: str) -> None:
    """Somebody cleans up; who starts later finds us all the same, and links that there are go on."""
    one, two = make_member(look_every=0.05), make_member(look_every=0.05)
    links = one.siblings.links()
    for _ in range(3):
        for member in (one, two):
            os.unlink(os.path.join(directory, member.tag))
        soon(lambda: set(os.listdir(directory)) >= {one.tag, two.tag}, "both files")
    assert one.siblings.links() == links
    three = make_member()
    assert tags(three) == {one.tag, two.tag}


def test_who_starts_while_our_file_is_away_is_found(make_member: MakeMember, directory: str) -> None:
    one = make_member(look_every=0.5)
    os.unlink(os.path.join(directory, one.tag))
    two = make_member()
    soon(lambda: one.knows() == {two.tag} and two.knows() == {one.tag}, "each other")


def test_the_whole_directory_is_made_anew(make_member: MakeMember, directory: str) -> None:
    one = make_member(look_every=0.05, make_directory=lambda: os.makedirs(directory, 0o700, exist_ok=True))
    shutil.rmtree(directory)
    soon(lambda: os.path.exists(os.path.join(directory, one.tag)), "the file")
    two = make_member()
    assert tags(two) == {one.tag}


def test_a_directory_that_stays_away_is_told_once(
    make_member: MakeMember, directory: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "wsgi_sio")
    make_member(look_every=0.02)
    shutil.rmtree(directory)
    soon(lambda: caplog.text.count("(no file)") >= 3, "some looks")
    assert [record.levelno for record in caplog.records if "(no file)" in record.message].count(logging.WARNING) == 1
    os.makedirs(directory, 0o700)


def test_no_directory(reactor: Reactor, directory: str) -> None:
    siblings = Siblings(reactor, os.path.join(directory, "none"))
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            siblings.join()
    os.mkdir(os.path.join(directory, "none"))
    siblings.join()
    siblings.leave()


def test_all_who_wait_are_told_that_it_failed(reactor: Reactor, directory: str) -> None:
    siblings = Siblings(reactor, os.path.join(directory, "none"))

    def join(number: int) -> bool:
        try:
            siblings.join(PATIENCE)
        except OSError:
            return True
        return False

    assert at_once(4, join, PATIENCE) == [True] * 4


def test_a_path_that_is_too_long_for_a_socket(reactor: Reactor, directory: str) -> None:
    long = os.path.join(directory, "d" * 120)
    os.mkdir(long)
    before = open_descriptors()
    one, two = Siblings(reactor, long), Siblings(reactor, long)
    one.join(PATIENCE)
    two.join(PATIENCE)
    assert [link.tag for link in one.links()] == [two.tag]
    one.leave()
    two.leave()
    assert os.listdir(long) == []
    soon(lambda: open_descriptors() <= before + 4, "the descriptors")


def test_ten_thousand_frames_with_descriptors(make_member: MakeMember) -> None:
    one, two = make_member(join=False), make_member(join=False)
    count = [0]

    def close(link: Any, number: int, payload: bytes, descriptor: int | None) -> None:
        assert descriptor is not None and number == count[0]
        os.close(descriptor)
        count[0] += 1

    two.siblings.handle(30, close)
    one.siblings.join(PATIENCE)
    two.siblings.join(PATIENCE)
    link = one.siblings.reach(two.tag)
    assert link is not None
    reading, writing = os.pipe()
    before, threads = open_descriptors(), native_threads()
    sent = 0
    while sent < 10_000:
        if sent - count[0] < 100:
            assert link.send(30, sent, b"", os.dup(reading))
            sent += 1
        else:
            time.sleep(0.001)
    soon(lambda: count[0] == 10_000, "all of them")
    soon(lambda: open_descriptors() <= before, "the descriptors")
    assert native_threads() <= threads + (0 if WORLD == "gevent" else 2)
    os.close(reading)
    os.close(writing)
