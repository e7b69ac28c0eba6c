"""What siblings and buses bring for many clients: the others have their turn, and each gets all of it, in order."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import pytest

from tests.cluster.conftest import REAL, WORKERS, Cluster, MakeCluster
from tests.support.crowd import COUNT, Crowd, Member, in_small_turns, only_gevent
from tests.support.inprocess import DEADLINE, Background, eventually
from wsgi_sio import AckTimeout, Server
from wsgi_sio.socketio.broadcast_options import BroadcastOptions
from wsgi_sio.socketio.packet import EVENT, Packet

pytestmark = only_gevent

RECOVERING = "recovering workers"
EVERY_DAY = (WORKERS, RECOVERING, "redis")
KINDS = [
    pytest.param(kind, marks=() if kind in EVERY_DAY else pytest.mark.slow)
    for kind in (*EVERY_DAY, *(kind for kind in REAL if kind not in (*EVERY_DAY, "kombu", "static")))
]


class Many:
    """Two servers, of which the second has many clients."""

    def __init__(self, make_cluster: MakeCluster, kind: str) -> None:
        options = {"connection_state_recovery": True} if kind == RECOVERING else {}
        self.cluster: Cluster = make_cluster(WORKERS if kind == RECOVERING else kind, 2, **options)
        self.sender, self.io = self.cluster.servers
        self.crowd = Crowd(self.io)
        self.members = self.crowd.members
        self.adapter: Any = self.io.sockets.adapter

    def emit(self, event: str) -> None:
        """From the other server."""
        self.sender.emit(event)

    def nothing_is_left(self) -> bool:
        eventually(lambda: not self.adapter._long.under_way, "the end of the broadcasts")
        return not self.adapter._long._posted and not self.adapter._long._carried


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    in_small_turns(monkeypatch)


@pytest.fixture(params=KINDS)
def many(request: pytest.FixtureRequest, make_cluster: MakeCluster) -> Many:
    return Many(make_cluster, request.param)


@pytest.fixture(params=[WORKERS, RECOVERING, pytest.param("recovering", marks=pytest.mark.slow)])
def one_of_each(request: pytest.FixtureRequest, make_cluster: MakeCluster) -> Many:
    """For what hangs on whether events are kept, and not on who brings them."""
    return Many(make_cluster, request.param)


def test_others_have_their_turn_meanwhile(many: Many) -> None:
    assert many.crowd.turns(lambda: many.emit("news")) >= COUNT // 2
    many.crowd.wait_for("news")
    assert many.crowd.orders() == {("news",)} and many.nothing_is_left()


def test_the_reader_goes_on_and_nothing_is_overtaken(many: Many) -> None:
    last, late, early = many.members[-1], many.members[-2], many.members[0]
    few = [last, late, early]
    for member in few:
        member.socket.join("few")
    many.emit("joined")  # which a driver may have to tell first
    many.crowd.wait_for("joined")
    with many.crowd.in_the_middle("first", lambda: many.emit("first")):
        many.sender.to("few").emit("to a few")
        eventually(lambda: all("to a few" in member.events for member in few), "what comes behind it")
        assert "first" not in many.members[-3].events
        late.socket.emit("direct")
        eventually(lambda: "direct" in late.events, "what is for one client alone")
        many.io.to("few").emit("local")
        eventually(lambda: "local" in early.events, "what is emitted here")
        many.emit("second")
        eventually(lambda: len(many.adapter._long.under_way) == 2, "the second one")
        last.socket.emit("last")
        many.io.to(many.members[-3].sid).emit("by its id")
    many.crowd.wait_for("second")
    eventually(lambda: "last" in last.events and "by its id" in many.members[-3].events, "all")
    assert many.nothing_is_left()
    assert early.events == ["joined", "first", "to a few", "local", "second"]
    assert late.events == ["joined", "first", "to a few", "direct", "local", "second"]
    assert sorted(last.events[-2:]) == ["last", "second"]  # with streams the last one goes through Redis as well
    assert last.events[:4] == ["joined", "first", "to a few", "local"]
    assert many.members[-3].events[:2] == ["joined", "first"]
    assert {tuple(member.events) for member in many.members[1:-3]} == {("joined", "first", "second")}


def test_acknowledgements_count_right(many: Many) -> None:
    for member in many.members:
        member.client.on("ask", lambda number=member.sid, *_: number)
    many.cluster.answering(0, "the sender's own")
    many.cluster.answering(1, "another one's")
    answers = many.sender.timeout(DEADLINE).emit_with_ack("ask")
    expected = [*(member.sid for member in many.members), "the sender's own", "another one's"]
    assert sorted(answers) == sorted(expected) and many.nothing_is_left()


def test_who_has_left_before_it_is_asked_does_not_acknowledge(one_of_each: Many) -> None:
    many = one_of_each
    for member in many.members[:-1]:
        member.client.on("ask", lambda *_: 1)
    many.cluster.answering(0, 1)
    many.cluster.answering(1, 1)
    outcome: list[Any] = []

    def ask() -> None:
        outcome.append(Background(many.sender.timeout(2).emit_with_ack, "ask"))

    with many.crowd.in_the_middle("ask", ask):
        many.members[-1].client.disconnect()
    with pytest.raises(AckTimeout) as caught:
        outcome[0].result()
    assert caught.value.responses == [1] * (COUNT + 1) and many.nothing_is_left()


def test_joining_leaving_and_going_meanwhile(one_of_each: Many) -> None:
    many = one_of_each
    for member in many.members:
        member.socket.join("room")
    newcomers: list[Member] = []
    with many.crowd.in_the_middle("news", lambda: many.sender.to("room").emit("news")):
        leaves, goes, thrown_out, closed = many.crowd.without("news")[-4:]
        newcomers.append(Member(many.io))
        newcomers[0].socket.join("room")
        leaves.socket.leave("room")
        goes.client.disconnect()
        thrown_out.socket.disconnect()
        closed.socket.disconnect(close=True)
        assert not thrown_out.client.is_connected() and not closed.client.is_connected()
        assert thrown_out.events == closed.events == ["news"]
    eventually(lambda: leaves.events, "the event")
    many.sender.to("room").emit("more")
    eventually(lambda: newcomers[0].events, "the next one")
    assert many.nothing_is_left()
    assert leaves.events == ["news"] and newcomers[0].events == ["more"] and goes.events == []
    assert thrown_out.events == closed.events == ["news"]


def test_all_may_be_thrown_out_in_turns(one_of_each: Many) -> None:
    many = one_of_each
    with many.crowd.in_the_middle("news", lambda: many.emit("news")):
        many.sender.disconnect_sockets()
        eventually(lambda: len(many.adapter._long.under_way) == 2, "the order to throw them out")
        many.emit("too late")
        eventually(lambda: len(many.adapter._long.under_way) == 3, "what comes too late")
    eventually(lambda: not any(member.client.is_connected() for member in many.members), "the end of all")
    assert many.crowd.orders() == {("news",)} and many.nothing_is_left()


def test_who_is_cut_off_by_this_side_gets_first_what_is_under_way(one_of_each: Many) -> None:
    """As what had been sent at once would have gone out before the end."""
    many = one_of_each
    with many.crowd.in_the_middle("news", lambda: many.emit("news")):
        cut_off = many.crowd.without("news")[-1]
        cut_off.socket.conn.close()
        assert cut_off.events == ["news"] and not cut_off.client.is_connected()


def test_all_get_what_is_under_way_when_the_server_drains_or_closes(one_of_each: Many) -> None:
    many = one_of_each
    ending: list[Background] = []
    with many.crowd.in_the_middle("news", lambda: many.emit("news")):
        ending.append(Background(many.io.drain, 0.2))
        eventually(lambda: not any(member.client.is_connected() for member in many.members[-10:]), "the end")
        assert {tuple(member.events) for member in many.members[-10:]} == {("news",)}
    ending[0].result()
    assert {tuple(member.events) for member in many.crowd.others()} == {("news",)} and many.nothing_is_left()


def test_listeners_hear_in_the_order_in_which_clients_get(servers: tuple[Server, Crowd]) -> None:
    sender, crowd = servers
    heard: dict[Member, list[str]] = {member: [] for member in crowd.members}
    late: list[tuple[Any, ...]] = []
    for member in crowd.members[:-1]:
        member.socket.on_any_outgoing(lambda event, *args, member=member: heard[member].append(event))
    with crowd.in_the_middle("news", lambda: sender.emit("news")):
        last, second = crowd.members[-1], crowd.members[-2]
        last.socket.on_any_outgoing(lambda *args: late.append(args))  # it may hear of it, or not
        second.socket.emit("direct")
        crowd.io.local.emit("more")
    crowd.wait_for("more")
    eventually(lambda: len(heard[second]) == 3, "the listeners")  # with streams "direct" goes through Redis
    assert heard[second] == second.events and set(second.events) == {"news", "direct", "more"}
    assert second.events[0] == "news"
    assert {tuple(heard[member]) for member in crowd.others()[:-2]} == {("news", "more")}
    assert all(late) and [args[0] for args in late] in (["more"], ["news", "more"])


def test_listeners_are_told_in_turns_as_well(servers: tuple[Server, Crowd]) -> None:
    sender, crowd = servers
    heard: list[int] = []
    for member in crowd.members:
        member.socket.on_any_outgoing(lambda *args: heard.append(1))
    with crowd.in_the_middle("news", lambda: sender.emit("news")):
        assert len(heard) == COUNT - 51
    eventually(lambda: len(heard) == COUNT, "the rest")


@pytest.mark.parametrize("way", ["emit", "volatile", "callback", "emit_with_ack"])
def test_what_is_for_one_client_comes_behind_what_is_under_way_to_it(one_of_each: Many, way: str) -> None:
    many = one_of_each
    asked = many.members[-1]
    asked.client.on("direct", lambda *_: "answer")
    ways: dict[str, Callable[[], object]] = {
        "emit": lambda: asked.socket.emit("direct"),
        "volatile": lambda: asked.socket.volatile.emit("direct"),
        "callback": lambda: asked.socket.emit("direct", callback=print),
        "emit_with_ack": lambda: asked.socket.emit_with_ack("direct", timeout=DEADLINE),
    }
    order: list[str] = []

    def note(packet: Any) -> None:
        order.append(next(name for name in ("news", "direct") if f'"{name}"' in packet.data))

    with many.crowd.in_the_middle("news", lambda: many.emit("news")):
        asked.then = note
        ways[way]()
        eventually(lambda: len(order) == 2, "both")
    assert order == ["news", "direct"] and many.nothing_is_left()


def test_who_listens_since_then_hears_all_of_it_or_nothing(one_of_each: Many) -> None:
    many = one_of_each
    late = many.members[-1]
    heard: list[tuple[Any, ...]] = []
    with many.crowd.in_the_middle("news", lambda: many.emit("news")):
        late.socket.on_any_outgoing(lambda *args: heard.append(args))
    many.emit("more")
    eventually(lambda: late.events == ["news", "more"], "both")
    assert [args[0] for args in heard] in (["more"], ["news", "more"])


def test_what_a_bus_brings_together_comes_behind_what_is_under_way(make_cluster: MakeCluster) -> None:
    many = Many(make_cluster, WORKERS)
    last = many.members[-1]
    whom = BroadcastOptions(frozenset([last.sid]), local=True, posted=True)
    with many.crowd.in_the_middle("news", lambda: many.emit("news")):
        with many.adapter._taking_together():
            for event in ("one", "two"):
                many.adapter._send_here(Packet(EVENT, "/", [event]), whom)
        assert last.events == ["news", "one", "two"]
    assert many.nothing_is_left()


def test_who_waits_for_a_slow_client_lets_what_others_send_it_keep_its_order(one_of_each: Many) -> None:
    many = one_of_each
    slow = many.members[-1]
    session = slow.client.session
    transport, buffer = slow.client._transport, session._write_buffer
    with many.crowd.in_the_middle("first", lambda: many.emit("first")):
        transport.idle = False  # it takes nothing for a while
        while not buffer.crowded:
            slow.socket.emit("filling", "x" * 100_000)
        waiting = Background(many.io.to(slow.sid).emit, "held back")
        eventually(lambda: buffer.waiting, "who waits")
        many.emit("second")
        many.sender.to(slow.sid).emit("third")
        eventually(lambda: '"third"' in str(buffer.packets[-1].data), "what comes behind it")
        transport.write(session.next_batch(transport, 1 << 30))
    waiting.result()
    many.crowd.wait_for("second")
    assert [name for name in slow.events if name != "filling"] == ["first", "second", "third", "held back"]
    assert many.nothing_is_left()


def test_a_volatile_one_stays_volatile(one_of_each: Many) -> None:
    many = one_of_each
    busy = many.members[-1]
    transport = busy.client._transport
    transport.idle = False
    many.sender.volatile.emit("now or never")
    eventually(lambda: many.members[-2].events, "the event")
    assert many.nothing_is_left()
    transport.idle = True
    assert busy.events == [] and {tuple(member.events) for member in many.members[:-1]} == {("now or never",)}


def test_a_signal_handler_may_emit_meanwhile(one_of_each: Many) -> None:
    many = one_of_each
    interrupted = many.members[100]
    before = signal.signal(signal.SIGUSR1, lambda number, frame: many.io.local.emit("of the signal") and None)

    def interrupt(packet: Any) -> None:
        interrupted.then = None
        signal.raise_signal(signal.SIGUSR1)

    interrupted.then = interrupt
    try:
        many.emit("news")
        many.crowd.wait_for("of the signal")
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert many.crowd.orders() == {("news", "of the signal")} and many.nothing_is_left()


# -- with connection state recovery -----------------------------------------------------------------------------------


@pytest.fixture(params=["alone", RECOVERING, pytest.param("recovering", marks=pytest.mark.slow)])
def servers(request: pytest.FixtureRequest, make_cluster: MakeCluster) -> tuple[Server, Crowd]:
    """Who emits, and the clients of this or another one."""
    if request.param != "alone":
        many = Many(make_cluster, request.param)
        return many.sender, many.crowd
    io = Server(connection_state_recovery=True, siblings=False)
    request.addfinalizer(io.close)
    return io, Crowd(io)


def test_coming_back_meanwhile(servers: tuple[Server, Crowd]) -> None:
    """Nothing is lost, nothing comes twice, whether the client had been reached or not, wherever it comes back."""
    sender, crowd = servers
    sender.emit("first")
    crowd.wait_for("first")
    reached, late, elsewhere, one, *others = [crowd.members[0], *crowd.members[-3:], *crowd.members[1:-3]]
    with crowd.in_the_middle("news", lambda: sender.emit("news")):
        for member in (reached, late, elsewhere):
            member.lose()
        back = [reached.back(crowd.io), late.back(crowd.io), elsewhere.back(sender)]
        one.lose()
        assert {tuple(member.events) for member in back} == {("first", "news")}
        sender.emit("more")
    eventually(lambda: all("more" in member.events for member in (*back, *others)), "the next event")
    back.append(one.back(crowd.io))
    sender.emit("last")
    for member in (*back, *others):
        eventually(lambda member=member: "last" in member.events, "the last event")
        assert member.events == ["first", "news", "more", "last"]
    assert late.events == elsewhere.events == one.events == ["first"] and reached.events == ["first", "news"]


def test_offsets_ascend_for_everybody(servers: tuple[Server, Crowd], monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of the log, in which others emit as well meanwhile."""
    sender, crowd = servers
    offsets: dict[Member, list[str]] = {member: [] for member in crowd.members}

    def note(member: Member) -> None:
        take = member.client._transport._deliver

        def taking(packet: Any) -> None:
            take(packet)
            offsets[member].append(member.offset)

        member.client._transport._deliver = taking

    for member in crowd.members:
        note(member)
    with crowd.in_the_middle("news", lambda: sender.emit("news")):
        others = [Background(io.emit, name) for io, name in ((crowd.io, "here"), (sender, "there"))]
        crowd.members[-1].socket.emit("direct")
    for other in others:
        other.result()
    sender.emit("last")
    crowd.wait_for("last")
    everybody = {tuple(found) for found in offsets.values()}
    kept = sorted(everybody, key=len)[-1]
    assert all([offset for offset in kept if offset in found] == list(found) for found in everybody)
    assert len(kept) == len(set(kept)) == 5
