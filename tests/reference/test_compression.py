"""Which events may be compressed: all, unless the sender says otherwise. Only polling answers ever are."""

from __future__ import annotations

import gzip
from typing import Any

import pytest

from tests.reference.conftest import Serve, join
from tests.support.inprocess import Polling
from wsgi_sio import Server

TEXT = "compressible " * 200
GZIP = {"Accept-Encoding": "gzip"}


@pytest.mark.parametrize("sender", ["socket", "namespace"])
@pytest.mark.parametrize(
    ("how", "encoding"),
    [("default", "gzip"), ("compressed", "gzip"), ("uncompressed", None)],
)
def test_an_event_is_compressed_unless_its_sender_says_otherwise(
    serve: Serve, sender: str, how: str, encoding: str | None
) -> None:
    io = Server()
    client, socket = join(serve(io), io, "/chat", "polling")
    wire = client.wire
    assert isinstance(wire, Polling)
    emitter: Any = {"socket": socket, "namespace": io.of("/chat")}[sender]
    emitter = emitter if how == "default" else emitter.compress(how == "compressed")
    emitter.emit("woot", TEXT)
    answer = wire.get(headers=GZIP)
    assert dict(answer.headers).get("Content-Encoding") == encoding
    body = gzip.decompress(answer.body) if encoding else answer.body
    assert body.decode() == f'42/chat,["woot","{TEXT}"]'
