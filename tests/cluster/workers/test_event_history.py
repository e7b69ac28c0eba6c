"""Sessions that move between processes, without threads: whatever is delivered when, nothing is lost, doubled or
reordered per origin.

The rules under test are those of the real classes; only the links are queues here, and the client a list.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsgi_sio import Server
from wsgi_sio.cluster.workers.event_history import History, Trail
from wsgi_sio.engineio.packet import Packet as EnginePacket
from wsgi_sio.socketio import packet_msgpack
from wsgi_sio.socketio.broadcast_options import EVERYBODY, BroadcastOptions
from wsgi_sio.socketio.encoded_events import decode, messages_of
from wsgi_sio.socketio.packet import EVENT, Packet
from wsgi_sio.socketio.recovery_event_log import EventLog
from wsgi_sio.socketio.recovery_offsets import Offsets

ROOMS = frozenset(["mine", "sid"])
TO_ME, TO_OTHERS = BroadcastOptions(rooms=frozenset(["mine"])), BroadcastOptions(rooms=frozenset(["others"]))


class Process:
    """One of several, with a log of its own."""

    def __init__(self, world: World, number: int) -> None:
        self.tag = f"tag{number}"
        self.world = world
        self.history = History(EventLog(world.max_stored), 1000.0)
        self.history.join(self.tag)

    def take(self, origin: str, seq: int, event: list[EnginePacket], options: BroadcastOptions) -> None:
        """An event has come, or is its own: put it into the log, and deliver it if the client is here."""
        log = self.history.log
        batch = self.world.offsets.add(event, log.next_offset())
        log.append(batch, options, origin, seq)
        client = self.world.client
        behind = client.trail is not None and client.trail.has_had(origin, seq)
        if client.at is self and options is not TO_OTHERS and not behind:
            client.wire.append(batch)


class Client:
    """One that loses its connection again and again, and comes back anywhere."""

    def __init__(self, world: World, home: Process) -> None:
        self.world = world
        self.wire: deque[list[EnginePacket]] = deque()  # on its way to it
        self.got: list[Any] = []
        self.offset = ""
        self.begin(home)

    def begin(self, home: Process) -> None:
        """Connect as somebody new; it gets one event, or it could not come back at all."""
        self.at: Process | None = home
        self.home = home
        self.trail: Trail | None = None
        self.wire.clear()
        self.got = []
        log = home.history.log
        batch = self.world.offsets.add(self.world.encode("hello"), log.next_offset())
        log.append(batch, BroadcastOptions(rooms=frozenset(["sid"])))
        self.receive(batch)

    def receive(self, batch: list[EnginePacket]) -> None:
        packet = decode(self.world.server, messages_of(batch))
        name, *args, self.offset = packet.data
        if name != "hello":
            self.got.append(tuple(args))

    def lose(self) -> None:
        self.at = None
        self.wire.clear()

    def back(self, there: Process) -> bool:
        """Come back at ``there``: whether as the same."""
        home, here = self.home.history, there.history
        offsets = self.world.offsets
        if there is self.home and (self.trail is None or self.trail.missed is None):
            number = home.locate(self.trail, self.offset)
            if number is None:
                return False
            self.wire.extend(batch for _, batch in home.missed(number, self.trail, ROOMS))
        else:
            departure = home.give(self.trail, ROOMS, self.offset)
            if departure is None:
                return False
            missed = [offsets.remove(event, offset) if offset else event for offset, event in departure.missed]
            self.trail, self.home = Trail(self.offset, departure.vector, missed), there
            if self.world.hasty():
                return True  # lost again before it is let in
            prelude = here.let_in(self.trail, ROOMS, self.world.tags, offsets.add, offsets.remove)
            if prelude is None:
                return False
            self.wire.extend(prelude)
        self.at = there
        return True


class World:
    """Processes with a queue from each to each."""

    def __init__(self, server: Server, count: int, max_stored: int = 10_000_000) -> None:
        self.server = server
        self.offsets = Offsets(server)
        self.max_stored = max_stored
        self.haste: Iterator[bool] = iter(())
        self.processes = [Process(self, number) for number in range(count)]
        self.tags = {process.tag for process in self.processes}
        self.links: dict[tuple[Process, Process], deque[Any]] = {}
        self.private = 0
        for process in self.processes:
            self.meet(process)
        self.client = Client(self, self.processes[0])
        self.expected: list[tuple[str, int]] = []

    def hasty(self) -> bool:
        return next(self.haste, False)

    def meet(self, process: Process) -> None:
        """Have links with all others that there are, each of which tells where it stands."""
        for other in self.processes:
            for one, two in ((process, other), (other, process)):
                if other is not process and (one, two) not in self.links:
                    self.links[one, two] = deque()
                    two.history.stand(one.history.name, one.history.last)

    def encode(self, *data: Any) -> list[EnginePacket]:
        return self.server.encode(Packet(EVENT, "/", list(data)))

    def emit(self, process: Process, options: BroadcastOptions) -> None:
        seq = process.history.count()
        name = process.history.name
        event = self.encode("n", name, seq, b"\x01" if seq % 3 == 0 else "text]")
        for (source, _), link in self.links.items():
            if source is process:
                link.append((name, seq, event, options))
        if options is not TO_OTHERS:
            self.expected.append((name, seq))
        process.take(name, seq, event, options)

    def emit_to_client(self) -> None:
        """The process where it is has something for the client alone."""
        if self.client.at is not None:
            self.private += 1
            self.expected.append(("private", self.private))
            event = self.encode("n", "private", self.private, None)
            self.client.at.take("", 0, event, TO_ME)

    def deliver(self, source: Process, target: Process) -> None:
        link = self.links[source, target]
        if link:
            name, seq, event, options = link.popleft()
            assert target.history.hear(name, seq) == 0
            target.take(name, seq, event, options)

    def settle(self) -> None:
        """Have everything arrive, the client last."""
        for (source, target), link in self.links.items():
            while link:
                self.deliver(source, target)
        while self.client.wire:
            self.client.receive(self.client.wire.popleft())


@pytest.fixture(scope="module", params=["json", "msgpack"])
def server(request: pytest.FixtureRequest) -> Server:
    parser: Any = {"parser": packet_msgpack} if request.param == "msgpack" else {}
    return Server(siblings=False, **parser)


OPTIONS = (EVERYBODY, TO_ME, TO_OTHERS)
KINDS = ("emit", "deliver", "receive", "lose", "back", "private")
STEPS = st.lists(
    st.tuples(st.sampled_from(KINDS), st.integers(0, 3), st.integers(0, 3), st.sampled_from(OPTIONS)), max_size=150
)


def long_story(random: Random) -> list[Any]:
    """Steps as they might be in life: links that lag, a client that comes and goes."""
    weights = (
        random.randint(3, 9),
        random.randint(3, 9),
        random.randint(1, 5),
        random.randint(1, 3),
        3,
        random.randint(0, 2),
    )
    kinds = random.choices(KINDS, weights, k=random.randint(50, 300))
    return [(kind, random.randrange(4), random.randrange(4), random.choice(OPTIONS)) for kind in kinds]


def play(world: World, steps: list[Any]) -> bool:
    """Run a history; False when the client could not go on as the same."""
    count, client = len(world.processes), world.client
    for step, one, two, options in steps:
        process = world.processes[one % count]
        if step == "emit":
            world.emit(process, options)
        elif step == "deliver":
            target = world.processes[(one + 1 + two % (count - 1)) % count]
            world.deliver(process, target)
        elif step == "receive" and client.wire:
            client.receive(client.wire.popleft())
        elif step == "private":
            world.emit_to_client()
        elif step == "lose" and client.at is not None:
            client.lose()
        elif step == "back" and client.at is None and not client.back(process):
            return False
    world.haste = iter(())
    if client.at is None and not client.back(client.home):
        return False
    world.settle()
    return True


def check(world: World, expected: list[tuple[str, int]]) -> None:
    got = [(name, seq) for name, seq, _ in world.client.got]
    assert sorted(got) == sorted(expected)
    for origin in {name for name, _ in got}:
        numbers = [seq for name, seq in got if name == origin]
        assert numbers == sorted(numbers)


@pytest.mark.parametrize("part", range(4))
def test_in_many_long_stories_nothing_is_lost_doubled_or_reordered(server: Server, part: int) -> None:
    for seed in range(part * 100, part * 100 + 100):
        random = Random(seed)
        world = World(server, random.randint(2, 4))
        world.haste = iter([random.random() < 0.2 for _ in range(50)])
        assert play(world, long_story(random)), seed
        check(world, world.expected)


@settings(max_examples=200, deadline=None)
@given(count=st.integers(2, 4), steps=STEPS, haste=st.lists(st.booleans(), max_size=6))
def test_nothing_is_lost_doubled_or_reordered(server: Server, count: int, steps: list[Any], haste: list[bool]) -> None:
    world = World(server, count)
    world.haste = iter(haste)
    assert play(world, steps), "nothing is forgotten here, so it always goes on as the same"
    check(world, world.expected)


# -- what is not known any more, or never was ---------------------------------------------------------------------


def anew_or_exact(world: World, steps: list[Any]) -> None:
    """A client that goes on as the same has exactly what it should; one that cannot begins anew, and is told so."""
    if play(world, steps):
        check(world, world.expected)


@pytest.mark.parametrize("part", range(2))
def test_a_log_that_has_forgotten_too_much_says_so(server: Server, part: int) -> None:
    for seed in range(part * 100, part * 100 + 100):
        random = Random(seed)
        anew_or_exact(World(server, random.randint(2, 4), max_stored=random.randint(600, 20_000)), long_story(random))


def test_events_that_never_came_are_not_made_up(server: Server) -> None:
    """A link was cut: who goes on where they are missing would not know that, so it may not."""
    for seed in range(100):
        random = Random(seed)
        world = World(server, 3)
        story = long_story(random)
        half = len(story) // 2
        if not play(world, story[:half]):
            continue
        link = world.links[world.processes[1], world.processes[2]]
        world.expected.clear()
        world.client.begin(world.processes[0])
        for _ in range(3):
            world.emit(world.processes[1], EVERYBODY)
        while len(link) > 1:
            link.pop()
        link.clear()
        world.processes[2].history.stand(world.processes[1].history.name, world.processes[1].history.last)
        world.client.lose()
        random.shuffle(world.processes)
        if world.client.back(world.processes[0]):
            world.settle()
            check(world, world.expected)


def test_a_process_that_came_later_takes_over_and_one_that_has_ended_is_no_hindrance(server: Server) -> None:
    world = World(server, 3)
    first, second, third = world.processes
    for process in world.processes:
        world.emit(process, EVERYBODY)
    world.settle()
    world.client.lose()
    # The third ends, and a fourth comes that has never heard of it.
    world.tags.discard(third.tag)
    for process in (first, second):
        process.history.forget(third.tag)
    world.processes = [first, second, fourth] = [first, second, Process(world, 3)]
    world.tags.add(fourth.tag)
    world.links = {ends: link for ends, link in world.links.items() if third not in ends}
    world.meet(fourth)
    world.emit(second, TO_ME)
    assert world.client.back(fourth)
    world.settle()
    world.emit(fourth, EVERYBODY)
    world.client.lose()
    assert world.client.back(second), "although it had heard of the third and the fourth had not"
    world.settle()
    check(world, world.expected)


def test_who_does_not_know_where_a_third_one_stands_takes_nobody_over(server: Server) -> None:
    world = World(server, 2)
    world.client.lose()
    world.processes.append(third := Process(world, 2))
    world.tags.add(third.tag)
    world.processes[0].history.stand(third.history.name, 0)
    assert not world.client.back(world.processes[1])


def test_origins_that_ended_long_ago_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("wsgi_sio.cluster.workers.event_history.time.monotonic", lambda: now[0])
    history = History(EventLog(1000), 100.0)
    history.join("mine")
    for number in range(50):
        history.stand(f"t{number:03}.log", 7)
        history.forget(f"t{number:03}")
        now[0] += 50
    assert len(history.vector(None)) < 10 and history.name in history.vector(None)
