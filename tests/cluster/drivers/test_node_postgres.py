"""Node's Postgres adapter: golden bytes, large messages, junk; Postgres that is away."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.conftest import Cluster, MakeCluster
from tests.cluster.drivers.test_node_redis_interop import Mixed
from tests.support.inprocess import eventually
from tests.support.postgres import PostgresServer
from tests.support.world import one_world
from wsgi_sio import AckTimeout, Emitter, NotPublished, Server
from wsgi_sio.adapters import postgres_adapter
from wsgi_sio.cluster.drivers.node_postgres import read_header, write
from wsgi_sio.socketio.jsoncodec import dumps_of

DUMPS = dumps_of(None)
UID = "0123456789abcdef"
OPTS: dict[str, Any] = {"rooms": [], "except": [], "flags": {}}
LARGE = "ü" * 50_000


def broadcast(*args: Any) -> dict[str, Any]:
    return {"uid": UID, "nsp": "/", "type": 3, "data": {"packet": {"type": 2, "data": ["e", *args]}, "opts": OPTS}}


# -- formats -----------------------------------------------------------------------------------------------------------


def test_golden_notifications() -> None:
    assert write({"uid": UID, "nsp": "/", "type": 1}, DUMPS, 8000) == (
        b'{"type":1,"uid":"0123456789abcdef","nsp":"/"}',
        None,
    )
    assert write(broadcast(1, "ü"), DUMPS, 8000)[0].decode() == (
        '{"type":3,"data":{"packet":{"type":2,"data":["e",1,"ü"]},"opts":{"rooms":[],"except":[],"flags":{}}},'
        '"uid":"0123456789abcdef","nsp":"/"}'
    )
    assert read_header(b'{"type":1,"uid":"u","nsp":"/"}') == ({"type": 1, "uid": "u", "nsp": "/"}, None)


def test_golden_row_and_the_notification_that_names_it() -> None:
    golden = bytes.fromhex(
        "84a474797065 03 a464617461 82 a67061636b6574 82 a474797065 02 a464617461 92 a165 c40101"
        "a46f707473 83 a5726f6f6d73 90 a6657863657074 90 a5666c616773 80 a3756964 b0".replace(" ", "")
    )
    row, around = write(broadcast(b"\x01"), DUMPS, 8000)
    assert row == golden + UID.encode() + bytes.fromhex("a36e7370a12f")
    assert around == ('{"uid":"0123456789abcdef","type":3,"attachmentId":"', '"}')
    header = {"uid": UID, "type": 3, "attachmentId": "42"}
    assert read_header(b'{"uid":"0123456789abcdef","type":3,"attachmentId":"42"}') == (header, 42)


@pytest.mark.parametrize(("size", "threshold", "fits"), [(7999, 8000, True), (8000, 8000, False), (200, 100, False)])
def test_what_is_too_large_for_a_notification_goes_into_a_row(size: int, threshold: int, fits: bool) -> None:
    rest = len(write(broadcast(""), DUMPS, 8000)[0])
    payload, around = write(broadcast("x" * (size - rest)), DUMPS, threshold)
    assert (around is None) == fits == (len(payload) == size)


@pytest.mark.parametrize("junk", [b"", b"7", b"[]", b'{"attachmentId":"x"}', b'{"attachmentId":["1"]}',
                                  b'{"attachmentId":-1}', b'{"attachmentId":"99999999999999999999"}'])  # fmt: skip
def test_what_is_no_notification(junk: bytes) -> None:
    with pytest.raises(ValueError):
        read_header(junk)


@pytest.mark.parametrize(
    "options",
    [{"url": "redis://127.0.0.1"}, {"table_name": "a; DROP TABLE b"}, {"table_name": ""}, {"table_name": "a.b.c"}],
)
def test_what_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        postgres_adapter(**{"url": "postgresql://127.0.0.1:1", **options})


def test_a_namespace_with_too_long_a_name_has_its_own_clients_alone(caplog: pytest.LogCaptureFixture) -> None:
    io = Server(adapter=postgres_adapter("postgresql://127.0.0.1:1"))
    adapter: Any = io.of("/" + "x" * 60).adapter
    io.of("/" + "x" * 60).emit("e")
    assert adapter.server_count() == 1
    adapter.close()
    assert [record.levelname for record in caplog.records if "longer than the 63 bytes" in record.message] == ["ERROR"]


# -- on a real one -----------------------------------------------------------------------------------------------------


@pytest.fixture
def pair(make_cluster: MakeCluster) -> Cluster:
    return make_cluster("postgres", 2, request_timeout=1.0)


def test_large_and_small_ones_stay_in_order(pair: Cluster) -> None:
    for number in range(20):
        pair.servers[0].emit("e", LARGE if number % 5 == 0 else b"bytes" if number % 3 == 0 else "small", number)
        pair.servers[0].emit("e")  # the same over and over, which one transaction would deliver once
    got = pair.got()
    assert got[0] == got[1] and len(got[1]) == 40
    assert [event[2] for event in got[1] if event != "e"] == list(range(20))


def test_junk_is_dropped_and_told_once(pair: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    assert pair.redis is not None
    channel = f"{pair.key}#/"
    found = pair.redis.do("INSERT INTO socket_io_attachments (payload) VALUES (%s), (NULL) RETURNING id", b"\xc1 no")
    rows = [json.dumps({"uid": "u", "type": 3, "attachmentId": str(number)}) for (number,) in [*found, (999_999,)]]
    for payload in ("", "no JSON", "[]", '{"uid":"u","type":99,"nsp":"/"}', '{"uid":7}', *rows):
        pair.redis.do("SELECT pg_notify(%s, %s)", channel, payload)
    for number in range(2):  # either has read all that was there before, when it has this
        pair.servers[number].emit("after")
        assert pair.got(number) == [["after"], ["after"]]
    told = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(told) == 2, told  # one of each server
    assert all("does not understand another server" in record.message for record in told)


def test_old_rows_are_deleted(make_cluster: MakeCluster) -> None:
    cluster = make_cluster("postgres", 1, table_name="short_lived", cleanup_interval=0.2, heartbeat_interval=0.1)
    do = cluster.redis.do
    eventually(lambda: do("SELECT to_regclass('short_lived')") != [(None,)], "the table")
    cluster.servers[0].emit("e", b"bytes")
    eventually(lambda: do("SELECT is_called FROM short_lived_id_seq") == [(True,)], "a row")
    eventually(lambda: do("SELECT id FROM short_lived") == [], "that it is deleted")


def test_a_table_that_is_missing_is_told_once_and_small_events_arrive(
    make_cluster: MakeCluster, shared_postgres: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    refused: list[Exception] = []
    for handler in (None, refused.append):
        cluster = make_cluster("postgres", 2, table_name="nowhere.at_all", error_handler=handler)
        for _ in range(2):
            cluster.servers[0].emit("large", b"bytes")
            cluster.servers[0].emit("small")
        assert cluster.got() == [[["large", b"bytes"], "small"] * 2, ["small"] * 2]
    lines = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert sum("CREATE TABLE" in line for line in lines) == 2 and sum("INSERT" in line for line in lines) == 0, lines
    assert sum("refuses a statement" in line for line in lines) == 1, lines
    assert len(refused) == 4 and all("nowhere" in str(error) for error in refused)


def test_emitters(pair: Cluster) -> None:
    assert pair.redis is not None
    pair.sockets[1].join("room")
    noted: list[Any] = []
    pair.servers[1].on_server_side("note", noted.append)
    with Emitter(pair.redis.url, key=pair.key) as emitter:
        assert emitter.emit("all", 1) == 1
        emitter.except_("room").emit("bytes", b"\x01")
        emitter.to("room").emit("large", LARGE)
        emitter.in_("room").sockets_join("other")
        emitter.server_side_emit("note", 5)
        eventually(lambda: "other" in pair.sockets[1].rooms and noted == [5], "the rest")
        with pytest.raises(NotPublished) as caught:
            emitter.of("x" * 100).emit("nobody can hear that")
        assert not caught.value.perhaps
        pair.redis.kill_connections()
        assert emitter.emit("after") == 1
    eventually(pair.all_answer, "that the servers hear each other")
    # As Node's emitter writes it, without the namespace.
    message = {
        "type": 3,
        "data": {"packet": {"type": 2, "data": ["node's"], "nsp": "/"}, "opts": OPTS},
        "uid": "emitter",
    }
    pair.redis.do("SELECT pg_notify(%s, %s)", f"{pair.key}#/", json.dumps(message))
    for client, event in zip(pair.clients, (["bytes", b"\x01"], ["large", LARGE]), strict=True):
        events = []
        while (data := client.receive().data) != ["node's"]:
            events.append(data)
        assert [data for data in events if data != ["after"]] == [["all", 1], event]  # they may not have listened then


def test_an_emitter_whose_postgres_is_away() -> None:
    with pytest.raises(NotPublished, match=r"postgresql://127.0.0.1:1/") as caught:
        Emitter("postgresql://me:secret@127.0.0.1:1/db").emit("x")
    assert not caught.value.perhaps and "secret" not in str(caught.value)
    with pytest.raises(ValueError, match="format"):
        Emitter("postgresql://127.0.0.1:1", format="streams")


@pytest.fixture
def stopping(make_cluster: MakeCluster, shared_postgres: PostgresServer) -> Iterator[Callable[[], Cluster]]:
    """Two servers, whose Postgres may be away at the end of a test."""
    yield lambda: make_cluster("postgres", 2, request_timeout=1.0)
    shared_postgres.start_again()


@pytest.mark.parametrize("how", ["stopped", "frozen"])
def test_local_clients_get_everything_when_it_is_away(
    stopping: Callable[[], Cluster], shared_postgres: PostgresServer, how: str
) -> None:
    cluster = stopping()
    cluster.servers[0].emit("before")
    assert cluster.got() == [["before"], ["before"]]
    if how == "stopped":
        shared_postgres.stop()
    else:
        shared_postgres.freeze()
    for number in range(300):
        cluster.servers[0].emit("e", number, b"bytes" if number % 7 == 0 else None)
        assert cluster.clients[0].expect("e")[0] == number
    with pytest.raises(AckTimeout) as caught:
        cluster.servers[0].fetch_sockets()
    assert [socket.id for socket in caught.value.responses] == [cluster.sockets[0].id]
    shared_postgres.start_again()
    eventually(cluster.all_answer, "that the servers answer again")
    cluster.servers[0].emit("again")
    numbers = []
    while (data := cluster.clients[1].receive().data)[0] != "again":
        numbers.append(data[1])
    assert numbers == sorted(set(numbers)), "something came twice, or in another order"
    assert cluster.clients[0].expect("again") == []


# -- with Node ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@one_world
def test_large_events_and_a_server_of_node_that_dies(make_cluster: MakeCluster, node_modules: Path) -> None:
    cluster = make_cluster("postgres", 2, heartbeat_interval=1.0, heartbeat_timeout=4.0)
    mixed = Mixed(cluster, "postgres", channelPrefix=cluster.key, heartbeatInterval=1000, heartbeatTimeout=4000)
    try:
        eventually(lambda: mixed.ours.sockets.adapter.server_count() == 3, "that we know all")
        eventually(lambda: mixed.node.do("count") == 3, "that Node does")
        mixed.ours.emit("large", LARGE)
        assert mixed.seen(1) == [["large", LARGE]]
        mixed.node.do("emit", "back", LARGE)
        assert mixed.client.expect("large") == mixed.second.expect("large") == [LARGE]
        assert mixed.client.expect("back") == mixed.second.expect("back") == [LARGE]
        mixed.socket.data["large"] = LARGE
        assert {socket["data"].get("large") for socket in mixed.node.do("fetch")} == {None, LARGE}
        mixed.node.kill()
        eventually(lambda: mixed.ours.sockets.adapter.server_count() == 2, "that we forget it")
        assert {socket.id for socket in mixed.ours.fetch_sockets()} == {mixed.socket.id, mixed.second_socket.id}
    finally:
        mixed.node.kill()
