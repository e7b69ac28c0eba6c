"""Nobody waits for the answers to what is published: a peer answers late, wrongly, or never."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.support.inprocess import DEADLINE, Background, eventually
from tests.support.waiting import readable
from tests.support.world import WORLD
from wsgi_sio.cluster.bus import outbox, redis_publisher
from wsgi_sio.cluster.bus.outage import Outage
from wsgi_sio.cluster.bus.outbox import Item, Outbox
from wsgi_sio.cluster.bus.redis_publisher import PubSubPublisher
from wsgi_sio.cluster.bus.redis_wire import AnswerReader
from wsgi_sio.runtime import Reactor, create_reactor


class Connection:
    """What a client's connection is to a publisher."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def can_read(self, timeout: float) -> bool:
        return readable(self._sock, timeout)

    def disconnect(self) -> None:
        self._sock.close()


class Peer:
    """Makes connections, and is at their other ends."""

    def __init__(self) -> None:
        self.ends: list[socket.socket] = []
        self.reads: list[int] = []  # how many messages came with each

    def connect(self) -> Connection:
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.settimeout(DEADLINE)
        self.ends.append(theirs)
        return Connection(ours)

    def read(self, count: int, answer: bytes = b":1\r\n", *, size: int = 65536) -> list[bytes]:
        """The payloads of so many messages on the last connection; each gets ``answer``."""
        eventually(lambda: self.ends, "a connection")
        found: list[bytes] = []
        reader = AnswerReader()
        while len(found) < count:
            data = self.ends[-1].recv(size)
            assert data, "the connection has ended"
            messages = reader.feed(data)  # commands look like answers
            self.reads.append(len(messages))
            self.ends[-1].sendall(answer * len(messages))
            found += [message[2] for message in messages]
        return found


class Publishing:
    """An outbox before a :class:`Peer`."""

    def __init__(self, reactor: Reactor) -> None:
        self.peer = Peer()
        self.outage = Outage(reactor, "bus")
        self.publisher = PubSubPublisher(self.peer.connect, b"PUBLISH", self.outage.lost, deferring=True)
        self.outbox = Outbox(reactor, self.publisher, self.outage)

    def publish(self, *payloads: bytes) -> None:
        for payload in payloads:
            assert self.outbox.put(Item("c", payload))

    def close(self) -> None:
        for end in self.peer.ends:
            end.close()
        self.outbox.close()
        self.publisher.disconnect()


@pytest.fixture
def publishing() -> Iterator[Publishing]:
    reactor = create_reactor()
    made = Publishing(reactor)
    yield made
    made.close()
    reactor.close()


def many(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


def test_what_is_not_answered_holds_up_nothing_until_it_is_too_much(
    publishing: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_publisher, "_MOST_UNANSWERED", 10)
    monkeypatch.setattr("wsgi_sio.cluster.bus.outbox._SETTLE", 3600)
    for number, payload in enumerate(many(10), start=1):
        publishing.publish(payload)
        eventually(lambda number=number: publishing.publisher._unanswered == number, "that it is sent")
    eventually(lambda: not publishing.outbox._running, "that the job ends")
    publishing.publish(b"one more")
    eventually(lambda: publishing.publisher._unanswered == 11, "that it is sent")
    publishing.publish(b"waits")
    assert publishing.outbox._running and len(publishing.outbox._items) == 1
    assert publishing.peer.read(12) == [*many(10), b"one more", b"waits"]
    eventually(lambda: not publishing.outbox._running, "that the job ends")
    assert publishing.outage.total_lost == 0 and not publishing.outage.lasts


def test_the_last_of_what_is_sent_is_settled_soon(publishing: Publishing) -> None:
    publishing.publish(*many(5))
    assert publishing.peer.read(5) == many(5)
    eventually(lambda: not publishing.publisher.unsettled and not publishing.outbox._running, "the answers")
    assert publishing.outage.total_lost == 0


def test_the_end_of_the_bus_does_not_wait_long_for_answers(
    publishing: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsgi_sio.cluster.bus.outbox._SETTLE", 0.2)
    monkeypatch.setattr("wsgi_sio.cluster.bus.outbox._LAST_WORDS", 0.2)
    monkeypatch.setattr(publishing.outbox, "_settling", True)  # nobody else is at it
    publishing.publish(*many(5))
    eventually(lambda: publishing.publisher._unanswered == 5 and not publishing.outbox._running, "that they are sent")
    before = time.monotonic()
    publishing.outbox.close()
    assert time.monotonic() - before < DEADLINE / 2
    assert publishing.outage.total_lost == 5


def test_a_bus_that_refuses_all_is_tried_less_and_less_often(publishing: Publishing) -> None:
    """That it can be connected to and written to does not mean that it works."""
    outbox, peer = publishing.outbox, publishing.peer
    publishing.publish(b"0")
    for failures in range(1, 4):
        eventually(lambda failures=failures: len(peer.ends) == failures, "another connection")
        eventually(lambda: publishing.publisher.unsettled, "that it is sent")
        peer.read(1, b"-NOPERM\r\n")
        eventually(lambda failures=failures: outbox._failures == failures, "that it grows impatient")
        publishing.publish(b"%d" % failures)
    eventually(lambda: len(peer.ends) == 4, "another connection")
    peer.read(1)
    eventually(lambda: not outbox._failures and not publishing.outage.lasts, "that it works")


@pytest.mark.parametrize("answer", [b"-NOPERM this user has no permissions\r\n", b"+OK\r\n", b"?\r\n"])
def test_an_answer_that_is_none_ends_the_connection(
    publishing: Publishing, caplog: pytest.LogCaptureFixture, answer: bytes
) -> None:
    publishing.publish(b"first")
    publishing.peer.read(1, answer)
    eventually(lambda: publishing.outage.total_lost == 1, "that it is counted")
    publishing.publish(b"again")
    eventually(lambda: len(publishing.peer.ends) == 2, "another connection")
    assert publishing.peer.read(1) == [b"again"]
    eventually(lambda: "1 messages were lost" in caplog.text, "the end of the outage")
    assert answer.strip().decode()[1:7] in caplog.text


def test_whatever_the_end_leaves_in_doubt_is_counted_and_not_repeated(
    publishing: Publishing, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some are answered, some not, and one is being sent when the connection ends."""
    monkeypatch.setattr("wsgi_sio.cluster.bus.outbox._SETTLE", 3600)
    caplog.set_level(logging.WARNING, "wsgi_sio.bus")
    publishing.publish(*many(3))
    assert publishing.peer.read(3) == many(3)
    publishing.publish(*many(4))
    eventually(lambda: publishing.publisher._unanswered >= 4 and not publishing.outbox._running, "that they are sent")
    publishing.peer.ends[0].close()
    publishing.publish(b"after")
    eventually(lambda: len(publishing.peer.ends) == 2, "another connection")
    assert publishing.peer.read(1)[-1] == b"after"
    eventually(lambda: "works again" in caplog.text, "the end of the outage")
    assert publishing.outage.total_lost == 4
    assert "4 messages were lost" in caplog.text


def test_the_end_of_the_bus_waits_for_the_answers(publishing: Publishing) -> None:
    publishing.publish(*many(5))
    eventually(lambda: publishing.publisher._unanswered == 5, "that they are sent")
    end = Background(publishing.outbox.close)
    assert publishing.peer.read(5) == many(5)
    end.result()
    assert not publishing.publisher.unsettled and publishing.outage.total_lost == 0


def test_with_tls_it_waits_for_each_answer(publishing: Publishing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing.publisher, "_defers", False)
    publishing.publish(b"one")
    eventually(lambda: publishing.publisher._unanswered == 1, "that it is sent")
    publishing.publish(b"two")
    assert publishing.outbox._running
    assert publishing.peer.read(2) == [b"one", b"two"]
    eventually(lambda: not publishing.outbox._running, "the answers")
    assert not publishing.publisher.unsettled


# -- at once ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def connected(publishing: Publishing) -> Publishing:
    """There is a connection, and nothing waits."""
    publishing.publish(b"first")
    assert publishing.peer.read(1) == [b"first"]
    eventually(lambda: not publishing.outbox._running and not publishing.publisher.unsettled, "that all is settled")
    return publishing


def test_who_publishes_writes(connected: Publishing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connected.outbox._reactor, "submit", no_job)
    peer = connected.peer.ends[0]
    for payload in many(3):
        time.sleep(2 * outbox._BURST)
        connected.publish(payload)
        assert peer.recv(4096, socket.MSG_DONTWAIT).endswith(payload + b"\r\n")
        peer.sendall(b":1\r\n")
    eventually(lambda: not connected.publisher.unsettled, "the answers")  # for which nobody is needed either
    assert not connected.outbox._running


@pytest.mark.skipif(WORLD == "gevent", reason="there it is a job's, which is as cheap")
def test_what_comes_in_a_burst_leaves_together(connected: Publishing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connected.outbox._reactor, "submit", no_job)
    monkeypatch.setattr(outbox, "_BURST", 3600)
    monkeypatch.setattr(outbox, "_GATHER", 0.05)
    connected.publish(*many(40))
    assert connected.peer.read(40) == many(40)
    assert connected.peer.reads == [1, 40]
    eventually(lambda: not connected.publisher.unsettled and not connected.outbox._running, "the answers")


def test_a_burst_that_does_not_end_is_sent_nevertheless(connected: Publishing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "_BURST", 3600)
    stopped = False

    def run() -> int:
        count = 0
        while not stopped and count < 1_000_000:
            connected.publish(b"%d" % count)
            count += 1
            time.sleep(0)
        return count

    publishes = Background(run)
    received = connected.peer.read(2000)
    stopped = True
    count = publishes.result()
    received += connected.peer.read(count - len(received))
    assert received == many(count)
    eventually(lambda: not connected.publisher.unsettled and not connected.outbox._running, "the answers")
    assert connected.outage.total_lost == 0


def no_job(job: object) -> None:
    raise AssertionError("nobody else is needed")


def test_many_threads_and_a_peer_that_takes_little_at_a_time(connected: Publishing) -> None:
    """Writes end in the middle of messages: all arrive whole, once, and each thread's in order."""
    threads, count = 4, 60
    padding = b"." * 20_000

    def run(thread: int) -> None:
        for number in range(count):
            connected.publish(b"%d %d %b" % (thread, number, padding))
            if number % 8 == 0:
                time.sleep(0.001)  # for others to find it idle

    calls = [Background(lambda thread=thread: run(thread)) for thread in range(threads)]
    got = [payload.split() for payload in connected.peer.read(threads * count, size=30_000)]
    for call in calls:
        call.result()
    assert all(rest == padding for *_, rest in got)
    for thread in range(threads):
        assert [int(number) for by, number, _ in got if int(by) == thread] == list(range(count))
    eventually(lambda: not connected.outbox._running and not connected.publisher.unsettled, "that all is settled")
    assert connected.outage.total_lost == 0


def test_what_an_end_has_interrupted_is_not_repeated(connected: Publishing) -> None:
    """A message's beginning has been written when the connection ends: it is lost, what comes after is not."""
    connected.publish(b"x" * 10_000_000)
    connected.peer.ends[0].recv(100)
    connected.publish(b"after")
    connected.peer.ends[0].close()
    eventually(lambda: len(connected.peer.ends) == 2, "another connection")
    assert connected.peer.read(1) == [b"after"]
    eventually(lambda: not connected.outage.lasts and not connected.publisher.unsettled, "the end of the outage")
    assert connected.outage.total_lost == 1


def test_an_end_while_nothing_is_sent_costs_nothing(connected: Publishing) -> None:
    connected.peer.ends[0].close()
    connected.publish(b"again")
    eventually(lambda: len(connected.peer.ends) == 2, "another connection")
    assert connected.peer.read(1) == [b"again"]
    eventually(lambda: not connected.publisher.unsettled, "the answer")
    assert connected.outage.total_lost == 0 and not connected.outage.lasts


@pytest.mark.parametrize("where", ["before", "after"])
def test_a_signal_handler_that_raises_in_the_middle(
    connected: Publishing, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Nobody knows how much of the message has been written: it is not sent again, and what comes after it is sent."""

    def interrupt(send: Callable[[bytes], int], data: bytes) -> int:
        if where == "after":
            send(data[:10])
        raise KeyboardInterrupt

    interrupted(connected, monkeypatch, interrupt)
    with pytest.raises(KeyboardInterrupt):
        connected.publish(b"interrupted")
    connected.publish(b"after")
    eventually(lambda: len(connected.peer.ends) == 2, "another connection")
    assert connected.peer.read(1) == [b"after"]
    eventually(lambda: not connected.publisher.unsettled and not connected.outage.lasts, "the end of the outage")
    assert connected.outage.total_lost == 1


def test_a_handler_that_publishes_in_the_middle_comes_after(
    connected: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    pending = [b"inner"]

    def interrupt(send: Callable[[bytes], int], data: bytes) -> int:
        if pending:
            connected.publish(pending.pop())
        return send(data)

    interrupted(connected, monkeypatch, interrupt)
    connected.publish(b"outer")
    assert connected.peer.read(2) == [b"outer", b"inner"]
    eventually(lambda: not connected.publisher.unsettled, "the answers")
    assert connected.outage.total_lost == 0


def interrupted(
    publishing: Publishing, monkeypatch: pytest.MonkeyPatch, interrupt: Callable[[Callable[[bytes], int], bytes], int]
) -> None:
    """Have ``interrupt`` called instead of what writes without waiting, with that and the data."""
    glance = publishing.publisher._glance

    class Interrupted:
        recv, close = glance.recv, glance.close

        def send(self, data: bytes) -> int:
            return interrupt(glance.send, data)

    monkeypatch.setattr(publishing.publisher, "_glance", Interrupted())


# -- where a signal handler may run -----------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(
    "step", ["_start", "_send_now", "_take_locked", "_rest_locked", "_rest", "sender._look_now", "sender._pack"]
)
def test_a_signal_handler_that_raises_does_not_stop_the_rest(
    connected: Publishing, monkeypatch: pytest.MonkeyPatch, step: str, moment: str
) -> None:
    owner = connected.publisher if step.startswith("sender.") else connected.outbox
    name = step.rpartition(".")[2]
    real = getattr(owner, name)

    def interrupted(*args: object) -> object:
        monkeypatch.setattr(owner, name, real)
        if moment == "after":
            real(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(owner, name, interrupted)
    time.sleep(2 * redis_publisher._LOOK)
    with pytest.raises(KeyboardInterrupt):
        connected.publish(b"interrupted")
    connected.publish(b"after")
    received = [b""]
    while received[-1] != b"after":  # the other may have arrived or not
        received += connected.peer.read(1)
    assert received in ([b"", b"after"], [b"", b"interrupted", b"after"])
    eventually(lambda: not connected.publisher.unsettled and not connected.outbox._running, "the answers")
    assert not connected.outbox._items and not connected.outbox._size


def test_answers_whose_reading_a_signal_handler_has_interrupted_are_not_waited_for(
    connected: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "_SETTLE", 3600)
    connected.publish(b"one")
    assert connected.peer.read(1) == [b"one"]

    def interrupted(data: bytes) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr(connected.publisher._answers, "feed", interrupted)
    time.sleep(2 * redis_publisher._LOOK)
    with pytest.raises(KeyboardInterrupt):
        connected.publish(b"two")
    connected.publish(b"three")
    eventually(lambda: len(connected.peer.ends) == 2, "another connection", 2.0)
    assert connected.peer.read(1) == [b"three"]


def test_a_signal_handler_cannot_come_between_the_mark_of_a_write_and_its_count(connected: Publishing) -> None:
    class Batch(list[Item]):
        def __len__(self) -> int:
            assert not connected.publisher._writing
            return super().__len__()

    assert connected.publisher.send_now(Batch([Item("c", b"one")]))
    assert connected.peer.read(1) == [b"one"]
    connected.publisher.settle()


def test_a_handler_that_publishes_when_a_job_has_done_all_is_seen(
    connected: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under gevent jobs run in the main thread as well."""
    pending, sent = [b"inner"], []
    send = connected.publisher.send

    def note(batch: list[Item]) -> tuple[int, Exception | None]:
        sent.extend(batch)
        return send(batch)

    def unfinished(publisher: PubSubPublisher) -> bool:
        if pending and sent:
            connected.publish(pending.pop())
        return False

    monkeypatch.setattr(connected.publisher, "send", note)
    monkeypatch.setattr(connected.outbox, "_lock", threading.RLock())  # which lets it in, unlike that of the tests
    monkeypatch.setattr(PubSubPublisher, "sends_now", False)
    monkeypatch.setattr(PubSubPublisher, "unfinished", property(unfinished))
    connected.publish(b"outer")
    assert connected.peer.read(2) == [b"outer", b"inner"]


def test_who_publishes_sets_no_event_unless_somebody_waits(
    connected: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal handler that sets one deadlocks when it has interrupted its own thread in the middle of that."""
    with monkeypatch.context() as patched:
        patched.setattr(connected.outbox, "_idle", None)
        connected.publish(b"one")
        assert connected.peer.read(1) == [b"one"]
        eventually(lambda: not connected.publisher.unsettled and not connected.outbox._running, "the answer")


# -- the end, and what is too much ------------------------------------------------------------------------------------


def test_the_end_is_not_deceived_by_who_has_sent_before(connected: Publishing, monkeypatch: pytest.MonkeyPatch) -> None:
    def wait(event: object, timeout: float) -> bool:
        time.sleep(0.001)
        return True  # woken, by one that was done before another began

    with monkeypatch.context() as patched:
        patched.setattr(connected.outbox._reactor, "wait", wait)
        patched.setattr(outbox, "_BURST", 3600)
        patched.setattr(outbox, "_GATHER", 0.05)
        connected.publish(b"last")
        reading = Background(lambda: connected.peer.read(1))
        connected.outbox.close()
    assert connected.outage.total_lost == 0
    assert reading.result() == [b"last"]


def test_who_publishes_at_once_ends_the_report_of_too_much(connected: Publishing) -> None:
    connected.outbox._limit = 100
    assert not connected.outbox.put(Item("c", b"x" * 200))
    assert connected.outage.lasts
    time.sleep(2 * outbox._BURST)
    connected.publish(b"small")
    assert connected.peer.read(1) == [b"small"]
    eventually(lambda: not connected.outage.lasts, "that there is place again")
    assert connected.outage.total_lost == 1


def test_a_connection_that_has_complained_is_not_used_again(connected: Publishing) -> None:
    connected.peer.ends[0].sendall(b"-ERR nobody has asked\r\n")
    time.sleep(2 * redis_publisher._LOOK)
    connected.publish(b"again")
    eventually(lambda: len(connected.peer.ends) == 2, "another connection")
    assert connected.peer.read(1) == [b"again"]
    eventually(lambda: not connected.publisher.unsettled, "the answer")
    assert connected.outage.total_lost == 0 and not connected.outage.lasts
