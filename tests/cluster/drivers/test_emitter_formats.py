"""What an emitter publishes, byte for byte as @socket.io/redis-emitter 5.1.0 did when it was asked for the same."""

from __future__ import annotations

import json
from base64 import b64decode
from datetime import datetime, timezone
from typing import Any

import msgpack
import pytest

from wsgi_sio import LocalProtocolError
from wsgi_sio.cluster.drivers.emitter_formats import Classic, Command, FlaskSocketIO, Kombu, Streams
from wsgi_sio.cluster.drivers.flask_socketio_messages import Membership, decode
from wsgi_sio.cluster.drivers.msgpack_values import pack
from wsgi_sio.socketio.broadcast_options import EVERYBODY, BroadcastOptions
from wsgi_sio.socketio.jsoncodec import dumps_of

CLASSIC = Classic("socket.io")
STREAMS = Streams("socket.io")
OLD = FlaskSocketIO("flask-socketio")


def to(*rooms: Any, **options: Any) -> BroadcastOptions:
    return BroadcastOptions(frozenset(rooms), **options)


@pytest.mark.parametrize(
    ("nsp", "options", "data", "channel", "golden"),
    [
        (
            "/",
            EVERYBODY,
            ["hello", 1, "2", b"\x03"],
            "socket.io#/#",
            "93a7656d697474657283a47479706502a46461746194a568656c6c6f01a132c40103a36e7370a12f83a5726f6f6d7390a5666c61677380"
            "a665786365707490",
        ),
        (
            "/",
            to("room1", volatile=True),
            ["x", None],
            "socket.io#/#room1#",
            "93a7656d697474657283a47479706502a46461746192a178c0a36e7370a12f83a5726f6f6d7391a5726f6f6d31a5666c61677381a8766f"
            "6c6174696c65c3a665786365707490",
        ),
        (
            "/admin",
            to(7),
            ["z"],
            "socket.io#/admin#7#",
            "93a7656d697474657283a47479706502a46461746191a17aa36e7370a62f61646d696e83a5726f6f6d739107a5666c61677380a6657863"
            "65707490",
        ),
        (
            "/",
            EVERYBODY,
            ["y", 1.5, True, datetime(2023, 11, 14, 22, 13, 20, 123000, timezone.utc), {"k": [-1, 300, 70000, -200]}],
            "socket.io#/#",
            "93a7656d697474657283a47479706502a46461746195a179cb3ff8000000000000c3d7ff1d5353006553f10081a16b94ffcd012cce0001"
            "1170d1ff38a36e7370a12f83a5726f6f6d7390a5666c61677380a665786365707490",
        ),
    ],
)
def test_events_as_nodes_emitter_has_them(
    nsp: str, options: BroadcastOptions, data: list[Any], channel: str, golden: str
) -> None:
    assert CLASSIC.emit(nsp, options, data) == [("PUBLISH", channel, bytes.fromhex(golden))]


def test_events_for_rabbitmq() -> None:
    """A message of the cluster: JSON, or MessagePack where there are bytes."""
    listeners = ("PUBSUB", "NUMSUB", "socket.io#/n#")
    assert Kombu("socket.io").emit("/n", to("r"), ["e", 1]) == [
        (
            "PUBLISH",
            "socket.io#/n#",
            b'{"type":3,"data":{"packet":{"type":2,"data":["e",1],"nsp":"/n"},"opts":{"rooms":["r"],"except":[],"flags":{}}},'
            b'"uid":"emitter","nsp":"/n"}',
        ),
        listeners,
    ]
    (_, _, payload), counted = Kombu("socket.io").emit("/n", EVERYBODY, ["e", b"1"])
    assert counted == listeners and msgpack.unpackb(payload)["data"]["packet"]["data"] == ["e", b"1"]


def test_several_rooms_use_the_channel_of_the_namespace() -> None:
    (command,) = CLASSIC.emit("/", to("a", "b", except_=frozenset(["c"]), compress=False), ["y"])
    verb, channel, payload = command
    assert (verb, channel) == ("PUBLISH", "socket.io#/#")
    uid, packet, opts = msgpack.unpackb(payload)
    assert (uid, packet) == ("emitter", {"type": 2, "data": ["y"], "nsp": "/"})
    assert opts == {"rooms": [*opts["rooms"]], "flags": {"compress": False}, "except": ["c"]}
    assert sorted(opts["rooms"]) == ["a", "b"] and list(opts) == ["rooms", "flags", "except"]


@pytest.mark.parametrize("room", [b"bytes", 1.5, True])
def test_rooms_of_other_names_in_javascript_use_it_too(room: Any) -> None:
    assert CLASSIC.emit("/", to(room), ["y"])[0][1] == "socket.io#/#"


@pytest.mark.parametrize(
    ("commands", "golden"),
    [
        (CLASSIC.join("/", EVERYBODY, ["z"]), '{"type":2,"opts":{"rooms":[],"except":[]},"rooms":["z"]}'),
        (
            CLASSIC.leave("/", to("r", except_=frozenset(["p"])), ["a"]),
            '{"type":3,"opts":{"rooms":["r"],"except":["p"]},"rooms":["a"]}',
        ),
        (CLASSIC.disconnect("/", to("s"), True), '{"type":4,"opts":{"rooms":["s"],"except":[]},"close":true}'),
        (
            CLASSIC.server_side_emit("/", ["hi", 1, b"\x01\x02"]),
            '{"uid":"emitter","type":6,"data":["hi",1,{"type":"Buffer","data":[1,2]}]}',
        ),
    ],
)
def test_requests_as_nodes_emitter_has_them(commands: list[Command], golden: str) -> None:
    assert commands == [("PUBLISH", "socket.io-request#/#", golden.encode())]


def test_the_key_and_the_namespace_name_the_channels() -> None:
    assert Classic("mine").emit("/n", to("r"), ["e"])[0][1] == "mine#/n#r#"
    assert Classic("mine").disconnect("/n", EVERYBODY, False)[0][1] == "mine-request#/n#"
    assert Streams("mine").emit("/n", EVERYBODY, ["e"])[0][1] == "mine"


def test_streams_get_an_entry_and_tell_who_listens() -> None:
    add, count = STREAMS.emit("/", to("r"), ["hello", 1])
    data = '{"packet":{"type":2,"data":["hello",1],"nsp":"/"},"opts":{"rooms":["r"],"except":[],"flags":{}}}'
    head = ("XADD", "socket.io", "MAXLEN", "~", "10000", "*", "uid", "emitter", "nsp", "/", "type")
    assert add == (*head, "3", "data", data)
    assert count == ("PUBSUB", "NUMSUB", "socket.io#/#")
    assert STREAMS.join("/", EVERYBODY, ["z"])[0][-3:] == (
        "4", "data", '{"opts":{"rooms":[],"except":[],"flags":{}},"rooms":["z"]}',
    )  # fmt: skip
    assert STREAMS.disconnect("/", EVERYBODY, True)[0][-3] == "6"
    assert STREAMS.server_side_emit("/", ["hi"])[0][-3:] == ("9", "data", '{"packet":["hi"]}')


def test_bytes_in_streams_are_messagepack_in_base64() -> None:
    text = STREAMS.emit("/", to("r", volatile=True), ["bin", b"\x01"])[0][-1]
    assert isinstance(text, str)
    assert msgpack.unpackb(b64decode(text)) == {
        "packet": {"type": 2, "data": ["bin", b"\x01"], "nsp": "/"},
        "opts": {"rooms": ["r"], "except": [], "flags": {"volatile": True}},
    }


def test_large_integers_are_floats_and_what_has_no_form_is_refused() -> None:
    assert msgpack.unpackb(pack([2**80], dumps_of(None))) == [float(2**80)]
    for value in (datetime(2020, 1, 1), {1}):
        with pytest.raises(TypeError, match="is not JSON serializable"):
            CLASSIC.emit("/", EVERYBODY, ["e", value])
    with pytest.raises(TypeError, match="cannot be named"):
        CLASSIC.emit("/", to((1, 2)), ["e"])


def test_a_codec_writes_what_neither_has(monkeypatch: pytest.MonkeyPatch) -> None:
    class Codec:
        @staticmethod
        def dumps(value: Any) -> str:
            return json.dumps(value, default=sorted)

        loads = staticmethod(json.loads)

    for form in (Classic("k", Codec), Streams("k", Codec), FlaskSocketIO("c", Codec)):
        written = form.emit("/", EVERYBODY, ["e", {2, 1}])[0][-1]
        assert b"\x92\x01\x02" in written if isinstance(form, Classic) else "[1, 2]" in str(written)


def published(commands: list[Command]) -> list[Any]:
    assert all(command[:2] == ("PUBLISH", "flask-socketio") for command in commands)
    return [decode(command[2])[1] for command in commands]  # type: ignore[arg-type]


def test_the_old_format_has_words_for_some_of_it() -> None:
    (event,) = OLD.emit("/n", to("r", except_=frozenset(["S"])), ["e", 1, b"\x02"])
    value = json.loads(event[2])
    assert value.pop("host_id") and value == {
        "method": "emit", "event": "e", "data": [[1, {"_placeholder": True, "num": 0}], "Ag=="], "binary": True,
        "namespace": "/n", "room": "r", "skip_sid": ["S"], "callback": None,
    }  # fmt: skip
    assert published(OLD.join("/", to("S"), ["r"])) == [Membership("enter_room", "/", "S", "r")]
    assert published(OLD.leave("/", to("S"), ["r"])) == [Membership("leave_room", "/", "S", "r")]
    assert published(OLD.leave("/", to("r"), ["r"])) == [Membership("close_room", "/", None, "r")]
    assert published(OLD.disconnect("/", to("S"), False)) == [Membership("disconnect", "/", "S", None)]


def test_for_the_rest_it_says_what_is_needed() -> None:
    for refused in (
        lambda: OLD.join("/", EVERYBODY, ["r"]),
        lambda: OLD.disconnect("/", EVERYBODY, False),
        lambda: OLD.leave("/", to("r", except_=frozenset("x")), ["r"]),
        lambda: OLD.server_side_emit("/", ["e"]),
    ):
        with pytest.raises(LocalProtocolError, match="Flask-SocketIO's servers cannot be told that"):
            refused()
    assert FlaskSocketIO("c", strict=False).join("/", EVERYBODY, ["r"]) == []
