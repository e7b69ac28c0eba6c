"""What a run is made of."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass
from typing import Any

# The server's options. A pause of the server that is longer than the second, but not than both together, is one that
# clients survive; with these, that is a matter of seconds.
PING_INTERVAL = 3.0
PING_TIMEOUT = 4.0
# How long connections can be recovered (seconds).
RECOVERY = 20.0
# Few bytes, so that the bounds are met all the time.
MAX_MAILBOX = 40_000
MAX_OUTBOX = 1_000_000
MAX_STORED = 20_000_000

TRANSPORTS = (["polling"], ["websocket"], ["polling", "websocket"])
ROOM_SIZE = 10


@dataclass(frozen=True)
class Setting:
    """The command line's choices.

    :ivar minutes: for which clients are disturbed; warming up, settling and measuring come on top.
    :ivar server: ``gevent`` or ``gthread``; our own clients live in the same world.
    :ivar without: names of disturbances that are left out.
    :ivar rate: events that each client sends, in a second; as many come back.
    """

    minutes: float = 2.0
    server: str = "gevent"
    clients: int = 200
    seed: int = 0
    without: tuple[str, ...] = ()
    rate: float = 1.0

    @property
    def seconds(self) -> float:
        """Of disturbance."""
        return self.minutes * 60

    @property
    def warm_up(self) -> float:
        """Seconds of disturbance before memory and threads are measured for the first time."""
        return min(60.0, max(5.0, self.seconds / 4))

    @property
    def limit(self) -> float:
        """Seconds after which the whole run is over, whatever it is doing."""
        return self.warm_up + self.seconds + 480.0


@dataclass(frozen=True)
class ClientPlan:
    """One client: who it is, and how it connects.

    :ivar key: its number, and which life of it this is.
    :ivar crew: ``python`` or ``node``.
    """

    key: str
    crew: str
    url: str
    transports: list[str]
    retries: bool
    room: str
    rate: float

    def __str__(self) -> str:
        return f"{self.key} ({self.crew}, {'+'.join(self.transports)}{', retries' if self.retries else ''})"

    def as_order(self) -> dict[str, Any]:
        """What its process is told."""
        return asdict(self)


def plan_client(setting: Setting, number: int, life: int, port: int) -> ClientPlan:
    """The plan of a client; the same for the same seed."""
    rng = random.Random(f"{setting.seed} {number} {life}")
    return ClientPlan(
        key=f"{number}.{life}",
        crew=("python", "node")[number % 2],
        url=f"http://127.0.0.1:{port}",
        transports=rng.choice(TRANSPORTS),
        retries=rng.random() < 0.2,
        room=f"room {number // ROOM_SIZE}",
        rate=setting.rate,
    )
