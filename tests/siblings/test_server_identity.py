"""Which server a process belongs to, and whether it has siblings; real servers: test_server_identity_live.py."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.siblings.test_server_addresses import accepted, unix_listener
from wsgi_sio.siblings.server_addresses import name_of
from wsgi_sio.siblings.server_identity import Alone, ServerIdentity, before_serving, find_server, identify_server

ONE: dict[str, Any] = {"wsgi.multiprocess": False, "SERVER_SOFTWARE": "gevent/26.9 Python/3.11"}
SEVERAL: dict[str, Any] = {"wsgi.multiprocess": True, "SERVER_SOFTWARE": "some server"}


class Worker:
    """What is used of gunicorn's, whose signal handlers are its methods."""

    def __init__(self, *sockets: Any, workers: int = 1) -> None:
        self.sockets = list(sockets)
        self.cfg = SimpleNamespace(workers=workers)

    def handle(self, number: int, frame: object) -> None:
        """Take a signal."""


@pytest.fixture
def signals() -> Iterator[None]:
    numbers = (signal.SIGABRT, signal.SIGUSR1)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests have forked."""
    monkeypatch.setattr("wsgi_sio.siblings.server_identity.has_forked", lambda: False)


def test_gunicorn_needs_no_request(signals: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        names = "|".join(sorted([str(name_of(one)), str(name_of(two))]))
        signal.signal(signal.SIGABRT, Worker(two, one).handle)
        assert find_server() == ServerIdentity(names, None)
        assert identify_server(None) == ServerIdentity(names, None)
        signal.signal(signal.SIGABRT, Worker(one, two, workers=2).handle)
        assert identify_server(ONE) == ServerIdentity(names, True)


def test_the_application_has_a_handler_of_its_own(signals: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one:
        signal.signal(signal.SIGABRT, lambda *_: None)
        signal.signal(signal.SIGUSR1, Worker(one).handle)
        assert find_server() == ServerIdentity(str(name_of(one)), None)


class Config:
    """What is used of gunicorn's."""

    workers = 1

    def __init__(self, called: list[object]) -> None:
        self.post_worker_init = called.append

    def set(self, name: str, value: Any) -> None:
        """As gunicorn's command line does."""
        setattr(self, name, value)


class Arbiter:
    """Likewise."""

    LISTENERS: tuple[Any, ...] = ()

    def __init__(self, cfg: Config) -> None:
        self.cfg = cfg

    def handle(self, number: int, frame: object) -> None:
        """Take a signal."""


def test_gunicorn_tells_when_it_is_about_to_serve(signals: None) -> None:
    """By its hook, behind the one that is there: in the worker, and in one that has just been forked."""
    called: list[object] = []
    worker = Worker()
    worker.cfg = Config(called)  # type: ignore[assignment]
    signal.signal(signal.SIGABRT, worker.handle)
    before_serving(lambda: called.append("ours"))
    assert not called
    worker.cfg.post_worker_init(worker)
    assert called == [worker, "ours"]


def test_whoever_has_just_been_forked_has_the_arbiter_s_handlers(signals: None) -> None:
    called: list[object] = []
    arbiter = Arbiter(Config(called))
    before = signal.signal(signal.SIGTERM, arbiter.handle)
    try:
        before_serving(lambda: called.append("ours"))
    finally:
        signal.signal(signal.SIGTERM, before)
    arbiter.cfg.post_worker_init("worker")
    assert called == ["worker", "ours"]


def test_nobody_tells_elsewhere_when_the_server_is_about_to_serve() -> None:
    before_serving(pytest.fail)


def test_gunicorn_that_has_closed_its_listeners(signals: None) -> None:
    """Not the rest of them, nor what else the process listens on: those would be another place."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        signal.signal(signal.SIGABRT, Worker(one, SimpleNamespace(sock=None)).handle)
        assert find_server(ONE) is None
        assert identify_server(ONE) == Alone("this process has no listening socket", missed=False)


def test_a_handler_of_something_else(signals: None) -> None:
    signal.signal(signal.SIGABRT, SimpleNamespace(sockets=[]).__init__)  # the arbiter's has no cfg, others neither
    assert identify_server(None) is None


def test_elsewhere_a_request_is_needed() -> None:
    assert find_server() is None
    assert identify_server(None) is None


def test_the_listener_that_fits_the_client() -> None:
    with socket.create_server(("127.0.0.1", 0)):
        listener = socket.create_server(("0.0.0.0", 0))
        name = str(name_of(listener))
        with accepted(listener) as client:
            assert find_server(SEVERAL, client) == ServerIdentity(name, True)
            assert find_server(ONE, client) == ServerIdentity(name, False)


def test_an_address_of_its_own_goes_before_all_addresses() -> None:
    """As the kernel has it; both may be there, of one port."""
    exact = socket.create_server(("127.0.0.1", 0))
    name = str(name_of(exact))
    with socket.socket() as wide:
        wide.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        exact.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            wide.bind(("0.0.0.0", exact.getsockname()[1]))
            wide.listen()
        except OSError:
            pass  # Linux does not let both be, without SO_REUSEPORT
        with accepted(exact) as client:
            assert find_server(SEVERAL, client) == ServerIdentity(name, True)


def test_two_of_one_port_are_one_place() -> None:
    """SO_REUSEPORT: two sockets, two inodes."""
    with _reusing(0) as one, _reusing(one.getsockname()[1]) as two:
        assert name_of(one) == name_of(two)
        one.close()
        with socket.create_connection(two.getsockname()), two.accept()[0] as client:
            assert find_server(SEVERAL, client) == ServerIdentity(str(name_of(two)), True)


def _reusing(port: int) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(("127.0.0.1", port))
    sock.listen()
    return sock


def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    with accepted(unix_listener(str(path))) as client:
        assert find_server(SEVERAL, client) == ServerIdentity(f"unix:{path}", True)


def test_somebody_else_accepts() -> None:
    """The parent passes connections on, say: their port is all that is to be seen."""
    with socket.create_server(("127.0.0.1", 0)):  # something else, of one process only
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        with accepted(listener) as client:
            listener.close()
            assert find_server(SEVERAL, client) == ServerIdentity(f"*:{port}", True)


def test_no_client_is_shown() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        place = find_server(SEVERAL)
        assert place is not None
        assert {name_of(one), name_of(two)} <= set(place.name.split("|"))
        assert place.name == "|".join(sorted(place.name.split("|")))


def test_a_client_that_has_been_closed_is_none() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one:
        client = socket.socket()
        client.close()
        place = find_server(SEVERAL, client)
        assert place is not None and str(name_of(one)) in place.name.split("|")


@pytest.mark.parametrize("private", ["wsgi_sio-1000/0123456789ab/AbCd", "pymp-abcd/listener-efgh"])
def test_private_listeners_are_no_servers(private: str, tmp_path: Path) -> None:
    """Each process has another: our own links' socket, and multiprocessing's."""
    path = tmp_path / private
    path.parent.mkdir(parents=True)
    with socket.create_server(("127.0.0.1", 0)), unix_listener(str(path)):
        place = find_server(SEVERAL)
        assert place is not None and str(path) not in place.name


def test_no_socket_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsgi_sio.siblings.server_identity.listening_names", frozenset)
    assert find_server(SEVERAL) is None
    assert identify_server(SEVERAL) == Alone("this process has no listening socket", missed=True)
    assert identify_server(ONE) == Alone("this process has no listening socket", missed=False)


def test_one_process_looks_for_nobody() -> None:
    with accepted(socket.create_server(("127.0.0.1", 0))) as client:
        assert identify_server(ONE, client) == Alone("the server has one process", missed=False)


def test_a_server_that_was_made_before_the_fork_may_have_others() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    name = str(name_of(listener))
    with accepted(listener) as client:
        assert identify_server(ONE, client, handed_down=True) == ServerIdentity(name, None)
        assert identify_server(SEVERAL, client, handed_down=True) == ServerIdentity(name, True)


def test_who_has_forked_has_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parent of a forked pywsgi serves beside its children."""
    monkeypatch.setattr("wsgi_sio.siblings.server_identity.has_forked", lambda: True)
    listener = socket.create_server(("127.0.0.1", 0))
    name = str(name_of(listener))
    with accepted(listener) as client:
        assert identify_server(ONE, client) == ServerIdentity(name, None)


def test_a_name_is_the_place() -> None:
    place = identify_server(ONE, None, "shop")
    assert place == identify_server(None, None, "shop") == ServerIdentity("name:shop", True)


def test_nobody_is_wanted() -> None:
    assert identify_server(SEVERAL, None, False) == Alone("siblings=False", missed=False)


@pytest.mark.parametrize("siblings", [True, "shop"])
def test_a_process_for_each_request_is_nobodys_sibling(siblings: bool | str) -> None:
    forking = identify_server({**SEVERAL, "SERVER_SOFTWARE": "Werkzeug/3.1.9"}, None, siblings)
    assert isinstance(forking, Alone) and forking.missed and "werkzeug" in forking.why
    cgi = identify_server({**SEVERAL, "wsgi.run_once": True}, None, siblings)
    assert isinstance(cgi, Alone) and cgi.missed and "CGI" in cgi.why


def test_a_system_without_unix_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("_socket.AF_UNIX")
    why = "this system has no Unix sockets that carry descriptors"
    assert identify_server(SEVERAL) == Alone(why, missed=True)
    assert identify_server(ONE, None, "shop") == Alone(why, missed=True)
    assert identify_server(ONE) == Alone(why, missed=False)
