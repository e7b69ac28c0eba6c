"""The modules that a build may compile: they can be attacked, subclassed and looked at as before, and do not recurse.

These run against whichever build there is; ``tox -e compiled`` runs them against the compiled one.
"""

from __future__ import annotations

import ast
import copy
import inspect
import os
import pickle
import traceback
from configparser import ConfigParser
from dataclasses import fields, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import wsgi_sio
from tests.support.inprocess import in_process
from wsgi_sio import Server, Socket
from wsgi_sio.compiled import is_compiled
from wsgi_sio.engineio.packet import MESSAGE
from wsgi_sio.engineio.packet import Packet as EnginePacket
from wsgi_sio.engineio.session import Session
from wsgi_sio.engineio.websocket import WebSocketTransport
from wsgi_sio.engineio.write_buffer import PacketQueue
from wsgi_sio.runtime import SerialQueue
from wsgi_sio.socketio.connection import Connection
from wsgi_sio.socketio.packet import EVENT, DecodeError, Decoder, Encoder, Packet
from wsgi_sio.websocket.frames import TEXT, encode_frame
from wsgi_sio.websocket.messages import MessageDecoder

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ConfigParser()
CONFIG.read(ROOT / "setup.cfg", encoding="utf-8")
PATHS = CONFIG["wsgi_sio:compiled"]["modules"].split()
NAMES = [path.removesuffix(".py").replace("/", ".") for path in PATHS]


def test_the_build_that_is_asked_for_is_there() -> None:
    """The list is compiled as a whole, or not at all."""
    files = {name: import_module(name).__file__ or "" for name in NAMES}
    compiled = [name for name, file in files.items() if not file.endswith(".py")]
    assert compiled == (NAMES if is_compiled() else [])
    if os.environ.get("WSGI_SIO_COMPILE") == "1":
        assert is_compiled()


@pytest.mark.parametrize("path", PATHS)
def test_nothing_that_is_compiled_recurses(path: str) -> None:
    """Compiled, it would know no limit, and what a client sends could end the process; depth is a matter for loops."""
    source = Path(wsgi_sio.__file__).parents[1] / path  # the wheel has it beside what was made of it
    tree = ast.parse(source.read_text(encoding="utf-8"))
    calls = {
        function.name: {
            node.func.id if isinstance(node.func, ast.Name) else node.func.attr
            for node in ast.walk(function)
            if isinstance(node, ast.Call)
            and (
                isinstance(node.func, ast.Name)
                or (isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) == "self")
            )
        }
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
    }
    reached = {name: set(called) for name, called in calls.items()}
    for _ in calls:
        for called in reached.values():
            called.update(*[reached.get(name, set()) for name in called])
    assert {name for name, called in reached.items() if name in called} <= BOUNDED.get(path, set())


# Functions that call themselves, or each other, but no deeper than it says here.
BOUNDED = {
    # base64 inside a message, once; and parse_error() of log_messages.py, which is another
    "wsgi_sio/engineio/session.py": {"receive", "_receive_rarity", "parse_error"},
    "wsgi_sio/websocket/frames.py": {"apply_mask"},  # once, for what is left behind the last whole block
}


DEPTH = 100_000


def nested(inside: Any) -> Any:
    for _ in range(DEPTH):
        inside = [inside]
    return inside


DEEP = [
    '2["a",' + "[" * DEPTH + "]" * DEPTH + "]",
    '2["a",' + '{"a":' * DEPTH + "1" + "}" * DEPTH + "]",
    '51-["a",' + "[" * DEPTH + '{"_placeholder":true,"num":0}' + "]" * DEPTH + "]",
    "31" + "[" * DEPTH,
    "0" + '{"a":' * DEPTH,
]


@pytest.mark.parametrize("text", DEEP, ids=["lists", "dicts", "binary", "ack", "connect"])
def test_what_a_client_nests_very_deeply_is_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        Decoder().add(text)


def test_what_a_handler_nests_very_deeply_is_a_value_error() -> None:
    loop: list[Any] = [b"x"]
    loop.append(loop)
    for data in (nested(1), nested(b"x"), nested(float("nan")), loop, {"a": loop}):
        with pytest.raises(ValueError, match="circular|too deeply"):
            Encoder().encode(Packet(EVENT, "/", ["a", data]))


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_deep_payloads_cost_their_clients_the_connection_and_nobody_else_anything(transport: str) -> None:
    """In the compiled build as well: the process lives, and serves the others."""
    io = Server(max_http_buffer_size=10 * DEPTH)
    io.on("echo", lambda socket, *args: args)
    with in_process(io) as process:
        bystander = process.client(transport)
        bystander.connect()
        for text in DEEP:
            attacker = process.client(transport)
            attacker.connect()
            attacker.wire.send("4" + text)
            attacker.wait_closed()
            assert bystander.call("echo", 1, "two") == [1, "two"]


def test_what_comes_deep_but_within_bounds_is_answered() -> None:
    io = Server()
    io.on("echo", lambda socket, *args: args)
    deep: Any = 1
    for _ in range(100):
        deep = {"a": [deep]}
    with in_process(io) as process:
        client = process.client()
        client.connect()
        assert client.call("echo", deep, b"x") == [deep, b"x"]


# --- what applications and debuggers do with classes ------------------------------------------------------------------


class LoudEncoder(Encoder):
    """A part of an application's own parser."""

    def encode(self, packet: Packet) -> list[str | bytes]:
        first, *rest = super().encode(packet)
        assert isinstance(first, str)
        return [first.upper(), *rest]


class CountingDecoder(Decoder):
    def __init__(self, json: Any = None, max_attachments: int = 10) -> None:
        super().__init__(json, max_attachments)
        self.added = 0

    def add(self, data: Any) -> Packet | None:
        self.added += 1
        return super().add(data)


def test_the_codec_s_classes_can_be_subclassed_and_the_subclass_is_what_runs() -> None:
    assert LoudEncoder().encode(Packet(EVENT, "/", ["a"])) == ['2["A"]']
    decoder = CountingDecoder()
    assert decoder.add('2["a"]') == Packet(EVENT, "/", ["a"]) and decoder.added == 1

    class Loud:
        Encoder, Decoder = LoudEncoder, CountingDecoder

    io = Server(parser=Loud)
    io.on("ECHO", lambda socket, *args: args)
    with in_process(io) as process:
        client = process.client()
        client.wire.send("40")
        assert str(client.wire.receive()).startswith('40{"SID":')
        client.wire.send('421["ECHO","a"]')
        assert client.wire.receive() == '431["A"]'


@pytest.mark.parametrize("kind", [Session, WebSocketTransport, Connection, SerialQueue, PacketQueue, Encoder, Decoder])
def test_the_classes_that_others_derive_from_can_be_derived_from(kind: type) -> None:
    derived = type("Derived", (kind,), {"__slots__": ("more",)})
    assert issubclass(derived, kind)


@pytest.mark.parametrize("packet", [Packet(EVENT, "/a", ["b", {"c": 1}], 5), EnginePacket(MESSAGE, "hello")])
def test_packets_are_values(packet: Any) -> None:
    """They are compared, printed, copied, pickled and taken apart as dataclasses are."""
    assert copy.copy(packet) == packet and copy.deepcopy(packet) == packet
    assert pickle.loads(pickle.dumps(packet)) == packet
    changed = replace(packet, data="other")
    assert changed != packet and changed.data == "other"
    assert type(packet).__name__ == "Packet" and repr(packet).startswith("Packet(type=")
    assert [field.name for field in fields(packet)][:2] == ["type", {Packet: "nsp", EnginePacket: "data"}[type(packet)]]
    with pytest.raises(TypeError):
        hash(packet)


def test_tracebacks_name_the_function_and_its_line() -> None:
    with pytest.raises(DecodeError) as caught:
        Decoder().add("9")
    last = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert last.name == "add" and last.filename.endswith("packet.py") and (last.lineno or 0) > 100


def test_signatures_can_be_read() -> None:
    assert list(inspect.signature(Decoder.add).parameters) == ["self", "data"]
    assert list(inspect.signature(encode_frame).parameters) == ["opcode", "payload", "fin", "mask"]


def test_a_wrong_type_is_a_type_error_and_ends_nothing() -> None:
    for wrong in (None, 1, "text", object()):
        with pytest.raises((TypeError, AttributeError)):
            encode_frame(TEXT, wrong)  # type: ignore[arg-type]
        with pytest.raises((TypeError, AttributeError)):
            MessageDecoder(expect_masked=True, max_message_size=10).feed(wrong)  # type: ignore[arg-type]


def test_what_options_may_be_instead_of_an_integer_or_a_bool_is_no_type_error_later() -> None:
    io = Server(max_http_buffer_size=1e6, max_outbox=1e6, max_mailbox=1e6, max_attachments=10.0, ping_timeout=20)

    @io.on("ask")
    def ask(socket: Socket, *args: Any) -> Any:
        io.compress(1).emit("to all", 1)  # type: ignore[arg-type]
        socket.compress(0).emit("to one", 2)  # type: ignore[arg-type]
        return args

    with in_process(io) as process:
        client = process.client("polling")
        client.connect()
        client.emit("ask", b"x", 1.5, ack=7)
        assert client.expect("to all") == [1] and client.expect("to one") == [2]
        assert client.receive().data == [b"x", 1.5]


def test_an_event_may_be_called_by_a_number() -> None:
    """As in JavaScript; what is typed as a text here is none everywhere."""
    io = Server()
    seen: list[Any] = []

    @io.on(7)  # type: ignore[call-overload]
    def seven(socket: Socket, data: object) -> object:
        seen.append(data)
        socket.emit(8, data)  # type: ignore[arg-type]
        return data

    with in_process(io) as process:
        client = process.client()
        client.connect()
        for number in range(20):  # by then it is known to be quick
            client.wire.send(f'42{number}[7,"a"]')
        received = [client.wire.receive() for _ in range(40)]
    assert sorted(received) == sorted([*['42[8,"a"]'] * 20, *[f'43{number}["a"]' for number in range(20)]])
    io.off(7, seven)  # type: ignore[arg-type]
    assert not io._handlers.find(7) and seen == ["a"] * 20
