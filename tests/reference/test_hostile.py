"""Packets that make no sense end their own connection; the listeners of ``error`` learn why, nobody else is harmed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.reference.conftest import TRANSPORTS, Serve, join
from tests.support.inprocess import SEPARATOR, InProcess, Polling, eventually
from wsgi_sio import Server

JUNK = {
    "no attachment count": ("45woooot", "Illegal attachments"),
    "a bare binary event": ("45", "Illegal attachments"),
    "no packet at all": ("4", "empty packet"),
    "an unknown type": ("4abc", "unknown packet type"),
    "an event that is no list": ("42{}", "invalid payload"),
}


@TRANSPORTS
@pytest.mark.parametrize("packet", [packet for packet, _ in JUNK.values()] + ['444["handle me please"]'])
def test_junk_ends_its_own_connection_and_harms_nobody_else(serve: Serve, transport: str, packet: str) -> None:
    io = Server()
    io.on("echo", lambda socket, value: value)
    reasons: list[str] = []
    process = serve(io)
    other, _ = join(process, io)
    client, socket = join(process, io, transport=transport)
    socket.on("disconnect", reasons.append)
    client.wire.send(packet)
    client.wait_closed()
    eventually(lambda: reasons, "the end")
    assert reasons == ["forced close"]
    assert other.call("echo", 1) == [1]


@TRANSPORTS
@pytest.mark.parametrize(("packet", "message"), JUNK.values(), ids=list(JUNK))
def test_junk_is_told_to_the_listeners_of_error_before_the_end(
    serve: Serve, transport: str, packet: str, message: str
) -> None:
    """In each namespace that the client has joined."""
    io = Server()
    io.of("/other")
    seen: dict[str, list[Any]] = {"/": [], "/other": []}
    client, socket = join(serve(io), io, transport=transport)
    sockets = [socket, io.of("/other").sockets[client.connect("/other")]]
    for each in sockets:
        each.on("error", seen[each.nsp.name].append)
        each.on("disconnect", seen[each.nsp.name].append)
    client.wire.send(packet)
    client.wait_closed()
    eventually(lambda: all(len(told) == 2 for told in seen.values()), "error, then disconnect")
    for error, reason in seen.values():
        assert isinstance(error, Exception) and message in str(error)
        assert reason == "forced close"


# -- over raw polling -------------------------------------------------------------------------------------------------


def handshake(process: InProcess, io: Server) -> tuple[Polling, str]:
    """A polling session that has joined the main namespace; the answer is still to be fetched."""
    polling = process.polling()
    polling.send("40")
    eventually(lambda: process.engine.sessions[polling.sid].outbox_size, "the answer")
    (sid,) = io.sockets.sockets
    return polling, f'40{{"sid":"{sid}"}}'


@pytest.mark.parametrize("packet", ["40", "4abc", "4"], ids=["a second CONNECT", "an unknown type", "an empty packet"])
def test_who_breaks_the_protocol_over_polling_gets_what_was_waiting_and_then_the_end(serve: Serve, packet: str) -> None:
    io = Server()
    polling, answer = handshake(serve(io), io)
    polling.send(packet)
    assert polling.get().body.decode() == answer
    assert polling.get().body.decode() == f"6{SEPARATOR}1"
    assert polling.get().status == 400


def test_an_event_before_any_connect_ends_the_polling_session(serve: Serve) -> None:
    polling = serve(Server()).polling()
    polling.send('42["some event"]')
    assert polling.get().body.decode() == f"6{SEPARATOR}1"
    assert polling.get().status == 400
