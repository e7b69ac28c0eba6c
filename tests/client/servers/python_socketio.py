"""The part of ``tests/apps/main.py`` that the feature script of the client needs, on python-socketio."""

from __future__ import annotations

from typing import Any

import socketio

NAMESPACES = ["/", "/chat", "/members"]
sio = socketio.Server(async_mode="threading", ping_interval=1, ping_timeout=5, namespaces=NAMESPACES)
counted: dict[str, list[int]] = {}
names: dict[str, str] = {}


@sio.on("connect")
def connect(sid: str, environ: dict[str, Any], auth: Any) -> None:
    auth = auth or {}
    if auth.get("token") == "wrong":
        raise socketio.exceptions.ConnectionRefusedError("not authorized", {"code": 401, "hint": "wrong token"})
    query = dict(pair.partition("=")[::2] for pair in environ["QUERY_STRING"].split("&"))
    names[sid] = auth.get("name", "")
    sio.emit("welcome", {"id": sid, "auth": auth, "lang": query.get("lang")}, to=sid)


@sio.on("disconnect")
def disconnect(sid: str, reason: str) -> None:
    sio.emit("left", names[sid], to=f"watching {names[sid]}")


@sio.on("join")
def join(sid: str, room: str) -> list[str]:
    sio.enter_room(sid, room)
    return [room]


@sio.on("kick")
def kick(sid: str, close: bool) -> None:
    sio.disconnect(sid)


@sio.on("drop connection")
def drop_connection(sid: str) -> None:
    sio.eio.disconnect(sio.manager.eio_sid_from_sid(sid, "/"))


@sio.on("echo")
def echo(sid: str, *args: Any) -> tuple[Any, ...]:
    return args


@sio.on("echo event")
def echo_event(sid: str, *args: Any) -> None:
    sio.emit("echoed", args, to=sid)


@sio.on("message")
def message(sid: str, *args: Any) -> None:
    sio.send(args, to=sid)


@sio.on("ack none")
def ack_none(sid: str) -> None:
    return None


@sio.on("ack list")
def ack_list(sid: str) -> list[Any]:
    return ["one", "argument"]


@sio.on("ack tuple")
def ack_tuple(sid: str) -> tuple[Any, ...]:
    return "a", 2, {"three": [3, None]}


@sio.on("send binary")
def send_binary(sid: str) -> tuple[Any, ...]:
    sio.emit("binary", (b"\x00\x01", {"deep": [b"\xff" * 3, {"er": b""}]}, "text"), to=sid)
    return b"acked", {"inner": b"also"}


@sio.on("ask")
def ask(sid: str, question: Any) -> Any:
    return sio.call("question", question, to=sid, timeout=5)


@sio.on("ask in vain")
def ask_in_vain(sid: str) -> str:
    try:
        sio.call("silence", to=sid, timeout=0.2)
    except socketio.exceptions.TimeoutError:
        return "timeout"
    return "answer"


@sio.on("count")
def count(sid: str, number: int) -> None:
    counted.setdefault(sid, []).append(number)


@sio.on("counted")
def give_counted(sid: str) -> list[int]:
    return counted.get(sid, [])


@sio.on("burst")
def burst(sid: str, length: int) -> None:
    for number in range(length):
        sio.emit("number", number, to=sid)


@sio.on("echo", namespace="/chat")
def echo_in_chat(sid: str, *args: Any) -> tuple[Any, ...]:
    return ("chat", "/chat", *args)


@sio.on("connect", namespace="/members")
def only_members(sid: str, environ: dict[str, Any], auth: Any) -> None:
    if not auth or "name" not in auth:
        raise socketio.exceptions.ConnectionRefusedError("members only", {"code": 403})
    names[sid] = auth["name"].title()


@sio.on("who am i", namespace="/members")
def who_am_i(sid: str) -> str:
    return names[sid]


app = socketio.WSGIApp(sio)
