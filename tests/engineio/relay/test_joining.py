"""A page is a request as well: the process that serves it joins its siblings, beside it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from itertools import count
from typing import Any

import pytest

from tests.engineio.conftest import Engine, MakeEngine
from tests.engineio.relay.conftest import company
from tests.support.inprocess import Background, eventually
from wsgi_sio import WSGIApp
from wsgi_sio.siblings import Siblings

_names = count()


def page(engine: Engine, path: str = "/", **environ: Any) -> bytes:
    """What a page of the application answers, which is wrapped as for any WSGI server."""

    def site(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [])
        return [b"page"]

    request = {**engine.environ("GET"), "PATH_INFO": path, **environ}
    return b"".join(WSGIApp(engine.engine, site)(request, lambda *_: None))


@pytest.fixture
def named(make_engine: MakeEngine, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Engine]]:
    """Two engines of one name, which have served nothing."""
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    name = f"pages-{os.getpid()}-{next(_names)}"
    engines = [make_engine(siblings=name) for _ in range(2)]
    for engine in engines:
        engine.engine.joining._ordinal = 0  # as if each were the first of its process
    yield engines
    for engine in engines:
        if engine.engine.joining.company is not None:
            company(engine).siblings.leave()


def knows(engine: Engine) -> int:
    """How many siblings are known to it."""
    joined = engine.engine.joining.company
    return 0 if joined is None else sum(link.known for link in joined.siblings.links())


def test_whoever_serves_a_page_joins(named: list[Engine]) -> None:
    for engine in named:
        assert page(engine) == b"page"
    for engine in named:
        eventually(lambda engine=engine: knows(engine) == 1 and engine.engine.joining.settled, "the sibling")


def test_the_page_does_not_wait(named: list[Engine], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does the next one join again, while a request of Socket.IO waits until its id can have a tag."""
    going_on, joins = threading.Event(), []
    join = Siblings.join

    def slowly(siblings: Siblings, patience: float = 1.0) -> None:
        joins.append(siblings)
        assert going_on.wait(30)
        join(siblings, patience)

    monkeypatch.setattr(Siblings, "join", slowly)
    engine = named[0]
    assert page(engine) == page(engine, "/again") == b"page"
    eventually(lambda: len(joins) == 1, "the beginning")
    session = Background(lambda: engine.request("GET", transport="polling"))
    going_on.set()
    assert session.result().status == 200
    assert engine.sessions[0].id[-4:] == engine.engine.tag != ""
    assert len(joins) == 1


def test_nobody_gets_sessions_of_others_before_all_know_of_it(
    named: list[Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its clients would miss what those broadcast who do not."""
    first, second = named
    assert page(first) == b"page"
    eventually(lambda: first.engine.joining.settled, "the first one")
    joined, going_on = threading.Event(), threading.Event()
    join = Siblings.join

    def slowly(siblings: Siblings, patience: float = 1.0) -> None:
        join(siblings, patience)
        joined.set()
        assert going_on.wait(30)  # another sibling has not answered yet

    monkeypatch.setattr(Siblings, "join", slowly)
    assert page(second) == b"page"
    assert joined.wait(30)
    placement = company(first).load_balancer
    eventually(lambda: knows(first) == 1, "the second one")
    assert placement._choose(leaving=True) is None
    going_on.set()
    eventually(lambda: placement._choose(leaving=True) is not None, "that it takes sessions")


def test_who_is_alone_makes_nothing_for_a_page(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No thread, and no word: that several processes miss each other concerns nobody who sees pages only."""
    monkeypatch.setattr("wsgi_sio.siblings.server_identity.has_forked", lambda: False)  # as other tests have
    for environ in ({}, {"wsgi.multiprocess": True, "SERVER_SOFTWARE": "Werkzeug/3"}, {"wsgi.run_once": True}):
        engine = make_engine()
        assert page(engine, **environ) == b"page"
        assert engine.engine._serving is None and not engine.engine.joining.settled
    assert not caplog.records


def test_nothing_is_made_where_gevent_serves_without_its_patches(
    named: list[Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its requests of Socket.IO are an error; its pages are none of ours."""
    monkeypatch.setattr("wsgi_sio.engineio.relay.joining.threads_are_greenlets", lambda: False)
    engine = named[0]
    assert page(engine, SERVER_SOFTWARE="gevent/26.9 Python/3.11") == b"page"
    assert engine.engine._serving is None


def test_a_page_is_served_when_nothing_can_be_joined(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What has failed is told once, as it would be with the first request of Socket.IO."""

    def fail(*_: object) -> str:
        raise OSError("nowhere")

    monkeypatch.setattr("wsgi_sio.engineio.relay.joining.make_directory", fail)
    engine = make_engine(siblings="a name")
    assert page(engine) == b"page"
    eventually(lambda: engine.engine.joining.settled, "an end")
    assert [record.levelname for record in caplog.records] == ["WARNING"] and "nowhere" in caplog.text
    assert page(engine) == b"page"
