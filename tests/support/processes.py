"""Tests in several processes at once: ``--processes N``, in either world.

The process that was asked for it collects, and starts N more by its own command line. Each of them takes the tests of a
file, imports and runs them, and takes the next file that nobody has taken; of what is slow, it takes the cases of one
test. What came of them is read by the first process, and reported as if it had run them. Then two processes run what is
marked ``crowd``, and at last one what is marked ``alone``. Whatever has not been run because a process died is run by
new ones; the test that it died in has failed. ``--second-look`` is second_look.py's.

The N are whole pytest runs, with tests in the main thread. (pytest-xdist's workers are not: they talk to their master
from a thread that blocks in a read, for which gevent has no patch.)
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.support.second_look import SecondLook

_FOLDER = "WSGI_SIO_TESTS_FOLDER"  # in the environment of the N: where they find what to do and tell what they did
_CRASHES = 5  # so many are no accident
_THOROUGHLY = 10  # files, after which a process looks through all it has
_PATIENCE = 20.0  # seconds for what has to be torn down after Ctrl-C
_AT_ONCE = {"crowd": 2, "alone": 1}  # how many tests with such a mark run at once, after those that have none

Line = list[Any]
Unit = list[str]  # the ids of tests of one file that one process runs


def add_option(parser: pytest.Parser) -> None:
    help = "run the tests of several files at once, in N processes (not with -s or --pdb); auto: cores and four"
    parser.addoption("--processes", metavar="N", default="1", type=_count, help=help)
    help = "with --processes: if no more than N tests fail, run them once more by themselves, and tell of both"
    parser.addoption("--second-look", metavar="N", default=0, type=int, help=help)


def configure(config: pytest.Config) -> None:
    folder = os.environ.pop(_FOLDER, None)  # what tests start has no part in this
    if folder is not None:
        for name in ("lfplugin", "nfplugin", "stepwiseplugin"):  # the first process keeps the books
            config.pluginmanager.unregister(name=name)
        config.pluginmanager.register(OneOfMany(config, Path(folder)))
    elif config.option.processes > 1 and not config.option.usepdb and config.option.capture != "no":
        second_look = SecondLook(config.option.second_look)
        config.pluginmanager.register(second_look)
        config.pluginmanager.register(First(config, config.option.processes, second_look))


def _count(text: str) -> int:
    """Tests wait for twice as long as they compute; with many more than cores, they would wait for each other."""
    return len(os.sched_getaffinity(0)) + 4 if text == "auto" else int(text)


def tidy(thoroughly: bool = False) -> None:
    """What there is now, imports and tests, need not be looked through whenever a test looks for garbage.

    :param thoroughly: also free what has become garbage since it was put aside, such as the sockets of closed servers.
    """
    if thoroughly:
        gc.unfreeze()
    gc.collect()
    gc.freeze()


def _file_of(nodeid: str) -> str:
    return nodeid.partition("::")[0]


def _units(items: list[pytest.Item]) -> list[Unit]:
    """What is run by one process, longest first: whoever takes the last unit should not be at work for long.

    Slow tests take about what they may; of the others, those with programs of Node's, and with started servers, take
    longest, and so do folders by the end of the alphabet. Those compute; what waits stands at the other end, and every
    other unit is from there, so that both go on beside each other.
    """
    units: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        units[item.nodeid.partition("[" if _is_of_a_slow_test(item) else "::")[0]].append(item)
    numbered = [
        (sum(map(_patience, tests)), sum(map(_with_node, tests)), "live" in name, number)
        for number, (name, tests) in enumerate(units.items())
    ]
    ids = [[item.nodeid for item in tests] for tests in units.values()]
    slow = [ids[number] for patience, *_, number in sorted(numbered, reverse=True) if patience]
    others = deque(ids[number] for patience, *_, number in sorted(numbered, reverse=True) if not patience)
    return slow + [others.pop() if turn % 2 else others.popleft() for turn in range(len(others))]


def _is_of_a_slow_test(item: pytest.Item) -> bool:
    """Whether all cases of its test are slow; where some are, they are many, and often have one server for all."""
    marks = getattr(item.obj, "pytestmark", []) if isinstance(item, pytest.Function) else []
    return any(mark.name == "slow" for mark in marks)


def _patience(item: pytest.Item) -> float:
    """How long it may take if it is slow, in seconds."""
    if item.get_closest_marker("slow") is None:
        return 0.0
    limit = item.get_closest_marker("timeout")
    return float(item.config.getini("timeout") if limit is None else limit.args[0])


def _with_node(item: pytest.Item) -> bool:
    return isinstance(item, pytest.Function) and "node_modules" in item.fixturenames


def _run(session: pytest.Session, items: Iterable[pytest.Item]) -> None:
    """What pytest's own loop does; the next one is asked for before an item is run."""
    for item, following in pairwise(chain(items, [None])):
        assert item is not None
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)


class OneOfMany:
    """The part of a process that takes files of tests, and tells what came of them in a file of its own."""

    def __init__(self, config: pytest.Config, folder: Path) -> None:
        self._config = config
        self._folder = folder
        self._parent = os.getppid()
        self._todo: list[Unit] = json.loads((folder / "todo").read_text())
        self._files: dict[str, pytest.Collector] = {}
        self._collected: dict[str, list[pytest.Item]] = {}
        self._file = ""
        self._files_run = 0
        self._out = os.open(folder / f"told by {os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def _tell(self, *line: object) -> None:
        os.write(self._out, json.dumps(line, default=repr).encode() + b"\n")

    def _taken(self, session: pytest.Session) -> Iterator[pytest.Item]:
        for number, unit in enumerate(self._todo):
            try:
                (self._folder / f"taken {number}").touch(exist_ok=False)
            except FileExistsError:
                continue
            ids = set(unit)
            yield from [item for item in self._tests_of(session, _file_of(unit[0])) if item.nodeid in ids]

    def _tests_of(self, session: pytest.Session, file: str) -> list[pytest.Item]:
        if file not in self._collected:
            items = list(session.genitems(self._files[file]))
            session.testscollected += len(items)
            self._config.hook.pytest_collection_modifyitems(session=session, config=self._config, items=items)
            self._collected[file] = items
        return self._collected[file]

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> bool:
        """Find the files, but import none before it is taken: that of all takes longer than many a test."""
        files = {_file_of(unit[0]): None for unit in self._todo}
        session.perform_collect([str(self._config.rootpath / file) for file in files], genitems=False)
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item | pytest.Collector]) -> None:
        if not self._files:
            self._files = {file.nodeid: file for file in items if isinstance(file, pytest.Collector)}
            items.clear()  # what other plugins do is for tests

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        _run(session, self._taken(session))
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> None:
        if self._file != _file_of(item.nodeid):
            self._file = _file_of(item.nodeid)
            self._files_run += 1
            tidy(thoroughly=self._files_run % _THOROUGHLY == 0)

    def pytest_runtest_logstart(self, nodeid: str, location: tuple[str, int | None, str]) -> None:
        self._tell("start", nodeid, location)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._tell("report", self._config.hook.pytest_report_to_serializable(config=self._config, report=report))

    def pytest_runtest_logfinish(self, nodeid: str, location: tuple[str, int | None, str]) -> None:
        self._tell("finish", nodeid, location)
        if os.getppid() != self._parent:
            pytest.exit("the first process has ended")

    def pytest_warning_recorded(
        self, warning_message: warnings.WarningMessage, when: str, nodeid: str, location: object
    ) -> None:
        if when == "runtest":  # the others have been noticed by the first process as well
            told = warning_message
            self._tell(
                "warning", nodeid, location, str(told.message), told.category.__name__, told.filename, told.lineno
            )


class _Process:
    """One of the N, as the first process sees it."""

    def __init__(self, folder: Path, number: int) -> None:
        self._output = folder / f"output {number}"
        with self._output.open("wb") as output:
            self._popen = subprocess.Popen(
                [sys.executable, *sys.orig_argv[1:]],
                env={**os.environ, _FOLDER: str(folder)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the first process, which passes it on
            )
        self.number = number
        self._told = folder / f"told by {self._popen.pid}"
        self._read = 0
        self._looked_at = 0
        self._file = ""  # of the last start that has been looked at
        self.ended = False
        self.lines: list[Line] = []

    @property
    def status(self) -> int:
        return self._popen.wait()

    @property
    def output(self) -> str:
        return self._output.read_text(errors="replace")

    def listen(self) -> None:
        """Read on in what it tells, up to the last whole line."""
        self.ended = self._popen.poll() is not None  # before, so that nothing it has told is missed
        with suppress(FileNotFoundError), self._told.open("rb") as told:
            told.seek(self._read)
            whole = told.read().rpartition(b"\n")[0]
            if whole:
                self._read += len(whole) + 1
                self.lines += map(json.loads, whole.split(b"\n"))

    def next_file(self) -> list[Line]:
        """What it has told of a file, when that is all; what it was at when it ended is left to ask for."""
        for number in range(self._looked_at, len(self.lines)):
            what, *told = self.lines[number]
            if what == "start":
                before, self._file = self._file, _file_of(told[0])
                if before not in ("", self._file):
                    return self._take(number)
        self._looked_at = len(self.lines)
        return self._take(self._looked_at) if self.ended else []

    def _take(self, count: int) -> list[Line]:
        lines, self.lines = self.lines[:count], self.lines[count:]
        self._looked_at = 1 if self.lines else 0  # the first of them has been
        return lines

    def interrupt(self) -> None:
        self._popen.send_signal(signal.SIGINT)

    def kill(self) -> None:
        self._popen.kill()


class First:
    """The part of the process that others were started by."""

    def __init__(self, config: pytest.Config, count: int, second_look: SecondLook) -> None:
        self._config = config
        self._second_look = second_look
        self._hook = config.hook
        self._count = count
        self._finished: set[str] = set()
        self._crashes = 0

    def pytest_report_header(self) -> str:
        return f"processes: {self._count}"

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        together = [item for item in session.items if not any(map(item.get_closest_marker, _AT_ONCE))]
        if session.testsfailed or session.config.option.collectonly or len(_units(session.items)) < 2:
            return None  # pytest's own loop comes next
        self._have_all_run(session, together, self._count)
        for mark, most in _AT_ONCE.items():
            marked = [item for item in session.items if item.get_closest_marker(mark) is not None]
            self._have_all_run(session, marked, min(most, self._count))
        again = self._second_look.close()
        for report in self._second_look.failures:
            self._hook.pytest_runtest_logreport(report=report)
        self._finished -= again
        self._have_all_run(session, [item for item in session.items if item.nodeid in again], 1)
        return True

    def _have_all_run(self, session: pytest.Session, todo: list[pytest.Item], count: int) -> None:
        while todo:
            before = len(self._finished)
            self._have_run(session, _units(todo), count)
            if session.shouldfail:
                raise session.Failed(session.shouldfail)
            todo = [item for item in todo if item.nodeid not in self._finished]
            if todo and (len(self._finished) == before or self._crashes >= _CRASHES):
                raise session.Failed(f"{len(todo)} tests have not been run, {todo[0].nodeid} for one")

    def _have_run(self, session: pytest.Session, todo: list[Unit], count: int) -> None:
        """Have the tests run by so many processes, as far as they live so long."""
        folder = Path(tempfile.mkdtemp(prefix="wsgi-sio-tests-"))
        (folder / "todo").write_text(json.dumps(todo))
        processes: list[_Process] = []
        try:
            processes += [_Process(folder, number) for number in range(min(count, len(todo)))]
            alive = processes
            while alive and not session.shouldfail:
                time.sleep(0.05)
                for process in alive:
                    self._hear(process)
                alive = [process for process in alive if not process.ended]
        finally:  # they are at work still after Ctrl-C and the like, or after -x
            self._end([process for process in processes if not process.ended])
            shutil.rmtree(folder)

    def _hear(self, process: _Process, *, stopped: bool = False) -> None:
        process.listen()
        begun = [f"process {process.number}", ["", None, f"process {process.number}"]]  # if it was at no test
        while lines := process.next_file():
            self._report(lines)
            last = [line for line in lines if line[0] in ("start", "finish")][-1]
            if last[0] == "start":
                begun = last[1:]
        orderly = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED)
        if process.ended and not stopped and process.status not in orderly:
            self._crashed(process, *begun)

    def _report(self, lines: list[Line]) -> None:
        for what, *told in lines:
            if what == "start":
                self._hook.pytest_runtest_logstart(nodeid=told[0], location=tuple(told[1]))
            elif what == "finish":
                self._finished.add(told[0])
                self._hook.pytest_runtest_logfinish(nodeid=told[0], location=tuple(told[1]))
            elif what == "report":
                if isinstance(told[0]["longrepr"], list):  # why it was skipped; JSON has no tuples
                    told[0]["longrepr"] = tuple(told[0]["longrepr"])
                report = self._hook.pytest_report_from_serializable(config=self._config, data=told[0])
                self._second_look.keep(report)
                self._hook.pytest_runtest_logreport(report=report)
            else:
                nodeid, location, text, category, *place = told
                message = warnings.WarningMessage(text, type(category, (Warning,), {}), *place)
                self._hook.pytest_warning_recorded.call_historic(
                    kwargs={"warning_message": message, "when": "runtest", "nodeid": nodeid, "location": location}
                )

    def _crashed(self, process: _Process, nodeid: str, location: Line) -> None:
        self._crashes += 1
        how = f"The process that ran this ended with status {process.status}. The last that it wrote:\n\n"
        report = pytest.TestReport(
            nodeid, tuple(location), {}, "failed", how + process.output[-8000:], "call", duration=0.0
        )
        self._report([["start", nodeid, location]])
        self._second_look.keep(report)
        self._hook.pytest_runtest_logreport(report=report)
        self._report([["finish", nodeid, location]])

    def _end(self, processes: list[_Process]) -> None:
        try:
            for process in processes:
                process.interrupt()
            deadline = time.monotonic() + _PATIENCE
            while not all(process.ended for process in processes) and time.monotonic() < deadline:
                time.sleep(0.05)
                for process in processes:
                    self._hear(process, stopped=True)
        finally:
            for process in processes:
                if not process.ended:
                    process.kill()
