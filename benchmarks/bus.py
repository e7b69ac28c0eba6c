"""``python -m benchmarks.bus``: what a broadcast through Redis costs the worker that sends it, and each that hears it.

Two processes of each kind of server share a core; one emits when it is told to, the other has the clients.  Redis
and who paces and listens are on another core.  Each kind has its turn for a fraction of a second, over and over, so
that whatever disturbs the machine disturbs all alike: their ratios, round by round, hold where no figure alone would.
What it costs to be told is measured by asking for nothing, and taken off.
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from time import monotonic, sleep

from benchmarks import measure
from benchmarks.install import Cache, Unavailable
from benchmarks.load import WebSocketClient
from benchmarks.servers import KINDS, Ready, RunningServer
from benchmarks.tables import format_figure, format_table

_TICK = 0.0005  # seconds between two looks at what is due
_WARMUP = 1.0  # seconds, of each kind
_DRAIN = 20.0  # seconds for what is still on its way
_HANDSHAKES = 0.3  # seconds in which all of a new client's rooms are known

APPS = {
    "ours-gthread": "benchmarks.apps.bus_ours:app",
    "ours-gevent": "benchmarks.apps.bus_ours:app",
    "pysio-gthread": "benchmarks.apps.bus_pysio:app",
    "pysio-gevent": "benchmarks.apps.bus_pysio:app",
    "node": "bus_node.js",
}
OURS = "ours-gthread", "ours-gevent"
_PEERS = {"ours-gthread": ("pysio-gthread", "node"), "ours-gevent": ("pysio-gevent", "node")}


@dataclass(frozen=True)
class Load:
    """How events come: ``burst`` of them at once, ``rate`` a second in all."""

    title: str
    rate: int
    burst: int


LOADS = (
    Load("500/s, one by one", 500, 1),
    Load("2000/s, one by one", 2000, 1),
    Load("2000/s, in bursts of 50", 2000, 50),
)


@dataclass(frozen=True)
class Cost:
    """Microseconds of CPU for each event, in one turn."""

    send: float
    receive: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status: 1 when something was lost or cannot be measured here."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bus", description="Measure broadcasts through Redis.")
    parser.add_argument("--rounds", type=int, default=15, metavar="N", help="turns of each kind (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=0.5, help="of each turn (default: %(default)s)")
    parser.add_argument(
        "--clients", type=int, nargs="+", default=[1, 10], metavar="N", help="in the room of the worker"
    )
    parser.add_argument("--servers", nargs="+", choices=list(APPS), default=list(APPS), metavar="NAME")
    parser.add_argument("--python", default=None, help="an interpreter that has python-socketio, redis and gunicorn")
    parser.add_argument("--node-modules", default="tests/js/node_modules", help="where npm has installed the adapter")
    options = parser.parse_args(arguments)
    cores = measure.choose_cores()
    try:
        if cores is None or not measure.AVAILABLE:
            raise Unavailable("needs Linux and two cores")
        python = options.python or sys.executable
        for clients in options.clients:
            kinds = {name: prepare(name, python, Path(options.node_modules)) for name in options.servers}
            costs = measure_all(kinds, clients, cores, options.rounds, options.seconds)
            print(f"### {clients} client(s) in the room: µs of CPU for each broadcast, send / receive\n")
            print(format_costs(costs), "\n")
            if ratios := format_ratios(costs):
                print(ratios, "\n")
            sys.stdout.flush()
    except Unavailable as reason:
        print(f"error: {reason}", file=sys.stderr)
        return 1
    print(f"* machine: {measure.machine()}\n* interpreter: {measure.interpreter()}")
    return 0


def prepare(name: str, python: str, modules: Path) -> Ready:
    """The command of a kind.

    :raises Unavailable: something is missing.
    """
    if not shutil.which("redis-server"):
        raise Unavailable("redis-server is not installed")
    app = APPS[name]
    if name == "node":
        if not (modules / "@socket.io" / "redis-adapter").exists():
            raise Unavailable(f"there is no @socket.io/redis-adapter in {modules}: npm install --prefix tests/js")
        script = Path(__file__).parent / "apps" / app
        environment = {"NODE_PATH": str(modules.resolve())}
        return Ready(lambda fd, websockets, pollers: ["node", str(script), str(fd)], {}, environment)
    ours = {kind.name: kind for kind in KINDS}["ours-gevent" if name.endswith("gevent") else "ours-gthread"]
    made = ours.prepare(Cache(Path())).command
    mode = "gevent" if name.endswith("gevent") else "threading"

    def command(fd: int, websockets: int, pollers: int) -> list[str]:
        _, *options, _ = made(fd, websockets, pollers)
        threads = ["--threads=32"] if mode == "threading" else []  # python-socketio's WebSockets hold one each
        return [python if name.startswith("pysio") else sys.executable, *options, *threads, app]

    return Ready(command, {}, {"ASYNC_MODE": mode})


# -- measuring --------------------------------------------------------------------------------------------------------


class Pair:
    """A server that emits and one that has clients."""

    def __init__(self, name: str, ready: Ready, url: str, clients: int, core: int, stack: ExitStack) -> None:
        self.name = name
        # The kinds are kept apart by their channels' names, for databases do not keep channels apart.
        ready = replace(ready, environment={**ready.environment, "REDIS_URL": url, "REDIS_KEY": name})
        self.sender, self.receiver = [stack.enter_context(RunningServer(ready, core)) for _ in range(2)]
        self._pids = [measure.process_tree(server.pid)[-1] for server in (self.sender, self.receiver)]
        self._asks = WebSocketClient(self.sender.port)
        stack.callback(self._asks.close)
        self._port = json.loads(self._asks.ask(b"pace"))[0]
        self._asks.close()  # else the sender would have a client in the room
        self._clients = [WebSocketClient(self.receiver.port) for _ in range(clients)]
        for client in self._clients:
            stack.callback(client.close)
        self._counts = [0] * clients
        self._pace = socket.create_connection(("127.0.0.1", self._port))
        self._pace.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stack.callback(self._pace.close)
        self.sent = 0
        self.lost = 0

    def used(self) -> list[float]:
        """Seconds of CPU so far, of the one that sends and of the one that receives."""
        return [measure.cpu_of_process(pid) for pid in self._pids]

    def run(self, load: Load, seconds: float, *, idle: bool = False) -> tuple[list[float], int]:
        """Have it emit for a while, or only hear of when it would: CPU seconds used and events sent."""
        before, sent_before, begin = self.used(), self.sent, monotonic()
        due, interval = begin, load.burst / load.rate
        while (now := monotonic()) < begin + seconds:
            while due <= now:
                self._pace.send(bytes([0 if idle else load.burst]))
                self.sent += 0 if idle else load.burst
                due += interval
            self._receive()
            sleep(_TICK)
        self._settle()
        return [after - so_far for after, so_far in zip(self.used(), before, strict=True)], self.sent - sent_before

    def measure(self, load: Load, seconds: float) -> Cost:
        """One turn."""
        (idle_send, idle_receive), _ = self.run(load, seconds / 2, idle=True)
        (send, receive), sent = self.run(load, seconds)
        return Cost((send - 2 * idle_send) / sent * 1e6, (receive - 2 * idle_receive) / sent * 1e6)

    def _settle(self) -> None:
        """Wait for what is still on its way."""
        deadline = monotonic() + _DRAIN
        while min(self._counts) < self.sent and monotonic() < deadline:
            self._receive()
            sleep(_TICK)
        for client in range(len(self._counts)):
            self._skip(client, self.sent + 1)

    def _receive(self) -> None:
        for number, client in enumerate(self._clients):
            with suppress(BlockingIOError):
                for message in client.receive():
                    self._skip(number, int(message[10:18]))
                    self._counts[number] += 1

    def _skip(self, client: int, number: int) -> None:
        """What comes next is event ``number``."""
        missing = number - 1 - self._counts[client]
        if missing < 0:
            raise Unavailable(f"{self.name} sends event {number} behind event {self._counts[client]}")
        self.lost += missing
        self._counts[client] += missing


def measure_all(
    kinds: dict[str, Ready], clients: int, cores: tuple[int, int], rounds: int, seconds: float
) -> dict[Load, dict[str, list[Cost]]]:
    """Give each kind its turns with each load.

    :raises Unavailable: they cannot be started, or something was lost.
    """
    with ExitStack() as stack:
        stack.enter_context(measure.pinned(cores[1]))
        url = stack.enter_context(_redis())
        pairs = {name: Pair(name, ready, url, clients, cores[0], stack) for name, ready in kinds.items()}
        sleep(_HANDSHAKES)
        costs: dict[Load, dict[str, list[Cost]]] = {}
        for load in LOADS:
            for pair in pairs.values():
                pair.run(load, _WARMUP)
            costs[load] = {name: [] for name in pairs}
            for _ in range(rounds):
                for name, pair in pairs.items():
                    costs[load][name].append(pair.measure(load, seconds))
        for pair in pairs.values():
            if pair.lost:
                print(f"{pair.name} has lost {pair.lost} events", file=sys.stderr)
        return costs


@contextmanager
def _redis() -> Iterator[str]:
    """A redis-server of its own: its URL."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            deadline = monotonic() + _DRAIN
            while True:
                with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                if monotonic() > deadline:
                    raise Unavailable("redis-server does not answer")
                sleep(0.05)
            yield f"redis://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


# -- telling ----------------------------------------------------------------------------------------------------------


def format_costs(costs: dict[Load, dict[str, list[Cost]]]) -> str:
    rows = []
    for name in next(iter(costs.values())):
        cells = [
            f"{format_figure(median(cost.send for cost in each[name]))} /"
            f" {format_figure(median(cost.receive for cost in each[name]))}"
            for each in costs.values()
        ]
        rows.append([name, *cells])
    return format_table(["", *[load.title for load in costs]], rows)


def format_ratios(costs: dict[Load, dict[str, list[Cost]]]) -> str:
    """Of ours to the others, round by round: the medians."""
    rows = []
    for name in OURS:
        for peer in _PEERS[name]:
            if all(name in each and peer in each for each in costs.values()):
                rows.append([f"{name} of {peer}", *[_ratio(each[name], each[peer]) for each in costs.values()]])
    return format_table(["", *[load.title for load in costs]], rows) if rows else ""


def _ratio(ours: list[Cost], theirs: list[Cost]) -> str:
    pairs = list(zip(ours, theirs, strict=True))
    return (
        f"{median(mine.send / other.send for mine, other in pairs):.2f} /"
        f" {median(mine.receive / other.receive for mine, other in pairs):.2f}"
    )


if __name__ == "__main__":
    sys.exit(main())
