"""What the readers of all buses have in common."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.inprocess import eventually
from wsgi_sio.cluster.bus import Outage
from wsgi_sio.cluster.bus.kombu_reader import KombuReader
from wsgi_sio.cluster.bus.postgres_reader import PostgresReader
from wsgi_sio.cluster.bus.redis_reader import CHANNEL, RedisReader
from wsgi_sio.cluster.bus.redis_stream_reader import StreamReader
from wsgi_sio.runtime import create_reactor

Reader = tuple[Any, Callable[[], object]]


def redis(reactor: Any, connect: Any, outage: Outage) -> Reader:
    reader = RedisReader(reactor, connect, outage, writes_aside=True)
    return reader, lambda: reader.add(frozenset([(CHANNEL, b"c")]), print)


def postgres(reactor: Any, connect: Any, outage: Outage) -> Reader:
    reader = PostgresReader(reactor, connect, outage)
    return reader, lambda: reader.add(frozenset(["c"]), print)


def kombu(reactor: Any, connect: Any, outage: Outage) -> Reader:
    reader = KombuReader(reactor, connect, outage, [], lambda: None)
    return reader, lambda: reader.add(["c"], print)


def streams(reactor: Any, connect: Any, outage: Outage) -> Reader:
    reader = StreamReader(reactor, connect, outage, b"stream", b"nsp", 10)
    return reader, lambda: reader.listen(b"/", print)


def listeners(reader: Any) -> object:
    return reader._listeners if isinstance(reader, StreamReader) else reader._table


@pytest.mark.parametrize("make", [redis, postgres, kombu, streams])
def test_a_reader_for_which_there_was_no_thread_begins_with_the_next_subscription(
    make: Callable[[Any, Any, Outage], Reader], monkeypatch: pytest.MonkeyPatch
) -> None:
    attempted = threading.Event()

    def connect(*_: object) -> Any:
        attempted.set()
        raise ConnectionError("nobody is there")

    def no_thread(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    reactor = create_reactor()
    reader, add = make(reactor, connect, Outage(reactor, "a bus"))
    try:
        with monkeypatch.context() as patch:
            patch.setattr(reactor, "spawn", no_thread)
            with pytest.raises(RuntimeError, match="new thread"):
                add()
        assert listeners(reader) == {}
        add()
        eventually(attempted.is_set, "a connection")
    finally:
        reader.close()
        reactor.close()
