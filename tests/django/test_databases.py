"""Database connections around events: closed when their time is over, broken ones replaced, as around requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import DatabaseError, connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from tests.django.conftest import Site
from tests.support.inprocess import eventually
from wsgi_sio.django import Socket


@pytest.fixture
def keep_connections() -> Any:
    """Let connections live for ever."""
    settings = connections.settings["default"]
    settings["CONN_MAX_AGE"] = None
    yield
    settings["CONN_MAX_AGE"] = 0


def use() -> BaseDatabaseWrapper:
    """Query; the open connection of this thread."""
    from polls.models import Choice

    Choice.objects.count()
    wrapper = connections["default"]
    assert wrapper.connection is not None
    return wrapper


def closed(wrapper: BaseDatabaseWrapper) -> Callable[[], bool]:
    return lambda: wrapper.connection is None


@pytest.mark.parametrize("event", ["connect", "connection", "query", "disconnecting", "disconnect"])
def test_a_handler_leaves_no_connection_open(site: Site, event: str) -> None:
    used: list[BaseDatabaseWrapper] = []
    site.io.on(event, lambda socket: used.append(use()))
    client = site.joined()
    client.emit("query")
    client.call("whoami")
    client.close()
    eventually(lambda: used)
    eventually(closed(used[0]))


def test_nor_does_what_fails_or_is_called_back_or_runs_in_the_background(site: Site) -> None:
    used: list[BaseDatabaseWrapper] = []

    @site.io.on("fail")
    def fail(socket: Socket) -> None:
        used.append(use())
        raise ValueError("on purpose")

    @site.io.on("ask")
    def ask(socket: Socket) -> None:
        socket.emit("question", callback=lambda: used.append(use()))
        socket.timeout(0.01).emit("unanswered", callback=lambda error: used.append(use()))

    @site.io.on("task")
    def task(socket: Socket) -> None:
        site.io.start_background_task(lambda: used.append(use()))

    client = site.joined()
    client.emit("fail")
    client.emit("ask")
    client.answer(client.receive())
    client.emit("task")
    eventually(lambda: len(used) == 4)
    for wrapper in used:
        eventually(closed(wrapper))


def test_a_middleware_of_a_socket_too(site: Site) -> None:
    used: list[BaseDatabaseWrapper] = []

    @site.io.on("connection")
    def connection_(socket: Socket) -> None:
        socket.use(lambda data: used.append(use()))

    site.joined().call("whoami")
    eventually(closed(used[0]))


def test_nor_do_callbacks_of_broadcasts_and_questions_about_namespaces(site: Site) -> None:
    used: list[BaseDatabaseWrapper] = []
    site.io.of(lambda name, auth: used.append(use()) is None)
    client = site.client()
    client.connect("/asked-for")
    site.io.of("/asked-for").timeout(5).emit("question", callback=lambda error, answers: used.append(use()))
    client.answer(client.receive())
    eventually(lambda: len(used) == 2)
    for wrapper in used:
        eventually(closed(wrapper))


def test_nor_do_events_of_other_servers(site: Site) -> None:
    used: list[BaseDatabaseWrapper] = []
    site.io.on_server_side("use", lambda: used.append(use()))
    site.io.sockets.server_side_handlers.run(["use"])  # as adapters do
    assert closed(used[0])()


def test_persistent_connections_persist_unless_they_are_broken(
    site: Site, keep_connections: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[BaseDatabaseWrapper] = []

    @site.io.on("break")
    def break_it(socket: Socket) -> None:
        wrapper = use()
        used.append(wrapper)
        wrapper.connection.close()  # as a database server's restart does
        with pytest.raises(DatabaseError):
            use()

    site.io.on("use", lambda socket: used.append(use()))
    client = site.joined()
    client.call("use")
    client.call("whoami")
    assert used[0].connection is not None
    monkeypatch.setattr(type(used[0]), "is_usable", lambda wrapper: False)  # sqlite's does not look
    assert client.call("break") == []
    eventually(closed(used[1]))
    client.call("use")


def test_the_log_of_queries_begins_anew(site: Site) -> None:
    """With DEBUG each connection keeps its queries, which would never end in a worker's thread."""

    @site.io.on("queries")
    def queries(socket: Socket) -> int:
        use()
        return len(connection.queries)

    client = site.joined()
    assert [client.call("queries") for _ in range(3)] == [[1], [1], [1]]


def test_trouble_with_closing_hinders_no_event(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A client is dismissed although its worker's connection cannot be closed."""

    def fail(wrapper: BaseDatabaseWrapper) -> None:
        raise DatabaseError("cannot be closed")

    client = site.joined()
    use_first = site.io.on("use", lambda socket: use() and None)
    monkeypatch.setattr(BaseDatabaseWrapper, "close_if_unusable_or_obsolete", fail)
    assert callable(use_first) and client.call("use") == []
    assert client.call("whoami") == [""]
    client.close()
    eventually(lambda: not site.io.fetch_sockets())
    monkeypatch.undo()
    assert "tidying up around an event failed" in caplog.text
