"""What is measured, and what comes of it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from benchmarks.install import Cache


@dataclass(frozen=True)
class Scenario:
    """What the clients do.

    :ivar unit: what is counted.
    :ivar depth: messages that each client keeps in flight; of ``connect``, clients that connect at once.
    :ivar data: JSON that an echo has as its argument; empty: 32 characters.
    :ivar extra: ``fast``: our servers have the extra of that name; ``standard``: they have not; empty: as it comes.
    :ivar rounds: of those of the run, because each takes long.
    """

    name: str
    kind: Literal["echo", "broadcast", "polling", "connect", "idle", "client", "scale"]
    title: str
    unit: str
    clients: int
    depth: int = 1
    data: bytes = b""
    extra: Literal["", "standard", "fast"] = ""
    rounds: float = 1.0


def _records(count: int) -> bytes:
    """JSON, 10 KB with 100: the same text whoever writes it."""
    records = [
        {
            "id": number,
            "name": f"record {number}",
            "tags": ["a", "b"],
            "open": number % 2 == 0,
            "of": None,
            "size": [1, 2],
        }
        for number in range(count)
    ]
    return json.dumps(records, separators=(",", ":")).encode()


_JSON = _records(100)

SCENARIOS = (
    Scenario("echo", "echo", "Echo: 100 WebSockets, one message in flight each", "message", 100),
    Scenario("echo-8", "echo", "Echo: 100 WebSockets, eight messages in flight each", "message", 100, 8),
    Scenario("polling", "polling", "Echo: 50 clients over HTTP long-polling", "message", 50),
    Scenario("broadcast", "broadcast", "Broadcast to 500 WebSockets", "delivery", 500),
    Scenario("connect", "connect", "1000 WebSockets connect, 50 at once", "connection", 1000, 50),
    Scenario(
        "idle", "idle", "4000 WebSockets connect, one after the other, and are idle", "connection", 4000, rounds=0.6
    ),
    Scenario("json", "echo", "Echo of 10 KB of JSON: 100 WebSockets", "message", 100, data=_JSON, extra="standard"),
    Scenario(
        "json-fast",
        "echo",
        "Echo of 10 KB of JSON, wsgi-sio[fast]: 100 WebSockets",
        "message",
        100,
        data=_JSON,
        extra="fast",
    ),
    Scenario("client", "client", "The client: echoes, each waited for", "message", 1, rounds=0.6),
    Scenario("client-8", "client", "The client: echoes, eight in flight", "message", 1, 8, rounds=0.6),
    Scenario(
        "scale",
        "scale",
        "Very many WebSockets, and all of them again after a restart",
        "connection",
        20_000,
        rounds=0.2,
    ),
)


@dataclass(frozen=True)
class Setting:
    """How all rounds are run.

    :ivar seconds: of measuring in each round.
    :ivar cores: the server's and the load generator's; None leaves both to the system.
    :ivar cache: where the peers are.
    """

    seconds: float
    rounds: int
    cores: tuple[int, int] | None
    cache: Cache

    def rounds_of(self, scenario: Scenario) -> int:
        return max(1, round(self.rounds * scenario.rounds))


@dataclass
class Sample:
    """One round.

    :ivar server: name of what was measured; a client for some.
    :ivar count: messages, deliveries or connections within ``seconds``.
    :ivar cpu: seconds that the server used meanwhile; None where that cannot be told.
    :ivar foreign: seconds that other processes used meanwhile: well above zero, the rate is worth little.
    :ivar memory: bytes per connection, of an idle server.
    :ivar figures: what only some scenarios have, by name.
    :ivar faults: how often what should not happen did, by name.
    :ivar error: why there are no figures; else empty.
    :ivar missing: what is not installed here, so that there are no figures; else empty.
    """

    scenario: str
    server: str
    round: int
    count: int = 0
    seconds: float = 0.0
    cpu: float | None = None
    foreign: float | None = None
    memory: float | None = None
    threads: int | None = None
    figures: dict[str, float] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    error: str = ""
    missing: str = ""

    @property
    def rate(self) -> float:
        """Messages, deliveries or connections per second."""
        return self.count / self.seconds if self.seconds else 0.0

    @property
    def cpu_each(self) -> float | None:
        """The server's CPU time per message, delivery or connection, in microseconds."""
        return self.cpu * 1e6 / self.count if self.cpu is not None and self.count else None

    @property
    def busy(self) -> float | None:
        """How much of its core the server used, 0 to 1; well below 1 the load generator, or waiting, set the rate."""
        return self.cpu / self.seconds if self.cpu is not None and self.seconds else None

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "rate": self.rate, "cpu_us_each": self.cpu_each}
