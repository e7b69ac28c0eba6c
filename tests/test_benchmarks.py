"""The benchmark measures what it says: every answer counted once, what is wrong marked, figures in the tables.

Nothing is asserted about speed.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.facts import describe
from benchmarks.install import Cache, Unavailable
from benchmarks.load import EchoBook, LoadError, Tally
from benchmarks.measure import AVAILABLE, interpreter
from benchmarks.plan import choose, run_all
from benchmarks.polling import parse_response
from benchmarks.report import Results, ratio_table, report
from benchmarks.scenarios import SCENARIOS, Sample, Scenario, Setting
from benchmarks.servers import KINDS, Ready, ServerKind, with_compiled
from tests.support.require import require
from tests.support.world import one_world

SETTING = Setting(seconds=0.2, rounds=2, cores=None, cache=Cache(Path()))
SMALL = (
    Scenario("echo", "echo", "Echo", "message", clients=3, depth=4),
    Scenario("broadcast", "broadcast", "Broadcast", "delivery", clients=4),
    Scenario("polling", "polling", "Polling", "message", clients=2),
    Scenario("connect", "connect", "Connecting", "connection", clients=5, depth=2),
    Scenario("idle", "idle", "Idle", "connection", clients=5),
    Scenario("json", "echo", "JSON", "message", clients=2, data=b'[{"a":1}]', extra="standard"),
)
OURS = [kind for kind in KINDS if kind.name.startswith("ours")]


@one_world
@pytest.mark.slow
@pytest.mark.parametrize("kind", OURS, ids=lambda kind: kind.name)
def test_our_server_answers_everything_exactly_once(kind: ServerKind, tmp_path: Path) -> None:
    """The smallest run of every scenario, through to the report."""
    require(find_spec("gunicorn"), "gunicorn")
    require(kind.name != "ours-gevent" or find_spec("gevent"), "gevent")
    servers = {kind: kind.prepare(Cache(tmp_path))}
    samples = run_all(SMALL, servers, SETTING)
    assert [(sample.scenario, sample.round) for sample in samples] == [
        (scenario.name, number) for scenario in SMALL for number in range(2)
    ]
    for sample in samples:
        assert (sample.error, sample.faults) == ("", {}), sample.scenario
        assert sample.count > 0
        assert (sample.cpu is not None) == AVAILABLE
    results = Results({kind.name: kind.title}, samples)
    text = report(SMALL, results, describe(servers, samples, SETTING))
    assert text.count("✓") == len(SMALL)
    assert "✗" not in text
    for scenario in SMALL:
        assert f"### {scenario.title}" in text
    assert f"* interpreter: {interpreter()}" in text


def test_the_report_names_the_interpreter_and_how_it_was_built() -> None:
    named = describe({}, [], SETTING)["interpreter"]
    assert re.match(rf"{platform.python_implementation()} {re.escape(platform.python_version())} \(.+\)$", named)
    assert "--enable-optimizations" in named or sysconfig.get_config_var("CONFIG_ARGS") is None
    assert "/" not in named, "no path of this machine"
    command = [sys.executable, "-OO", "-c", "from benchmarks.measure import interpreter; print(interpreter())"]
    root = Path(__file__).resolve().parents[1]
    told = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, check=True).stdout
    assert told == f"{named.removesuffix(')')}, run with -OO)\n"


def test_the_parser_of_gunicorn_is_named_where_it_is_installed(tmp_path: Path) -> None:
    """It makes gunicorn faster without being asked for."""
    require(find_spec("gunicorn"), "gunicorn")
    code = "from benchmarks.servers import KINDS; from benchmarks.install import Cache; from pathlib import Path; "
    code += "print(dict({kind.name: kind for kind in KINDS}['ours-gthread'].prepare(Cache(Path())).versions))"
    root = Path(__file__).resolve().parents[1]
    (tmp_path / "gunicorn_h1c-9.9.dist-info").mkdir()
    (tmp_path / "gunicorn_h1c-9.9.dist-info" / "METADATA").write_text("Name: gunicorn_h1c\nVersion: 9.9\n")
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{root}"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, timeout=60, check=True)
    assert "'gunicorn_h1c': '9.9'" in done.stdout


def test_a_message_is_right_only_once() -> None:
    tally = Tally()
    book = EchoBook(tally, client=7)
    request = book.request()
    answer = request.replace(b"42", b"43", 1).replace(b'"echo",', b"")
    assert not book.check(answer.replace(b"client 7", b"client 8"))
    assert book.check(answer)
    assert not book.check(answer)
    assert (tally.sent, tally.answered, book.pending) == (1, 1, set())
    assert tally.faults == {"wrong answers": 1, "answered twice": 1}


def test_a_row_with_losses_is_marked_in_both_tables() -> None:
    scenario = SMALL[0]
    clean = Sample("echo", "good", 0, count=10, seconds=1.0, cpu=0.001)
    lossy = Sample("echo", "bad", 0, count=10, seconds=1.0, cpu=0.002, faults={"lost": 3})
    text = report([scenario], Results({"good": "Good", "bad": "Bad"}, [clean, lossy]), {})
    assert "| Echo, 100 WebSockets, µs | 100 | 200 ✗ |" in text
    assert "| Good | 100 |" in text
    assert "✗ 3 lost |" in text


def test_several_rounds_give_the_median_and_the_range() -> None:
    samples = [Sample("echo", "one", number, count=1000, seconds=1.0, cpu=cpu) for number, cpu in enumerate((3, 1, 2))]
    assert "| One | 2,000 (1,000 to 3,000) |" in report([SMALL[0]], Results({"one": "One"}, samples), {})


def test_ratios_are_those_of_the_same_round() -> None:
    """The machine was slow in the second round, for both."""
    samples = [Sample("echo", "one", number, count=1, seconds=1.0, cpu=cpu) for number, cpu in enumerate((1, 30, 3))]
    samples += [Sample("echo", "node", number, count=1, seconds=1.0, cpu=cpu) for number, cpu in enumerate((2, 30, 2))]
    samples += [Sample("echo", "gone", 0, count=1, seconds=1.0, cpu=1, error="hangs")]
    samples += [Sample("echo", "absent", 0, missing="not installed")]
    titles = {"one": "One", "node": "Node", "gone": "Gone", "absent": "Absent"}
    table = ratio_table(Results(titles, samples))
    assert table.heads == ["", "One", "Gone"]
    assert table.rows == [["Echo, 100 WebSockets, µs", "1.00 (0.50–1.50)", "–"]]
    assert "* not measured: Absent, echo: not installed\n" in report([], Results(titles, samples), {})


@one_world
@pytest.mark.slow
def test_the_servers_have_their_turns_round_by_round() -> None:
    require(find_spec("gunicorn"), "gunicorn")
    ready = OURS[1].prepare(Cache(Path()))
    kinds = [ServerKind(name, name, lambda _cache: ready) for name in ("one", "other")]
    samples = run_all([SMALL[0]], dict.fromkeys(kinds, ready), SETTING)
    assert [(sample.round, sample.server) for sample in samples] == [(0, "one"), (0, "other"), (1, "one"), (1, "other")]


def test_who_cannot_have_so_many_clients_is_left_out_with_the_reason() -> None:
    notes: list[Sample] = []
    kind = {kind.name: kind for kind in KINDS}["pysio-gthread"]
    idle = {scenario.name: scenario for scenario in SCENARIOS}["idle"]
    assert choose(idle, {kind: Ready(lambda fd, websockets, pollers: [], {})}, Cache(Path()), notes.append) == {}
    assert [sample.missing for sample in notes] == ["not with 4,000 clients"]


def test_an_interpreter_without_the_compiled_wheel_is_told(tmp_path: Path) -> None:
    require(find_spec("gunicorn") and find_spec("gevent"), "gunicorn and gevent")
    kinds = {kind.name: kind for kind in with_compiled(tmp_path / "python")}
    assert list(kinds)[:4] == ["ours-gevent", "ours-gthread", "ours-gevent-compiled", "ours-gthread-compiled"]
    with pytest.raises(Unavailable, match="python: No such file"):
        kinds["ours-gthread-compiled"].prepare(Cache(tmp_path))
    (tmp_path / "python").symlink_to(sys.executable)
    with pytest.raises(Unavailable, match="python has no compiled wsgi_sio"):
        kinds["ours-gthread-compiled"].prepare(Cache(tmp_path))


def test_a_server_that_does_not_start_is_an_error_in_its_row() -> None:
    """With what it wrote; a line break or a bar in that cannot break the table."""
    broken = Ready(lambda fd, websockets, pollers: ["sh", "-c", "echo 'no | such\nmodule'; exit 1"], {})
    samples = run_all([SMALL[0]], {ServerKind("broken", "Broken", lambda _cache: broken): broken}, SETTING)
    text = report(SMALL, Results({"broken": "Broken"}, samples), {})
    assert "✗ the server does not answer" in text
    assert "no / such module" in text


def test_a_missing_node_skips_its_row_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["--quick", "--servers", "node", "--rows", "echo", "--cache", str(tmp_path)]) == 0
    output = capsys.readouterr()
    assert "skipped: socket.io, Node.js: Node.js and npm are not installed" in output.err
    assert "* not measured: socket.io, Node.js, echo: Node.js and npm are not installed" in output.out
    with pytest.raises(Unavailable):
        Cache(tmp_path).socket_io()
    with pytest.raises(Unavailable, match="npm is not installed"):
        Cache(tmp_path).bun(tmp_path / "bun.mjs")


@pytest.mark.parametrize("arguments", [["--servers", "apache"], ["--rows", "echo,dance"]])
def test_an_unknown_name_is_refused_with_the_known_ones(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match=re.compile("unknown: (apache; there are ours|dance; there are echo)")):
        main(arguments)


@pytest.mark.parametrize(
    ("response", "parsed"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", (b"ok", True)),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\ncontent-length: 2\r\n\r\nok", (b"ok", False)),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n", (b"ok", True)),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no", None),
        (b"HTTP/1.1 200 OK\r\nContent-Len", None),
    ],
)
def test_http_responses_are_read_to_their_end(response: bytes, parsed: tuple[bytes, bool] | None) -> None:
    assert parse_response(response) == parsed


def test_an_http_error_is_no_answer() -> None:
    with pytest.raises(LoadError, match="400"):
        parse_response(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
