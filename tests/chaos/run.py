"""The course of a run: warm up, measure, disturb, settle, leave, measure again."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.measure import memory_bytes
from tests.chaos.disturbances import Disturber
from tests.chaos.ledger import Ledger
from tests.chaos.measures import Measures, ask_leftovers, unexpected_lines
from tests.chaos.relay import Relay
from tests.chaos.setting import PING_INTERVAL, PING_TIMEOUT, RECOVERY, ClientPlan, Setting, plan_client
from tests.chaos.switchboard import Switchboard
from tests.support.node import JS
from tests.support.servers import ROOT, RunningServer, start_server

_START = 30.0  # seconds for processes to call
_SETTLE = 90.0  # seconds for all clients to be connected and answered again
_EMPTY = 45.0  # seconds for the server to forget them: what polls no more is waited for by 30
_REST = RECOVERY + 2.0  # seconds after which idle threads have ended, and what could be recovered is gone
_PROGRESS = 10.0  # seconds between two lines of progress
_LATE = 1.0  # seconds without a sign of life of a process of ours: no judging who could be heard
_SUSPICION = 2 * (PING_INTERVAL + PING_TIMEOUT) + 5.0
_CREWS = ("python", "node")


class Run:
    """One run; also what the :class:`Disturber` acts on.

    :ivar problems: what was wrong beside the ledger's violations.
    :ivar notes: figures for the report.
    """

    def __init__(self, setting: Setting, say: Callable[[str], None]) -> None:
        self.setting = setting
        self.ledger = Ledger(_SUSPICION)
        self.problems: list[str] = []
        self.notes: list[str] = []
        self.log = ""
        self._say = say
        self._began = time.monotonic()
        self._switchboard = Switchboard(self.ledger.take)
        self._server: RunningServer | None = None
        self._processes: list[subprocess.Popen[bytes]] = []
        self._relays: list[Relay] = []
        self._plans: list[ClientPlan] = []
        self._disturber = Disturber(self, random.Random(setting.seed), setting.without)

    @property
    def clean(self) -> bool:
        """Whether everything held."""
        return not self.problems and not self.ledger.violations

    async def perform(self) -> None:
        """Do it all; ends within the setting's limit, and with all processes."""
        watch = asyncio.ensure_future(self._watch())
        try:
            await asyncio.wait_for(self._course(), self.setting.limit)
        except asyncio.TimeoutError:
            self.problems.append(f"the run was not over after {self.setting.limit:g} s")
        except Exception as error:
            self.problems.append(f"the run ended with {error!r}")
        finally:
            watch.cancel()
            await self._end()

    # -- what is disturbed --------------------------------------------------------------------------------------

    @property
    def server(self) -> RunningServer:
        """The gunicorn under test."""
        assert self._server is not None, "it has not been started"
        return self._server

    @property
    def worker_pid(self) -> int:
        return self._worker_pid

    def order(self, plan: ClientPlan, name: str, *values: object) -> None:
        self._switchboard.order(plan.crew, name, plan.key, *values)

    def relay_of(self, plan: ClientPlan) -> Relay:
        return self._relays[int(plan.key.partition(".")[0])]

    def plans(self) -> Sequence[ClientPlan]:
        return self._plans

    def renew(self, plan: ClientPlan) -> None:
        number, _, life = plan.key.partition(".")
        self._plans[int(number)] = fresh = plan_client(
            self.setting, int(number), int(life) + 1, self._relays[int(number)].port
        )
        self._enter(fresh)
        self.order(fresh, "come")
        self._switchboard.order(fresh.crew, "send", True)

    def _enter(self, plan: ClientPlan) -> None:
        self.ledger.enter(plan.key, plan.retries, str(plan))
        self._switchboard.order(plan.crew, "enter", plan.as_order())

    # -- the course ---------------------------------------------------------------------------------------------

    async def _course(self) -> None:
        await self._start()
        self.say(f"warming up for {self.setting.warm_up:.0f} s")
        await self._disturb(self.setting.warm_up)
        await self._settle()
        base = await self._leave("after the warm-up")
        for plan in self._plans:
            self.order(plan, "come")
        self.say(f"disturbing for {self.setting.seconds:.0f} s")
        await self._disturb(self.setting.seconds)
        await self._settle()
        end = await self._leave("at the end")
        self.problems += end.excess(base)
        if not self.ledger.counts["recovered"]:
            self.problems.append("no connection has been recovered, so nothing is shown about that")

    async def _start(self) -> None:
        setting = self.setting
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        await self._switchboard.start()
        port = str(self._switchboard.port)
        env = {"CHAOS_PORT": port, "CHAOS_SEED": str(setting.seed), "CHAOS_RATE": str(setting.rate)}
        env["MALLOC_ARENA_MAX"] = "2"  # with one for each thread, glibc keeps more memory than a leak would show
        options = {"access_logfile": os.devnull, **({"threads": 8} if setting.server == "gthread" else {})}
        self._server = await asyncio.to_thread(
            start_server, f"gunicorn-{setting.server}", "tests.chaos.app:app", env, options
        )
        self._worker_pid = self._server.worker_pid
        world = "gevent" if setting.server == "gevent" else "threads"
        self._launch([sys.executable, "-m", "tests.chaos.python_clients", port, world], ROOT)
        self._launch(["node", "chaos_clients.js", port], JS)
        for name in ("server", *_CREWS):
            await self._switchboard.joined(name, _START)
        for number in range(setting.clients):
            relay = Relay(self._server.port)
            await relay.start()
            self._relays.append(relay)
            plan = plan_client(setting, number, 0, relay.port)
            self._plans.append(plan)
            self._enter(plan)
            self.order(plan, "come")

    def _launch(self, command: list[str], cwd: Path) -> None:
        self._processes.append(subprocess.Popen(command, cwd=cwd, stdin=subprocess.DEVNULL))

    async def _disturb(self, seconds: float) -> None:
        self._switchboard.order("server", "run")
        for crew in _CREWS:
            self._switchboard.order(crew, "send", True)
        await self._disturber.run(seconds)
        for crew in _CREWS:
            self._switchboard.order(crew, "send", False)
        for relay in self._relays:
            relay.heal()

    async def _settle(self) -> None:
        """Everybody is answered again, and has everything."""
        began = time.monotonic()
        await self._switchboard.rest(_SETTLE)
        target = self.ledger.counts["settled"] + len(self._plans)
        for plan in self._plans:
            self.order(plan, "settle")
        while self.ledger.counts["settled"] < target and time.monotonic() < began + _SETTLE:
            await asyncio.sleep(0.1)
        await self._switchboard.rest(_SETTLE)  # all that the server has handled has been reported now
        self.ledger.balance(plan.key for plan in self._plans)
        self.say(f"settled within {time.monotonic() - began:.1f} s")

    async def _leave(self, when: str) -> Measures:
        """Everybody goes; nothing of them is left, and this is what the server holds then."""
        for plan in self._plans:
            self.ledger.disturbed(plan.key, "told to leave")
            self.order(plan, "leave")
        began = time.monotonic()
        while any((leftovers := await asyncio.to_thread(ask_leftovers, self.server)).values()):
            if time.monotonic() > began + _EMPTY:
                self.problems.append(f"{when}, {_EMPTY:g} s after all had left, there were {leftovers}")
                break
            await asyncio.sleep(0.5)
        self.say(f"all have left and are forgotten after {time.monotonic() - began:.1f} s")
        await asyncio.sleep(max(0.0, began + _REST - time.monotonic()))
        measures = Measures.take(self.server)
        self.notes.append(f"{when}: {measures}")
        self.say(self.notes[-1])
        return measures

    # -- beside it ----------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Say how it goes; notice when this machine is too late to judge anybody's patience."""
        said = seen = time.monotonic()
        while True:
            await asyncio.sleep(0.2)
            now = time.monotonic()
            silent = [now - self._switchboard.heard.get(crew, now) for crew in _CREWS]
            if max(now - seen - 0.2, *silent) > _LATE:
                self.ledger.all_disturbed()
            seen = now
            if now - said > _PROGRESS:
                said = now
                memory = memory_bytes(self._server.worker_pid) if self._server is not None else None
                self.say(self.figures() + (f", {memory / 1e6:.0f} MB" if memory else ""))

    def say(self, text: str) -> None:
        """A line of progress."""
        self._say(f"[{time.monotonic() - self._began:6.1f} s] {text}")

    def figures(self) -> str:
        """What has happened so far."""
        counts, wrong = self.ledger.counts, sum(self.ledger.violations.values())
        return (
            f"{counts['handled']:,} events handled, {counts['got'] + counts['asked']:,} received,"
            f" {counts['fresh']:,} connections, {counts['recovered']:,} recovered,"
            f" {sum(self._disturber.counts.values()):,} disturbances, {wrong} violations"
        )

    def details(self) -> list[str]:
        """For the report."""
        disturbances = ", ".join(f"{name} {count}" for name, count in self._disturber.counts.most_common())
        ends = ", ".join(f"{reason} {count}" for reason, count in self.ledger.ends.most_common())
        caught: Counter[str] = sum((relay.caught for relay in self._relays), Counter())
        moments = ", ".join(f"{moment} {count}" for moment, count in caught.most_common())
        return [
            self.figures(),
            f"disturbances: {disturbances}",
            f"cut in the middle of: {moments}",
            f"connections ended: {ends}",
            *self.notes,
        ]

    async def _end(self) -> None:
        """End everything that was started, by its number."""
        for process in self._processes:
            if process.poll() is not None:
                self.problems.append(f"a process of clients has ended with status {process.returncode}")
        if self._server is not None:
            lines = unexpected_lines(self._server)
            self.problems += [f"log: {line}" for line in lines[:20]]
            self._server.stop()
            self.log = self._server.log()
        for process in self._processes:
            process.kill()
            process.wait()
        await self._switchboard.close()
        for relay in self._relays:
            await relay.close()
