"""The messages of old servers: golden lines both ways, and junk."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest

from wsgi_sio.cluster.drivers import flask_socketio_messages as old
from wsgi_sio.cluster.drivers.flask_socketio_messages import Answer, Callback, Emit, Membership, decode

HOST = "2d5f"


def line(**changes: Any) -> bytes:
    """What python-socketio 5.18.1 publishes for an event, with its spaces."""
    fields = {"event": "b", "data": ["one", 2], "binary": False, "namespace": "/", "room": None, "skip_sid": None}
    return json.dumps({"method": "emit", **fields, "callback": None, "host_id": HOST, **changes}).encode()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, Emit("/", ["b", "one", 2], None, frozenset(), None)),
        (
            {"room": ["r1", "r2"], "skip_sid": "S"},
            Emit("/", ["b", "one", 2], frozenset(["r1", "r2"]), frozenset("S"), None),
        ),
        (
            {"room": 7, "skip_sid": ["S", "T"]},
            Emit("/", ["b", "one", 2], frozenset([7]), frozenset(["S", "T"]), None),
        ),
        ({"room": []}, Emit("/", ["b", "one", 2], frozenset(), frozenset(), None)),
        ({"data": [None]}, Emit("/", ["b"], None, frozenset(), None)),
        ({"data": []}, Emit("/", ["b"], None, frozenset(), None)),
        ({"data": [None, 1]}, Emit("/", ["b", None, 1], None, frozenset(), None)),
        ({"data": [[1, 2]]}, Emit("/", ["b", [1, 2]], None, frozenset(), None)),
        (
            {"data": [[{"a": {"_placeholder": True, "num": 0}}], "AQI="], "binary": True},
            Emit("/", ["b", {"a": b"\x01\x02"}], None, frozenset(), None),
        ),
        ({"namespace": None}, Emit("/", ["b", "one", 2], None, frozenset(), None)),
        (
            {"room": "S", "callback": ["S", "/", 3]},
            Emit("/", ["b", "one", 2], frozenset("S"), frozenset(), Callback(HOST, "S", "/", 3)),
        ),
        ({"method": "disconnect", "sid": "S"}, Membership("disconnect", "/", "S", None)),
        ({"method": "enter_room", "sid": "S", "room": "r"}, Membership("enter_room", "/", "S", "r")),
        ({"method": "leave_room", "sid": "S", "room": "r"}, Membership("leave_room", "/", "S", "r")),
        ({"method": "close_room", "room": "r"}, Membership("close_room", "/", None, "r")),
        ({"method": "callback", "sid": "S", "id": 3, "args": [1]}, Answer(Callback(HOST, "S", "/", 3), [1])),
    ],
)
def test_reading(changes: dict[str, Any], message: Any) -> None:
    assert decode(line(**changes)) == (HOST, message)


def test_nan_is_read_as_the_null_that_clients_can_read() -> None:
    _, message = decode(line(data=[float("nan"), 1.5]))
    assert isinstance(message, Emit) and message.data == ["b", None, 1.5]


@pytest.mark.parametrize(
    "junk",
    [
        b"", b"\xff", b"null", b"[]", b"{}", b'"text"', b"{", b"[" * 100_000, pickle.dumps({"method": "emit"}),
        line(event=None), line(event=1), line(data=None), line(data={}), line(namespace=5), line(host_id=None),
        line(room={}), line(room=[{}]), line(room=[[1]]), line(skip_sid={}), line(method="eval"), line(method=None),
        line(method=["emit"]), line(binary=True, data=[]), line(binary=True, data=[5]),
        line(binary=True, data=["a", "!"]),
        line(binary=True, data=[[{"_placeholder": True, "num": 1}], "AQI="]),
        line(binary=True, data=[[{"_placeholder": True, "num": -1}], "AQI="]), line(binary=True, data=[[1], 5]),
        line(method="disconnect"), line(method="enter_room", sid="S"), line(method="close_room"),
        line(method="callback", sid="S", id="x", args=[]), line(method="callback", sid="S", id=1),
    ],
)  # fmt: skip
def test_junk_is_refused_by_an_error_of_one_kind(junk: bytes) -> None:
    with pytest.raises((ValueError, TypeError)):
        decode(junk)


def test_an_old_pickle_is_known_by_its_first_byte_and_not_read() -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return pytest.fail, ("it has been read",)

    with pytest.raises(ValueError, match=r"5\.14"):
        decode(pickle.dumps(Bomb()))


@pytest.mark.parametrize("callback", [[], ["S", "/"], "S", [1, 2, 3], ["S", "/", True]])
def test_a_callback_that_makes_no_sense_is_none(callback: Any) -> None:
    _, message = decode(line(callback=callback))
    assert isinstance(message, Emit) and message.callback is None


def test_writing() -> None:
    written = old.emit(HOST, "/", ["b", "one", 2], ["r1", "r2"], ["S"])
    assert written == (
        b'{"method":"emit","event":"b","data":["one",2],"binary":false,"namespace":"/","room":["r1","r2"],'
        b'"skip_sid":["S"],"callback":null,"host_id":"2d5f"}'
    )
    assert b'"room":null,"skip_sid":null' in old.emit(HOST, "/", ["b"])
    assert b'"callback":["S","/",3]' in old.emit(HOST, "/", ["b"], ["S"], (), 3)
    assert b'"data":[[{"a":{"_placeholder":true,"num":0}}],"AQI="],"binary":true' in old.emit(
        HOST, "/", ["b", {"a": b"\x01\x02"}]
    )
    with pytest.raises(TypeError):
        old.emit(HOST, "/", ["b", {1}])


def test_what_is_ours_is_known_without_reading_it() -> None:
    ours = old.our_host()
    assert old.is_ours(old.emit(ours, "/", ["e", {"host_id": "x"}, "ü"]))
    assert old.is_ours(old.membership(ours, Membership("close_room", "/", None, "r")))
    assert not old.is_ours(old.emit(HOST, "/", ["e", {"host_id": ours}]))
    answered = old.answer(Callback(ours, "S", "/", 1), [{"host_id": ours}])
    assert not old.is_ours(answered)
    assert not old.is_ours(line()) and not old.is_ours(b"") and not old.is_ours(b"{}")


def test_acknowledgements_with_bytes_cannot_be_written() -> None:
    callback = Callback(HOST, "S", "/", 3)
    assert old.answer(callback, [1, "a"]) == (
        b'{"method":"callback","host_id":"2d5f","sid":"S","namespace":"/","id":3,"args":[1,"a"]}'
    )
    with pytest.raises(TypeError, match="can have bytes"):
        old.answer(callback, [b"bytes"])


@pytest.mark.parametrize(
    "message",
    [
        Membership("disconnect", "/", "S", None),
        Membership("enter_room", "/n", "S", "r"),
        Membership("leave_room", "/n", "S", 5),
        Membership("close_room", "/n", None, "r"),
    ],
)
def test_what_is_written_is_read(message: Membership) -> None:
    assert decode(old.membership(HOST, message)) == (HOST, message)
    data = ["e", {"x": [b"1", None]}, b"2"]
    assert decode(old.emit(HOST, "/", data, ["r"], ["s"]))[1] == Emit("/", data, frozenset("r"), frozenset("s"), None)
