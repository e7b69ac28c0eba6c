"""What real servers' processes find out about themselves: the same place, whoever of them is asked, and no other."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.siblings.running import ask, ask_until, free_port, gunicorn, running, several_of
from tests.support.require import require
from tests.support.world import WORLD

threads_only = pytest.mark.skipif(WORLD == "gevent", reason="a server of the world of threads")
gevent_only = pytest.mark.skipif(WORLD != "gevent", reason="a server of the world of greenlets")
WORKER = "gevent" if WORLD == "gevent" else "gthread"


@pytest.fixture
def directory() -> Iterator[Path]:
    """A short one, as paths of sockets have to be."""
    path = Path(tempfile.mkdtemp(prefix="sio"))
    yield path
    shutil.rmtree(path)


def places(answers: list[dict[str, Any]]) -> set[str]:
    return {answer["place"] for answer in answers}


def own_command(kind: str, port: int) -> list[str]:
    return ["-m", "tests.siblings.serve", kind, str(port)]


def check_binds(worker: str, directory: Path, *options: str) -> None:
    """All binds of a server are one place, by whichever a request has come, and without any request."""
    port, wide = free_port(), free_port()
    path = str(directory / "app.sock")
    binds = [f"127.0.0.1:{port}", f"0.0.0.0:{wide}", f"unix:{path}"]
    with running(gunicorn("-w", "2", "-k", worker, *options, binds=binds), port, directory):
        answers = [*ask_until(port, several_of(2)), ask(wide), ask(path)]
    assert places(answers) == {f"0.0.0.0:{wide}|127.0.0.1:{port}|unix:{path}"}
    assert all(answer["before"] == answer["place"] and answer["several"] for answer in answers)


def test_gunicorn(directory: Path) -> None:
    check_binds(WORKER, directory)


@pytest.mark.slow
@threads_only
def test_gunicorn_sync(directory: Path) -> None:
    check_binds("sync", directory)


@pytest.mark.slow
@gevent_only
def test_gunicorn_pywsgi(directory: Path) -> None:
    check_binds("gevent_pywsgi", directory)


@pytest.mark.slow
def test_gunicorn_preloaded(directory: Path) -> None:
    check_binds(WORKER, directory, "--preload")


@pytest.mark.slow
@pytest.mark.parametrize("preload", [False, True])
def test_a_worker_knows_at_the_import_and_its_parent_does_not(preload: bool, directory: Path) -> None:
    """Nobody takes the arbiter, which loads a preloaded application, for a worker."""
    port = free_port()
    options = ["-k", WORKER, *(["--preload"] if preload else [])]
    with running(gunicorn(*options, binds=[f"127.0.0.1:{port}"]), port, directory, SIBLINGS_SHOW="1") as server:
        found = [line for line in server.log().splitlines() if line.startswith("at import: ")]
    shown = "None" if preload else f"ServerIdentity(name='127.0.0.1:{port}', several=None)"
    assert found == [f"at import: {shown}"]


@pytest.mark.slow
def test_one_worker_of_gunicorn_may_have_siblings(directory: Path) -> None:
    port = free_port()
    with running(gunicorn("-k", WORKER, binds=[f"127.0.0.1:{port}"]), port, directory):
        answer = ask(port)
    assert (answer["place"], answer["several"]) == (f"127.0.0.1:{port}", None)


@pytest.mark.slow
def test_a_unix_socket_alone(directory: Path) -> None:
    """Bound by a path that is relative to where gunicorn is."""
    path = str(directory / "app.sock")
    relative = os.path.relpath(path)
    with running(gunicorn("-w", "2", "-k", WORKER, binds=[f"unix:{relative}"]), path, directory):
        answers = ask_until(path, several_of(2))
    assert places(answers) == {f"unix:{path}"}
    assert {answer["client"] for answer in answers} <= {f"unix:{path}", None}


@pytest.mark.slow
def test_an_ipv6_wildcard(directory: Path) -> None:
    """An IPv4 client's address is mapped; gunicorn is not the one whose name could tell."""
    if not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 here")
    port = free_port("::")
    with running(gunicorn("-w", "2", "-k", WORKER, binds=[f"[::]:{port}"]), port, directory):
        answers = [*ask_until(port, several_of(2)), ask(port, "::1")]
    assert places(answers) == {f"[::]:{port}"}
    assert {answer["client"] for answer in answers} == {f"[::ffff:127.0.0.1]:{port}", f"[::1]:{port}"}


@pytest.mark.slow
def test_a_socket_for_each_worker(directory: Path) -> None:
    """--reuse-port: sockets of their own, one name."""
    port = free_port()
    with running(gunicorn("-w", "2", "-k", WORKER, "--reuse-port", binds=[f"127.0.0.1:{port}"]), port, directory):
        answers = ask_until(port, several_of(2))
    assert places(answers) == {f"127.0.0.1:{port}"}


@pytest.mark.slow
def test_a_socket_of_systemds(directory: Path) -> None:
    """Socket activation: descriptor 3, and LISTEN_PID is the server's, which the shell becomes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        code = (
            "import os, sys; os.dup2(int(sys.argv[1]), 3);"
            "os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()));"
            "os.execv(sys.executable, [sys.executable, *sys.argv[2:]])"
        )
        command = ["-c", code, str(listener.fileno()), *gunicorn("-w", "2", "-k", WORKER, binds=[])]
        with running(command, port, directory, inherited=(listener.fileno(),)):
            answers = ask_until(port, several_of(2))
    assert places(answers) == {f"127.0.0.1:{port}"}


@pytest.mark.slow
@pytest.mark.parametrize("by", [signal.SIGHUP, signal.SIGUSR2])
def test_new_workers_are_where_the_old_ones_are(by: signal.Signals, directory: Path) -> None:
    """A reload, and an upgrade to another master, whose workers are beside the old ones."""
    port, path = free_port(), str(directory / "app.sock")
    binds = [f"127.0.0.1:{port}", f"unix:{path}"]
    program = directory / "gunicorn"  # as pip makes it: after USR2, "-m gunicorn" would not find its modules
    program.write_text("from gunicorn.app.wsgiapp import run; run()")
    command = gunicorn("-w", "2", "-k", WORKER, binds=binds, program=[str(program)])
    with running(command, port, directory) as server:
        before = ask_until(port, several_of(2))
        old = {answer["pid"] for answer in before}
        os.kill(server.pid, by)
        after = ask_until(port, lambda answers: len({answer["pid"] for answer in answers} - old) >= 2)
        new = [answer for answer in after if answer["pid"] not in old]
        masters = {answer["parent"] for answer in new}
        assert (masters == {server.pid}) == (by == signal.SIGHUP)
    assert places(before) == places(after) == {f"127.0.0.1:{port}|unix:{path}"}


@pytest.mark.slow
@gevent_only
def test_forked_pywsgi(directory: Path) -> None:
    """The child has got the application from its parent; the parent serves as well, and has a child."""
    port = free_port()
    with running(own_command("pywsgi_forked", port), port, directory):
        answers = ask_until(port, several_of(2))
    assert places(answers) == {f"127.0.0.1:{port}"}
    assert {answer["several"] for answer in answers} == {None}


ALONE = [
    pytest.param("werkzeug", marks=threads_only),
    *(pytest.param(kind, marks=(threads_only, pytest.mark.slow)) for kind in ("wsgiref", "waitress", "cheroot")),
    pytest.param("pywsgi", marks=gevent_only),
]


@pytest.mark.parametrize("kind", ALONE)
def test_one_process(kind: str, directory: Path) -> None:
    port = free_port()
    with running(own_command(kind, port), port, directory):
        answer = ask(port)
    assert (answer["place"], answer["why"], answer["missed"]) == (None, "the server has one process", False)
    assert answer["listening"] == [f"{'0.0.0.0' if kind == 'wsgiref' else '127.0.0.1'}:{port}"]


@pytest.mark.slow
@threads_only
def test_werkzeug_that_forks(directory: Path) -> None:
    port = free_port()
    with running(own_command("werkzeug_forking", port), port, directory):
        answer = ask(port)
    assert answer["place"] is None and answer["missed"]
    assert answer["why"] == "werkzeug's server forks a process for each request (processes=)"


@pytest.mark.slow
@threads_only
def test_below_asgi(directory: Path) -> None:
    """Where no socket is to be seen, and several processes are always spoken of."""
    port = free_port()
    with running(own_command("a2wsgi", port), port, directory):
        answer = ask(port)
    assert (answer["client"], answer["place"], answer["several"]) == (None, f"127.0.0.1:{port}", True)


@pytest.mark.slow
@threads_only
@pytest.mark.parametrize("kind", ["uwsgi", "uwsgi_router"])
def test_uwsgi(kind: str, directory: Path) -> None:
    """No client's socket is to be seen; behind a router it is a port that the kernel has chosen."""
    require(find_spec("pyuwsgi"), "uWSGI: pip install pyuwsgi")
    port = free_port()
    with running(own_command(kind, port), port, directory):
        answers = ask_until(port, several_of(2))
    assert len(places(answers)) == 1
    assert all(answer["client"] is None and answer["several"] for answer in answers)
    assert (places(answers) == {f"127.0.0.1:{port}"}) == (kind == "uwsgi")
