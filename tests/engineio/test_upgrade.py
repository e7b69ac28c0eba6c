"""From polling to WebSocket: the happy way and all the others."""

# ruff: noqa: B023  (the closures run before the loop goes on)

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.engineio.conftest import Engine, MakeEngine
from tests.support.inprocess import (
    AT_ONCE,
    DEADLINE,
    Background,
    Closed,
    Polling,
    Refused,
    WebSocket,
    at_once,
    eventually,
)
from wsgi_sio.engineio import MESSAGE, Packet
from wsgi_sio.engineio.response import Response
from wsgi_sio.engineio.websocket import WebSocketTransport
from wsgi_sio.websocket.frames import CLOSE, encode_frame


def still_polls(polling: Polling, session: Any) -> None:
    """The session lives on over polling."""
    assert session.open and session.transport.name == "polling"
    session.send_message("alive")
    assert polling.receive() == "4alive"


def refused(engine: Engine, sid: str) -> None:
    """A WebSocket for ``sid`` is not accepted: by an HTTP answer, or by being closed behind its 101."""
    try:
        websocket = engine.websocket(sid)
    except Refused as refusal:
        assert refusal.response.status == 400
        return
    websocket.wait_closed(1)


def test_probe_switch_and_traffic_both_ways(make_engine: MakeEngine) -> None:
    engine = make_engine()
    websocket, session = engine.upgraded()
    websocket.send("4from client", b"\x01")
    eventually(lambda: len(engine.received) == 2, "the messages")
    assert engine.received == ["from client", b"\x01"]
    session.send([Packet(MESSAGE, "from server"), Packet(MESSAGE, b"\x02")])
    assert (websocket.receive(), websocket.receive()) == ("4from server", b"\x02")
    assert session.upgrade is None


def test_upgrades_are_offered_where_they_are_possible(make_engine: MakeEngine) -> None:
    import socket

    here, there = socket.socketpair()
    with here, there:
        taken = {"gunicorn.socket": here}
        for options, extra, offered in (
            ({}, taken, ["websocket"]),
            ({}, {}, []),
            ({"allow_upgrades": False}, taken, []),
            ({"transports": "polling"}, taken, []),
            ({}, {**taken, "SERVER_PROTOCOL": "HTTP/2"}, []),
        ):
            engine = make_engine(**options)
            answer = engine.request("GET", transport="polling", extra=extra)
            assert f'"upgrades":{str(offered).replace(chr(39), chr(34))}'.encode() in answer.body


def test_a_waiting_get_is_released_100_ms_after_the_probe_and_not_before(make_engine: MakeEngine) -> None:
    engine = make_engine()
    polling, session = engine.over_polling()
    waiting = polling.start_get()
    websocket = engine.websocket(polling.sid)
    websocket.send("2probe")
    assert websocket.receive() == "3probe"
    began = time.monotonic()
    assert waiting.result().body == b"6"
    assert 0.08 <= time.monotonic() - began < AT_ONCE
    second = polling.start_get()  # a client that polls once more gets the next noop
    assert second.result().body == b"6"
    websocket.send("5")
    session.send_message("over websocket")
    assert websocket.receive() == "4over websocket"


def test_the_candidate_that_says_nothing_times_out(make_engine: MakeEngine) -> None:
    engine = make_engine(upgrade_timeout=0.1)
    for messages in ((), ("2probe",)):
        polling, session = engine.over_polling()
        websocket = engine.websocket(polling.sid)
        websocket.send(*messages) if messages else None
        began = time.monotonic()
        websocket.wait_closed()
        assert time.monotonic() - began < 5  # without the option, 10
        still_polls(polling, session)


@pytest.mark.parametrize(
    "messages",
    [["3"], ["2"], ["2other"], ["5"], ["4hello"], [b"\x01"], ["2probe", "2probe"], ["2probe", "4early"], ["x"]],
)
def test_a_wrong_packet_ends_the_candidate_only(make_engine: MakeEngine, messages: list[Any]) -> None:
    engine = make_engine()
    polling, session = engine.over_polling()
    websocket = engine.websocket(polling.sid)
    websocket.send(*messages)
    websocket.wait_closed(2)
    assert engine.received == []
    still_polls(polling, session)


@pytest.mark.parametrize("end", ["close", "close frame", "reset", "half close", "garbage"])
@pytest.mark.parametrize("probed", [False, True])
def test_a_candidate_that_dies_leaves_room_for_another(make_engine: MakeEngine, end: str, probed: bool) -> None:
    engine = make_engine()
    polling, session = engine.over_polling()
    websocket = engine.websocket(polling.sid, tcp=True)
    if probed:
        websocket.send("2probe")
        assert websocket.receive() == "3probe"
    {
        "close": websocket.close,
        "close frame": websocket.send_close,
        "reset": websocket.reset,
        "half close": websocket.half_close,
        "garbage": lambda: websocket.send_raw(b"\xff" * 10),
    }[end]()
    eventually(lambda: session.upgrade is None, "the end of the upgrade")
    still_polls(polling, session)
    second = engine.websocket(polling.sid)
    second.send("2probe")
    assert second.receive() == "3probe"
    second.send("5")
    session.send_message("x")
    assert second.receive() == "4x"


def test_a_second_candidate_is_refused_and_the_first_goes_on(make_engine: MakeEngine) -> None:
    engine = make_engine()
    polling, session = engine.over_polling()
    first = engine.websocket(polling.sid)
    first.send("2probe")
    refused(engine, polling.sid)
    assert first.receive() == "3probe"
    refused(engine, polling.sid)
    first.send("5")
    eventually(lambda: session.transport.name == "websocket", "the switch")
    refused(engine, polling.sid)
    session.send_message("x")
    assert first.receive() == "4x"


def test_a_websocket_for_nobody_is_refused(make_engine: MakeEngine) -> None:
    engine = make_engine()
    with pytest.raises(Refused) as caught:
        engine.websocket("no-such-session-id-0")
    assert (caught.value.response.status, caught.value.response.body) == (400, b"Session ID unknown")
    websocket, session = engine.over_websocket()
    refused(engine, session.id)
    session.send_message("x")
    assert websocket.receive() == "4x"


@pytest.mark.parametrize("end", ["fin", "reset", "close frame", "data", "garbage"])
def test_a_websocket_that_is_turned_away_does_not_matter_to_the_session(make_engine: MakeEngine, end: str) -> None:
    """Whatever it sends, and however it ends: it is none of the session's, which is served by its first WebSocket."""
    engine = make_engine()
    first, session = engine.upgraded()
    second = engine.websocket(session.id, tcp=True)
    if end == "fin":
        second.half_close()
    elif end == "reset":
        second.reset()
    elif end == "close frame":
        second.send_close()
    else:
        second.send("4data", "1") if end == "data" else second.send_raw(b"\xff" * 20)
    time.sleep(0.1)
    first.send("4x")
    eventually(lambda: engine.received == ["x"], "the message")
    session.send_message("y")
    assert first.receive() == "4y"
    assert session.open


def test_a_candidate_that_switches_too_late_does_not_matter_to_the_session(make_engine: MakeEngine) -> None:
    """Its time was over and another has been faster: its end is not the session's."""
    engine = make_engine()
    polling, session = engine.over_polling()
    late = engine.websocket(polling.sid)
    late.send("2probe")
    assert late.receive() == "3probe"
    late_upgrade = session.upgrade
    assert late_upgrade is not None and session.end_upgrade(late_upgrade)  # as its time-out does first
    first = engine.websocket(polling.sid)
    first.send("2probe")
    assert first.receive() == "3probe"
    first.send("5")
    eventually(lambda: session.transport.name == "websocket", "the switch")
    late.send("5")
    late.close()
    time.sleep(0.1)
    session.send_message("x")
    assert first.receive() == "4x"


@pytest.mark.parametrize("probed", [False, True])
@pytest.mark.parametrize("abort", [False, True])
def test_a_session_that_is_closed_meanwhile_takes_the_candidate_along(
    make_engine: MakeEngine, probed: bool, abort: bool
) -> None:
    engine = make_engine()
    polling, session = engine.over_polling()
    waiting = polling.start_get()
    websocket = engine.websocket(polling.sid)
    if probed:
        websocket.send("2probe")
        assert websocket.receive() == "3probe"
    session.close(abort=abort)
    websocket.wait_closed(2)
    waiting.result()
    eventually(lambda: engine.reasons == ["forced close"], "on_close")


def test_a_session_that_is_closed_while_its_upgrade_begins(make_engine: MakeEngine) -> None:
    """The close falls between the request's check and the making of the candidate: nothing raises, nothing leaks."""
    import socket

    engine = make_engine()
    polling, session = engine.over_polling()

    class Closing:
        """The server's socket, whose examination ends the session."""

        def __init__(self, sock: socket.socket) -> None:
            self._wrapped = sock
            self.looks = 0

        def __getattr__(self, name: str) -> Any:
            if name == "setsockopt":
                raise AttributeError
            return getattr(self._wrapped, name)

        def fileno(self) -> int:
            self.looks += 1
            if self.looks == 3:
                Background(lambda: session.close(abort=True)).result()
            return self._wrapped.fileno()

    client, server = socket.socketpair()
    engine._sockets += [client, server]
    closing = Closing(server)
    try:
        websocket = engine.websocket(polling.sid, pair=(client, server), extra={"gunicorn.socket": closing})
    except Refused:
        return
    session.close(abort=True)
    websocket.wait_closed(2)
    eventually(lambda: engine.reasons == ["forced close"], "on_close")


def test_packets_of_the_switch_keep_their_order(make_engine: MakeEngine) -> None:
    """Threads send all the time while the session upgrades: GETs and WebSocket together give all of it, in order."""
    engine = make_engine()
    for _ in range(5):
        polling, session = engine.over_polling()
        total = 150

        def send(session: Any = session) -> None:
            for number in range(total):
                session.send([Packet(MESSAGE, f"{number}"), Packet(MESSAGE, b"attachment")])
                time.sleep(0.0005)

        sending = Background(send)
        got: list[Any] = []
        waiting = polling.start_get()
        websocket = engine.websocket(polling.sid, buffers=4096)
        websocket.send("2probe")

        def poll(answer: Response) -> None:
            for text in answer.body.decode().split("\x1e"):
                if text != "6":
                    got.append(text)

        assert websocket.receive() == "3probe"
        for _ in range(3):
            poll(waiting.result())
            waiting = polling.start_get()
        poll(waiting.result())
        websocket.send("5")
        while len(got) < 2 * total:
            message = websocket.receive()
            got.append(message if isinstance(message, str) else "bYXR0YWNobWVudA==")
        assert got == [text for number in range(total) for text in (f"4{number}", "bYXR0YWNobWVudA==")]
        sending.result()


def test_a_get_that_is_parked_at_the_switch_is_let_go(make_engine: MakeEngine) -> None:
    engine = make_engine()
    polling, session = engine.over_polling()
    websocket = engine.websocket(polling.sid)
    websocket.send("2probe")
    assert websocket.receive() == "3probe"
    waiting = polling.start_get()
    websocket.send("5")
    waiting.result(1)
    session.send_message("x")
    assert websocket.receive() == "4x"


def test_polling_requests_after_the_switch_are_refused_and_take_nothing(make_engine: MakeEngine) -> None:
    engine = make_engine()
    polling, session = engine.over_polling()
    transport: Any = session.transport
    websocket = engine.websocket(polling.sid, buffers=4096)
    websocket.send("2probe")
    assert websocket.receive() == "3probe"
    websocket.send("5")
    eventually(lambda: session.transport.name == "websocket", "the switch")
    for number in range(50):
        session.send_message(f"{number} " + "x" * 2000)
    late = transport.get(engine.engine_request("GET", polling.sid), [])  # it had passed the checks before the switch
    assert late.status == 400
    assert polling.get().status == 400
    assert polling.post("4x").status == 400
    for number in range(50):
        message = websocket.receive()
        assert isinstance(message, str) and message.split()[0] == f"4{number}"
    assert engine.received == []


def test_the_clock_of_the_heartbeat_goes_on_over_the_switch(make_engine: MakeEngine) -> None:
    """socketio-wire 1A.6: in the reference a ping that was under way at the switch can end all heartbeats."""
    engine = make_engine(ping_interval=0.1, ping_timeout=0.15)
    polling, _ = engine.over_polling()
    waiting = polling.start_get()
    websocket = engine.websocket(polling.sid)
    websocket.send("2probe")
    assert websocket.receive() == "3probe"
    waiting.result()
    websocket.answer_pings = False
    websocket.send("5")
    with pytest.raises(Closed):
        for _ in range(10):
            websocket.receive(1)
    eventually(lambda: engine.reasons == ["ping timeout"], "on_close")


def test_a_paused_session_can_upgrade(make_engine: MakeEngine) -> None:
    """A busy client's events wait, but its probe is answered; after the switch nothing is read until it resumes."""
    engine = make_engine()
    polling, session = engine.over_polling()
    session.pause()
    websocket = engine.websocket(polling.sid)
    websocket.send("2probe")
    assert websocket.receive(2) == "3probe"
    websocket.send("5")
    eventually(lambda: session.transport.name == "websocket", "the switch")
    websocket.send("4later")
    time.sleep(0.05)
    assert engine.received == []
    session.resume()
    eventually(lambda: engine.received == ["later"], "the message")


def test_everything_at_once_with_the_probe(make_engine: MakeEngine) -> None:
    """Probe, switch and messages arrive in one chunk with the handshake's rest."""
    engine = make_engine()
    polling, _ = engine.over_polling()
    websocket = engine.websocket(polling.sid, early=["2probe", "5", "4a", b"b"])
    assert websocket.receive() == "3probe"
    eventually(lambda: len(engine.received) == 2, "the messages")
    assert engine.received == ["a", b"b"]


def test_a_switch_that_races_with_a_close(make_engine: MakeEngine) -> None:
    engine = make_engine()
    for number in range(20):
        engine.ended.clear()
        polling, session = engine.over_polling()
        websocket = engine.websocket(polling.sid)
        websocket.send("2probe")
        assert websocket.receive() == "3probe"
        race(websocket, session, number)
        websocket.wait_closed()
        eventually(lambda: engine.reasons == ["forced close"], "on_close")


def race(websocket: WebSocket, session: Any, number: int) -> None:
    """Send the upgrade packet and close the session at the same time."""

    def act(n: int) -> None:
        if n == 0:
            websocket.send("5")
        else:
            time.sleep(number % 5 * 0.0002)
            session.close()

    at_once(2, act)


@pytest.mark.parametrize("queued", [0, 1, 100])
def test_a_client_that_switches_while_the_session_closes_gets_all_that_was_sent(
    make_engine: MakeEngine, queued: int
) -> None:
    """It waits for its GET, and then sends ``5`` without another: what is queued has no other way to it."""
    engine = make_engine()
    polling, session = engine.over_polling()
    waiting = polling.start_get()
    websocket = engine.websocket(polling.sid, buffers=4096)
    websocket.send("2probe")
    assert websocket.receive() == "3probe"
    session.send_message("in the GET")
    assert waiting.result().body == b"4in the GET"
    for number in range(queued):
        session.send_message(f"{number} {'x' * 1000}")
    session.close()
    websocket.send("5")
    assert [websocket.receive() for _ in range(queued)] == [f"4{number} {'x' * 1000}" for number in range(queued)]
    websocket.wait_closed(2)
    assert engine.reasons == ["forced close"]
    eventually(lambda: not engine.engine.sessions, "the end of the session")


def test_a_client_that_fetches_the_end_by_polling_ends_its_upgrade(make_engine: MakeEngine) -> None:
    engine = make_engine()
    polling, session = engine.over_polling()
    websocket = engine.websocket(polling.sid)
    websocket.send("2probe")
    assert websocket.receive() == "3probe"
    session.send_message("last")
    session.close()
    assert polling.get().body == b"4last"
    websocket.send("4nonsense")  # the candidate breaks: what is left comes by polling all the same
    websocket.wait_closed(2)
    assert polling.get().body == b"6\x1e1"


@pytest.mark.slow
def test_no_answer_to_a_probe_follows_a_close_frame(make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The session ends between the arrival of the probe and its answer: its client has left by polling meanwhile."""
    engine = make_engine()
    polling, session = engine.over_polling()
    websocket = engine.websocket(polling.sid)
    write_alone = WebSocketTransport.write_alone

    def close_and_write(self: WebSocketTransport, packet: Packet) -> None:
        session.close(abort=True)
        write_alone(self, packet)

    monkeypatch.setattr(WebSocketTransport, "write_alone", close_and_write)
    websocket.send("2probe")
    websocket.sock.settimeout(DEADLINE)
    got = b""
    while chunk := websocket.sock.recv(100):
        got += chunk
    assert got == encode_frame(CLOSE, b""), "something behind the close frame"
