"""Context variables in the application's code: each piece of it begins without what the others have set."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from tests.socketio.conftest import Serve
from tests.support.inprocess import eventually
from wsgi_sio import Server, Socket

tenant: ContextVar[str | None] = ContextVar("tenant", default=None)


def test_nothing_that_one_piece_of_the_application_sets_is_found_by_another(serve: Serve) -> None:
    """One worker runs the handlers of all clients, of all kinds, one after the other."""
    io = Server(max_workers=1)
    seen: list[tuple[str, str | None]] = []

    def note(what: str) -> None:
        seen.append((what, tenant.get()))
        tenant.set("ann")

    io.use(lambda socket: note("connecting"))  # its connect handlers are the same job
    io.on("connection", lambda socket: seen.append(("welcome", tenant.get())))
    io.on("disconnecting", lambda socket: note("leaving"))
    io.on("event", lambda socket: note("event"))
    parent = io.of(lambda name, auth: note("namespace") or True)  # type: ignore[func-returns-value]
    parent.on("connect", lambda socket: note("connecting"))

    @io.on("ask")
    def ask(socket: Socket) -> None:
        note("event")
        socket.emit("question", callback=lambda *args: note("callback"))
        io.timeout(5).emit("question", callback=lambda *args: note("callback of all"))

    process = serve(io)
    for _ in range(2):
        client = process.client()
        client.connect()
        client.emit("event")
        client.emit("ask")
        client.answer(client.receive())
        client.answer(client.receive())
        client.connect("/dynamic")
        client.close()
    eventually(lambda: sum(what == "leaving" for what, _ in seen) == 2, "the ends")
    found: dict[str, set[Any]] = {}
    for what, value in seen:
        found.setdefault(what, set()).add(value)
    assert found.pop("welcome") == {"ann"}  # it is of the same piece
    assert len(found) == 6 and set.union(*found.values()) == {None}, found
