"""The msgpack parser against the JavaScript one, message by message."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from tests.socketio.test_packet_msgpack_refused import BROKEN, WRONG, packed
from tests.support.node import JS, run_node
from tests.support.npm import install
from wsgi_sio.socketio.packet import ACK, CONNECT, CONNECT_ERROR, DISCONNECT, EVENT, Packet
from wsgi_sio.socketio.packet_msgpack import Decoder, Encoder

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
NOW = datetime(2023, 11, 14, 22, 13, 20, 123000, timezone.utc)

ARGUMENTS = [
    *(None, True, False, 0, 127, 128, -1, -33, 2**16, 2**32, -(2**31) - 1, 2**53, -(2**53), 1.5, -0.25, float("inf")),
    *("", "é€😀", "x" * 40, "x" * 300, "x" * 70_000, b"", b"\0", b"x" * 8, b"x" * 300, bytes(70_000)),
    *(NOW, EPOCH - timedelta(milliseconds=1), datetime(9999, 12, 31, tzinfo=timezone.utc)),
    *([], {}, [[]], {"a": {"b": [b"x", NOW]}}, list(range(300)), {str(i): i for i in range(300)}, (1, 2)),
    2**70,
]
SENT = [
    Packet(CONNECT),
    Packet(CONNECT, "/admin", {"sid": "x" * 20}),
    Packet(DISCONNECT, "/é"),
    Packet(EVENT, "/", ["event"]),
    Packet(EVENT, "/", ["event", *ARGUMENTS], 2**53),
    Packet(ACK, "/", [], 0),
    Packet(CONNECT_ERROR, "/", {"message": "no", "data": [1, b"x"]}),
    Packet(CONNECT_ERROR, "/", "no"),
]


@pytest.fixture(scope="module")
def in_javascript(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What codec.js says about SENT, then WRONG, then BROKEN; and its own packets."""
    install(JS / "msgpack")
    file: Path = tmp_path_factory.mktemp("msgpack") / "messages.json"
    messages = [Encoder().encode(packet)[0] for packet in SENT]
    messages += [packed(**fields) for fields, _ in WRONG] + [message for message, _ in BROKEN]
    file.write_text(json.dumps([message.hex() for message in messages if isinstance(message, bytes)]))
    answer: dict[str, Any] = run_node("msgpack/codec.js", str(file))
    return answer


def tagged(value: Any) -> Any:
    """A value as codec.js shows it."""
    if isinstance(value, datetime):
        return {"$": "date", "value": (value - EPOCH) // timedelta(milliseconds=1)}
    if isinstance(value, bytes):
        return {"$": "bytes", "value": value.hex()}
    if value == float("inf"):
        return {"$": "number", "value": "Infinity"}
    if isinstance(value, (list, tuple)):
        return [tagged(item) for item in value]
    return {key: tagged(item) for key, item in value.items()} if isinstance(value, dict) else value


def test_javascript_reads_what_we_write(in_javascript: dict[str, Any]) -> None:
    for packet, seen in zip(SENT, in_javascript["decoded"], strict=False):
        expected = {"type": packet.type, "nsp": packet.nsp, "data": tagged(packet.data), "id": packet.id}
        assert seen == {"packet": {key: value for key, value in expected.items() if value is not None}}


def test_we_refuse_whatever_javascript_refuses(in_javascript: dict[str, Any]) -> None:
    """And we judge the same of all the others but events with a bad name, which its parser leaves to the server."""
    verdicts = in_javascript["decoded"][len(SENT) :]
    for (fields, _), verdict in zip(WRONG, verdicts, strict=False):
        bad_name = fields.get("type") == EVENT and isinstance(fields.get("data"), list)
        assert ("refused" in verdict) != bad_name, fields
    odd_keys = {message for message, why in BROKEN if why == "a map's key is no text"}
    for (message, _), verdict in zip(BROKEN, verdicts[len(WRONG) :], strict=True):
        assert "refused" in verdict or message in odd_keys, message


def test_we_read_what_javascript_writes(in_javascript: dict[str, Any]) -> None:
    decoded = [Decoder().add(bytes.fromhex(message)) for message in in_javascript["encoded"]]
    last_day = datetime.max.replace(tzinfo=timezone.utc)
    data = [
        *("event", None, None, True, -1, 200, 70000, 5000000000, -5000000000, 1.5, float("inf")),
        *(NOW, EPOCH - timedelta(seconds=1), last_day),
        *(b"\1", b"\7" * 300, b"", b"\t", bytes(range(1, 9)), bytes(70000)),
        *("€😀", "x" * 300, {"b": {"c": [None, {}]}, "d": EPOCH, "7": "seven"}, list(range(300))),
    ]
    assert decoded == [
        Packet(CONNECT, "/", {"token": EPOCH + timedelta(milliseconds=5)}),
        Packet(CONNECT, "/admin"),
        Packet(DISCONNECT),
        Packet(EVENT, "/", data, 3),
        Packet(EVENT, "/é", ["event"]),
        Packet(ACK, "/", [], 0),
        Packet(CONNECT_ERROR, "/", {"message": "no", "data": b"why"}),
        Packet(CONNECT_ERROR, "/", "no"),
    ]
