"""With shortcuts and without: the same datagrams, to the byte, the same events, timers and state.

A connection that has shaken hands is doubled, keys and all, and of the two one takes no shortcuts; then both live
through the same random history.
"""

from __future__ import annotations

import copy
import random
from collections import Counter, deque
from contextlib import suppress
from enum import Enum
from types import FunctionType, MethodType, SimpleNamespace
from typing import Any

import aioquic
import pytest
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import QuicEvent
from aioquic.quic.stream import QuicStreamSender

from tests.support.world import one_world
from tests.webtransport.pair import CLIENT, SERVER, Network, Plain, client_configuration, server_configuration
from wsgi_sio.webtransport.quic import Quic
from wsgi_sio.webtransport.shortcuts import KNOWN

pytestmark = one_world

ELSEWHERE = ("127.0.0.1", 50001)
MAIN, OTHER = 0, 4  # streams of the client's
# What need not be the same: what a shortcut remembers for itself, and for when pacing lets data go that there is not.
OWN = {"_stage", "_settled", "_main", "_pacing_at", "tls", "_configuration", "_logger"}


class Slow(Quic):
    """Takes no shortcuts."""

    def _is_plain(self) -> bool:
        return False


class Quick(Quic):
    """Counts those that it takes."""

    taken: Counter[str]

    def _write(self, *given: Any) -> bool:
        return self._count("write", super()._write(*given))

    def _receive(self, *given: Any) -> bool:
        return self._count("receive", super()._receive(*given))

    def _count(self, name: str, done: bool) -> bool:
        self.taken[name if done else f"{name} otherwise"] += 1
        return done


def doubled(quic: Quic) -> tuple[Quick, Slow]:
    """Two connections in the state of ``quic``, and with its keys."""
    shared = [quic.tls, quic._configuration, quic._logger, *quic._crypto_buffers.values()]
    for pair in [*quic._cryptos.values(), *quic._cryptos_initial.values()]:
        for keys in (pair.recv, pair.send):
            shared += [keys.aead, keys.hp, keys._setup_cb, keys._teardown_cb]
    twins = [copy.deepcopy(quic, {id(each): each for each in shared}) for _ in range(2)]
    quick, slow = twins
    quick.__class__, slow.__class__ = Quick, Slow
    assert isinstance(quick, Quick) and isinstance(slow, Slow)
    quick.taken = Counter()
    return quick, slow


def state(thing: Any, seen: dict[int, int]) -> Any:
    """All that there is in an object, in a form that can be compared; what has been seen is a number."""
    if isinstance(thing, float):
        return float(f"{thing:.9g}")
    if isinstance(thing, bytearray):
        return bytes(thing)
    if thing is None or isinstance(thing, (bool, int, str, bytes, Enum, FunctionType, range)):
        return thing
    if isinstance(thing, (list, tuple, deque)):
        return [state(each, seen) for each in thing]
    if isinstance(thing, (set, frozenset)):
        return sorted(map(repr, thing))
    if isinstance(thing, dict):
        return {key: state(each, seen) for key, each in thing.items()}
    if isinstance(thing, MethodType):
        return thing.__func__.__name__, state(thing.__self__, seen)
    if id(thing) in seen:
        return seen[id(thing)]
    seen[id(thing)] = len(seen)
    inside = {key: state(each, seen) for key, each in getattr(thing, "__dict__", {}).items() if key not in OWN}
    inside.pop("taken", None)
    if isinstance(thing, QuicStreamSender):  # aioquic notices later that there is nothing more to send
        inside["buffer_is_empty"] = thing.buffer_is_empty or not (len(thing._pending) or thing._pending_eof)
    return "Quic" if isinstance(thing, Quic) else type(thing).__name__, inside


def differences(one: Any, other: Any, where: str = "") -> list[str]:
    """Where two states are not the same."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        parts = [(f".{key}", one[key], other[key]) for key in one]
    elif isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)) and len(one) == len(other):
        parts = [(f"[{at}]", *each) for at, each in enumerate(zip(one, other, strict=True))]
    else:
        return [] if one == other else [f"{where}: {one!r} {other!r}"]
    return [found for at, left, right in parts for found in differences(left, right, where + at)]


class History:
    """One of random steps, of a pair and of its stock peer.

    :param ours: who the pair is: CLIENT or SERVER.
    """

    def __init__(self, ours: Any, seed: int) -> None:
        self.dice = random.Random(seed)
        client: QuicConnection
        server: QuicConnection
        if ours == SERVER:
            client = QuicConnection(configuration=client_configuration())
            make: Any = Quic
        else:
            client, make = Quic(client_configuration()), QuicConnection
        original = client.original_destination_connection_id
        server = make(configuration=server_configuration(), original_destination_connection_id=original)
        network = Network(client, server)
        for end, quic in ((CLIENT, client), (SERVER, server)):
            network.take[end] = Plain(quic).take
        network.run(seconds=1.0)
        client.send_stream_data(MAIN, b"hello")
        client.send_stream_data(OTHER, b"hello")
        network.run(seconds=1.0)
        self.now = network.now
        mine, self.peer = (server, client) if ours == SERVER else (client, server)
        assert isinstance(mine, Quic) and mine._handshake_confirmed
        self.quick, self.slow = doubled(mine)
        self.pair = (self.quick, self.slow)
        self.ours, self.theirs = (SERVER, CLIENT) if ours == SERVER else (CLIENT, SERVER)
        self.late: list[bytes] = []
        self.loss = 0.0
        self.calls = 0

    def both(self, name: str, *given: Any) -> Any:
        """Call the same method of the two; what comes of it must be the same."""
        results = []
        self.calls += 1
        for quic in self.pair:
            random.seed(self.calls)
            try:
                results.append(getattr(quic, name)(*given))
            except (RuntimeError, ValueError) as error:  # the stream has ended, or there is none
                results.append(repr(error))
        assert results[0] == results[1], name
        return results[0]

    def events(self) -> list[QuicEvent]:
        events = []
        while (event := self.both("next_event")) is not None:
            events.append(event)
        return events

    def flush(self) -> None:
        for data, _ in self.both("datagrams_to_send", self.now):
            if self.dice.random() >= self.loss:
                self.peer.receive_datagram(data, self.ours, self.now)
        for quic in self.pair:  # aioquic moves those that have sent to the end, in the order of a set, which is any
            quic._streams_queue.sort(key=lambda stream: stream.stream_id or 0)
        if self.dice.random() < 0.1:
            self.compare()
        while self.peer.next_event() is not None:
            pass

    def flush_peer(self) -> None:
        for data, _ in self.peer.datagrams_to_send(self.now):
            fate = self.dice.random()
            if fate < self.loss:
                continue
            if fate < 2 * self.loss:
                self.late.append(data)
                continue
            for each in [data, *([data] if fate < 3 * self.loss else [])]:
                self.both("receive_datagram", each, self.theirs, self.now)
        if self.late and self.dice.random() < 0.5:
            self.both("receive_datagram", self.late.pop(0), self.theirs, self.now)
        self.events()

    def compare(self) -> None:
        assert differences(state(self.quick, {}), state(self.slow, {})) == []

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        quick, slow = (quic.get_timer() for quic in self.pair)
        if self.slow._pacing_at is None:
            assert quick == slow
        if min(quick or self.now, slow or self.now) <= self.now:
            self.both("handle_timer", self.now)
        timer = self.peer.get_timer()
        if timer is not None and timer <= self.now:
            self.peer.handle_timer(self.now)

    def step(self) -> None:
        """What is usual."""
        dice = self.dice
        what = dice.randrange(8)
        if what < 3:
            self.both("send_stream_data", MAIN, dice.randbytes(dice.choice((1, 20, 120, 120, 3000))))
        elif what < 5:
            self.as_peer("send_stream_data", MAIN, dice.randbytes(dice.choice((1, 20, 120, 2000))))
        elif what == 5:
            self.both("acknowledge_by", self.now)
        self.pass_time(dice.choice((0.0, 0.0002, 0.001, 0.005, 0.03)))
        if dice.random() < 0.8:
            self.flush()
        if dice.random() < 0.6:
            self.flush_peer()

    def as_peer(self, name: str, *given: Any) -> None:
        with suppress(RuntimeError, ValueError):  # the stream has ended
            getattr(self.peer, name)(*given)

    def rare_step(self) -> None:
        """What happens once in a connection's life, or never."""
        dice = self.dice
        name = dice.choice(RARE)
        if name == "other stream":
            self.both("send_stream_data", OTHER, dice.randbytes(500))
        elif name == "both streams":
            self.both("send_stream_data", OTHER, dice.randbytes(500))
            self.both("send_stream_data", MAIN, dice.randbytes(500))
        elif name == "much":
            self.both("send_stream_data", MAIN, dice.randbytes(60_000))
        elif name == "much comes":
            self.as_peer("send_stream_data", MAIN, dice.randbytes(150_000))
        elif name == "other comes":
            self.as_peer("send_stream_data", OTHER, dice.randbytes(500))
        elif name == "held":
            self.both("hold_back", MAIN, 100_000)
        elif name == "let go":
            self.both("let_go", MAIN)
        elif name == "new keys":
            self.both("request_key_update")
        elif name == "new keys there":
            self.as_peer("request_key_update")
        elif name == "new id":
            self.both("change_connection_id")
        elif name == "new id there":
            self.as_peer("change_connection_id")
        elif name == "ping":
            self.both("send_ping", 7)
        elif name == "ping there":
            self.as_peer("send_ping", 7)
        elif name == "datagram":
            self.both("send_datagram_frame", b"d" * 50)
        elif name == "garbage":
            head = bytes((dice.randrange(256),)) + self.quick.host_cid
            self.both("receive_datagram", head + dice.randbytes(dice.randrange(60)), self.theirs, self.now)
        elif name == "moves":
            self.theirs = ELSEWHERE if self.ours == SERVER and self.theirs == CLIENT else self.theirs
        elif name == "stop":
            self.both("stop_stream", OTHER, 1)
        elif name == "stop there":
            self.as_peer("stop_stream", OTHER, 1)
        elif name == "end":
            self.both("send_stream_data", OTHER, b"the end", True)
        elif name == "end there":
            self.as_peer("send_stream_data", OTHER, b"the end", True)


RARE = [
    *(
        "other stream",
        "both streams",
        "much",
        "much comes",
        "other comes",
        "held",
        "let go",
        "new keys",
        "new keys there",
    ),
    *("new id", "new id there", "ping", "ping there", "datagram", "garbage", "moves", "stop", "stop there", "end"),
    "end there",
]


@pytest.mark.skipif(not KNOWN, reason="with this version of aioquic none are taken")
@pytest.mark.parametrize("ours", [SERVER, CLIENT], ids=["server", "client"])
@pytest.mark.parametrize("loss", [0.0, 0.05, 0.2])
def test_it_is_as_without(ours: Any, loss: float, monkeypatch: pytest.MonkeyPatch) -> None:
    # Ids and challenges, which are to be the same for both.
    monkeypatch.setattr("aioquic.quic.connection.os", SimpleNamespace(urandom=random.randbytes))
    taken: Counter[str] = Counter()
    for seed in range(2):
        history = History(ours, seed)
        history.loss = loss
        for number in range(150):
            history.step()
            if number > 60 and history.dice.random() < 0.2:
                history.rare_step()
        history.compare()
        taken += history.quick.taken
    assert taken["write"] > taken["write otherwise"] and taken["receive"] > taken["receive otherwise"]


def test_the_version_is_one_that_has_been_compared() -> None:
    """A newer one is as correct, but slow: try this file's comparison with it, and add it to COMPARED."""
    assert KNOWN or tuple(map(int, aioquic.__version__.split(".")[:2])) < (1, 7)
