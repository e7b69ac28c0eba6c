"""ATOMIC_REQUESTS: a handler's writes are rolled back when it raises, as a view's are."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection, connections, transaction

from tests.django.conftest import Site
from tests.support.inprocess import eventually
from wsgi_sio.django import ConnectRefused, Socket
from wsgi_sio.socketio.packet import CONNECT, CONNECT_ERROR, Packet


@pytest.fixture
def atomic_requests() -> Iterator[None]:
    settings = connections.settings["default"]
    settings["ATOMIC_REQUESTS"] = True
    yield
    settings["ATOMIC_REQUESTS"] = False


def write(text: str) -> None:
    from polls.models import Choice

    Choice.objects.create(text=text)


def written() -> list[str]:
    from polls.models import Choice

    return list(Choice.objects.order_by("text").values_list("text", flat=True))


def write_and_fail(*args: object) -> None:
    write("failed")
    raise ValueError("on purpose")


@pytest.mark.usefixtures("atomic_requests")
def test_what_a_failing_handler_has_written_is_rolled_back(site: Site) -> None:
    def fail_for_one(socket: Socket) -> None:
        socket.on("own", write_and_fail)

    site.io.on("connection", fail_for_one)
    site.io.on("fail", write_and_fail)
    site.io.on("write", lambda socket: write("kept"))
    site.io.on("*", write_and_fail)
    site.io.on("disconnect", write_and_fail)
    site.io.on_server_side("fail", write_and_fail)
    client = site.joined()
    for event in ("fail", "own", "anything"):
        client.emit(event)
    assert client.call("write") == []
    site.io.sockets.server_side_handlers.run(["fail"])  # as adapters do
    client.close()
    eventually(lambda: not site.io.fetch_sockets())
    assert written() == ["kept"]


@pytest.mark.usefixtures("atomic_requests")
def test_who_is_refused_has_written_nothing(site: Site) -> None:
    @site.io.on("connect")
    def connect(socket: Socket, auth: dict[str, str]) -> None:
        write(auth["name"])
        if auth["name"] == "eve":
            raise ConnectRefused("no")

    for name, kind in (("eve", CONNECT_ERROR), ("ada", CONNECT)):
        client = site.client()
        client.send(Packet(CONNECT, "/", {"name": name}))
        assert client.receive().type == kind
    assert written() == ["ada"]


@pytest.mark.usefixtures("atomic_requests")
def test_children_of_dynamic_namespaces_and_classes_are_atomic_too(site: Site) -> None:
    parent = site.io.of(lambda name, auth: True)
    parent.on("atomic", lambda socket: connection.in_atomic_block)
    client = site.client()
    client.connect("/dynamic")
    client.emit("atomic", nsp="/dynamic", ack=1)
    assert client.receive().data == [True]


@pytest.mark.usefixtures("atomic_requests")
def test_it_is_committed_before_the_acknowledgement(site: Site) -> None:
    site.io.on("write", lambda socket: write("kept"))
    client = site.joined()
    client.call("write")
    assert written() == ["kept"]


@pytest.mark.usefixtures("atomic_requests")
def test_a_handler_opts_out_as_a_view_does(site: Site) -> None:
    site.io.on("atomic", lambda socket: connection.in_atomic_block)

    @site.io.on("not atomic")
    @transaction.non_atomic_requests
    def not_atomic(socket: Socket) -> bool:
        return connection.in_atomic_block

    client = site.joined()
    assert [client.call("atomic"), client.call("not atomic")] == [[True], [False]]


def test_without_the_setting_nothing_is_atomic(site: Site) -> None:
    site.io.on("atomic", lambda socket: connection.in_atomic_block)
    assert site.joined().call("atomic") == [False]


@pytest.mark.usefixtures("atomic_requests")
def test_an_atomic_handler_can_be_taken_off_again(site: Site) -> None:
    site.io.on("fail", write_and_fail)
    site.io.off("fail", write_and_fail)
    site.io.on("fail", lambda socket: "another")
    assert site.joined().call("fail") == ["another"]
