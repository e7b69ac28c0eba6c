"""Requests that another process has received than the one in which their session lives."""

from __future__ import annotations

import gzip
import os
import socket
import time

import pytest

from tests.engineio.conftest import Engine
from tests.engineio.relay.conftest import (
    Exchange,
    MakeSiblings,
    assert_unknown,
    body_of,
    company,
    freeze,
    get,
    get_by_value,
    io_threads,
    link_between,
    post,
    post_by_value,
    read_response,
    thaw,
)
from tests.support.forking import forked
from tests.support.inprocess import UPGRADE, Background, eventually, open_descriptors
from tests.support.world import WORLD
from wsgi_sio.engineio import MESSAGE, Packet, Session
from wsgi_sio.engineio.packet_v3 import decode_payload_v3, encode_payload_v3
from wsgi_sio.engineio.relay import forwarder as holders_side
from wsgi_sio.engineio.relay.wire_format import REQUEST, pack_request
from wsgi_sio.engineio.request import parse_request

Two = tuple[Engine, Engine]


def is_waiting(session: Session) -> bool:
    return session.transport.name == "polling" and session.transport.idle


# -- GET and POST, by their connection and by value --


def test_ids_name_their_process(two: Two) -> None:
    for engine in two:
        polling, _ = engine.over_polling()
        assert (len(polling.sid), polling.sid[-4:]) == (20, engine.engine.tag)
    assert two[0].engine.tag != two[1].engine.tag


def test_a_get_is_answered_by_the_owner(two: Two) -> None:
    holder, owner = two
    polling, session = owner.over_polling()
    waiting = get(holder, polling.sid)
    assert waiting.moved
    eventually(lambda: is_waiting(session), "the GET at its owner")
    session.send_message("héllo")
    assert body_of(waiting.response()) == "4héllo"
    session.send_message("at once")
    assert body_of(get(holder, polling.sid).response()) == "4at once"
    assert session.open and not holder.sessions


def test_a_post_is_delivered_by_the_owner(two: Two) -> None:
    holder, owner = two
    polling, _ = owner.over_polling()
    sent = post(holder, polling.sid, "4one\x1e4two")
    assert body_of(sent.response()) == "ok"
    assert owner.received == ["one", "two"]
    assert sent.moved == (WORLD == "threads")  # greenlets keep the connection alive instead


def test_by_value(two: Two) -> None:
    """Where the WSGI server does not show its socket."""
    holder, owner = two
    polling, session = owner.over_polling()
    assert body_of(post_by_value(holder, polling.sid, "4one").result()) == "ok"
    waiting = get_by_value(holder, polling.sid)
    eventually(lambda: is_waiting(session), "the GET at its owner")
    session.send_message("answer")
    assert body_of(waiting.result()) == "4answer"
    session.send_message("at once")
    assert body_of(get_by_value(holder, polling.sid).result()) == "4at once"
    assert owner.received == ["one"]


def test_a_large_body_is_decoded_beside_the_reader(two: Two) -> None:
    holder, owner = two
    polling, _ = owner.over_polling()
    for send in (lambda text: post(holder, polling.sid, text).response(),
                 lambda text: post_by_value(holder, polling.sid, text).result()):  # fmt: skip
        assert body_of(send("4" + "x" * 500_000)) == "ok"
        assert body_of(send("4next")) == "ok"
    assert owner.received == ["x" * 500_000, "next"] * 2


def test_a_large_answer(two: Two) -> None:
    holder, owner = two
    polling, session = owner.over_polling()
    session.send_message("x" * 3_000_000)
    assert body_of(get(holder, polling.sid).response()) == "4" + "x" * 3_000_000
    session.send_message("y" * 3_000_000)
    assert body_of(get_by_value(holder, polling.sid).result()) == "4" + "y" * 3_000_000


def test_requests_of_many_sessions_cross(make_siblings: MakeSiblings) -> None:
    engines = make_siblings(3)
    clients = [(engine, *engine.over_polling()) for engine in engines for _ in range(10)]
    waiting = [
        (get(other, polling.sid), get_by_value if number % 2 else get, polling, session)
        for number, (engine, polling, session) in enumerate(clients)
        for other in engines
        if other is not engine and other is engines[(engines.index(engine) + 1) % 3]
    ]
    for number, (_, _, _, session) in enumerate(waiting):
        eventually(lambda session=session: is_waiting(session), "the GETs")
        session.send_message(str(number))
    for number, (exchange, _, _, _) in enumerate(waiting):
        assert body_of(exchange.response()) == f"4{number}"
    assert all(session.open for _, _, session in clients)


# -- what a request tells --


def test_the_origin_is_the_holders_to_judge_and_the_headers_travel(make_siblings: MakeSiblings) -> None:
    holder, owner = make_siblings(2, cors_allowed_origins="https://example.org", cors_credentials=True)
    page = {"Origin": "https://example.org"}
    polling, session = owner.over_polling()
    session.send_message("1")
    answers = [
        get(holder, polling.sid, page).response(),
        post(holder, polling.sid, "4x", page).response(),
        post_by_value(holder, polling.sid, "4x", page).result(),
        get(holder, "x" * 16 + owner.engine.tag, page).response(),
    ]
    for answer in answers:
        names = [name for name, _ in answer.headers]
        assert names.count("Access-Control-Allow-Origin") == names.count("Access-Control-Allow-Credentials") == 1
        assert dict(answer.headers)["Access-Control-Allow-Origin"] == "https://example.org"
    assert [answer.status for answer in answers] == [200, 200, 200, 400]
    assert get(holder, polling.sid, {"Origin": "https://evil.example"}).response().status == 403
    assert session.open


def test_compression_is_negotiated_by_the_owner(two: Two) -> None:
    holder, owner = two
    polling, session = owner.over_polling()
    for send in (lambda: get(holder, polling.sid, {"Accept-Encoding": "gzip"}).response(),
                 lambda: get_by_value(holder, polling.sid, {"Accept-Encoding": "gzip"}).result()):  # fmt: skip
        session.send_message("x" * 5000)
        answer = send()
        assert dict(answer.headers)["Content-Encoding"] == "gzip"
        assert gzip.decompress(answer.body).decode() == "4" + "x" * 5000


def test_base64_sessions(two: Two) -> None:
    holder, owner = two
    opened = owner.request("GET", transport="polling", b64="1")
    sid = owner.sessions[-1].id
    assert opened.status == 200
    owner.sessions[-1].send_message(b"\1\2")
    assert body_of(get(holder, sid, b64="1").response()) == "bAQI="
    assert body_of(post(holder, sid, "bAwQ=", b64="1").response()) == "ok"
    assert owner.received == [b"\3\4"]


def test_protocol_3(make_siblings: MakeSiblings) -> None:
    """Binary payloads have another content type; scripts poll by JSONP."""
    holder, owner = make_siblings(2, allow_eio3=True)
    assert owner.request("GET", EIO="3", transport="polling").status == 200
    session = owner.sessions[-1]
    session.send_message(b"\1\2")
    answer = get(holder, session.id, EIO="3").response()
    assert dict(answer.headers)["Content-Type"] == "application/octet-stream"
    assert [packet.data for packet in decode_payload_v3(answer.body)[0]] == [b"\1\2"]
    payload = encode_payload_v3([Packet(MESSAGE, b"\3"), Packet(MESSAGE, "text")], True)
    assert isinstance(payload, bytes)
    octets = {"Content-Type": "application/octet-stream"}
    assert body_of(post(holder, session.id, payload, octets, EIO="3").response()) == "ok"
    assert owner.received == [b"\3", "text"]

    page = {"Referer": "http://127.0.0.1/page"}
    assert owner.request("GET", page, EIO="3", transport="polling", j="0").status == 200
    session = owner.sessions[-1]
    session.send_message("by script")
    answer = get(holder, session.id, page, EIO="3", j="7").response()
    assert answer.body.decode() == '___eio[7]("10:4by script");'
    form = {**page, "Content-Type": "application/x-www-form-urlencoded"}
    assert body_of(post(holder, session.id, "d=4:4two", form, EIO="3", j="7").response()) == "ok"
    assert owner.received[-1] == "two"


# -- refusals --


def test_the_overlap_rules_hold_over_all_processes(make_siblings: MakeSiblings) -> None:
    first, second, owner = make_siblings(3)
    polling, session = owner.over_polling()
    waiting = get(first, polling.sid)
    eventually(lambda: is_waiting(session), "the GET at its owner")
    assert get(second, polling.sid).response().status == 400
    assert body_of(waiting.response()) == "1"
    assert owner.reasons == ["transport error"]
    assert_unknown(get(first, polling.sid).response())


def test_overlapping_posts(make_siblings: MakeSiblings) -> None:
    first, second, owner = make_siblings(3)
    polling, session = owner.over_polling()
    session.pause()
    waiting = post(first, polling.sid, "4one")
    eventually(lambda: session.transport._posts._queue, "the POST at its owner")  # type: ignore[attr-defined]
    assert post(second, polling.sid, "4two").response().status == 400
    assert waiting.response().status == 400
    assert (owner.reasons, owner.received) == (["transport error"], [])


@pytest.mark.parametrize("by_value", [False, True])
def test_wrong_protocol(two: Two, by_value: bool) -> None:
    holder, owner = two
    polling, session = owner.over_polling()
    answer = (
        holder.request("GET", EIO="3", transport="polling", sid=polling.sid)
        if by_value
        else get(holder, polling.sid, EIO="3").response()
    )
    assert (answer.status, answer.body) == (400, b'{"code":3,"message":"Bad request"}')
    assert session.open


def test_a_session_that_has_left_polling(two: Two) -> None:
    holder, owner = two
    _, session = owner.upgraded()
    answer = get(holder, session.id).response()
    assert (answer.status, answer.body) == (400, b'{"code":3,"message":"Bad request"}')
    assert session.open


def test_other_methods(two: Two) -> None:
    holder, owner = two
    polling, session = owner.over_polling()
    assert Exchange(holder, "PUT", {}, b"4x", transport="polling", sid=polling.sid).response().status == 500
    assert Exchange(holder, "GET", transport="websocket", sid=polling.sid).response().status == 400
    assert session.open


def test_unknown_sessions(two: Two) -> None:
    """Of a living process, of a dead one, of our own, and of nobody; each is refused at once."""
    holder, owner = two
    tags = [owner.engine.tag, holder.engine.tag, "zzzz", "../x", "a/b%", "....", "äöüß", "\0\0\0\0", ""]
    began = time.monotonic()
    for tag in tags:
        assert_unknown(get(holder, "x" * 16 + tag).response())
        assert_unknown(get_by_value(holder, "x" * 16 + tag).result())
        assert_unknown(post(holder, "x" * 16 + tag, "4x").response())
    assert_unknown(get(holder, owner.engine.tag).response())
    assert_unknown(get(holder, "x" * 5000 + owner.engine.tag).response())
    assert time.monotonic() - began < 2


def test_the_owner_dies(two: Two) -> None:
    """Who waits by value is told within milliseconds, and so is the next poll."""
    holder, owner = two
    polling, session = owner.over_polling()
    waiting = get_by_value(holder, polling.sid)
    eventually(lambda: is_waiting(session), "the GET at its owner")
    began = time.monotonic()
    company(owner).siblings.leave()
    assert_unknown(waiting.result())
    assert_unknown(get(holder, polling.sid).response())
    assert time.monotonic() - began < 1
    eventually(lambda: owner.reasons == ["transport error"], "the end of the session that was being asked")


@pytest.mark.parametrize("by_value", [False, True])
def test_bodies_that_are_none(two: Two, by_value: bool) -> None:
    """The holder reads them; the session ends for the same ones as anywhere."""
    holder, owner = two

    def send(sid: str, body: bytes, length: str | None = None) -> int:
        headers = {} if length is None else {"Content-Length": length}
        if by_value:
            return holder.request("POST", headers, body, transport="polling", sid=sid).status
        return post(holder, sid, body, headers).response().status

    polling, session = owner.over_polling()
    assert send(polling.sid, b"4" + b"x" * 1_000_000) == 413
    assert send(polling.sid, b"4x", "many") == 400
    assert session.open
    assert send(polling.sid, b"4x", "10") == 400
    eventually(lambda: owner.reasons == ["transport error"], "the end")
    polling, session = owner.over_polling()
    assert send(polling.sid, b"") == 400
    eventually(lambda: owner.reasons == ["transport error", "parse error"], "the end")
    polling, session = owner.over_polling()
    assert send(polling.sid, b"junk") == 200
    assert owner.reasons == ["transport error", "parse error", "parse error"]


def test_a_body_that_does_not_arrive(make_siblings: MakeSiblings) -> None:
    holder, owner = make_siblings(2, http_request_body_timeout=0.1)
    polling, _ = owner.over_polling()
    client, server = socket.socketpair()
    environ = {
        **holder.environ("POST", {"Content-Length": "10"}, b"", transport="polling", sid=polling.sid),
        "gunicorn.socket": server,
        "wsgi.input": server.makefile("rb", 0),
    }
    client.sendall(b"4x")
    assert holder.engine.handle(environ).status == 408  # type: ignore[union-attr]
    eventually(lambda: owner.reasons == ["transport error"], "the end")
    client.close()
    server.close()


# -- clients that leave, owners that do not answer --


@pytest.mark.parametrize("by_value", [False, True])
def test_a_hang_up_is_noticed_wherever_the_get_waits(two: Two, by_value: bool) -> None:
    holder, owner = two
    polling, session = owner.over_polling()
    client, server = socket.socketpair()
    environ = {**holder.environ("GET", transport="polling", sid=polling.sid), "gunicorn.socket": server}
    if by_value:
        request = holder.engine_request("GET", polling.sid)
        request.environ["gunicorn.socket"] = server
        asked = Background(
            company(holder).forwarder._ask, link_between(holder, owner), request, pack_request(request, [], b"")
        )
    else:
        holder.engine.handle(environ)
        server.close()
    eventually(lambda: is_waiting(session), "the GET at its owner")
    client.close()
    eventually(lambda: owner.reasons == ["transport error"], "the end")
    if by_value:
        asked.result()
        server.close()


def test_a_post_of_a_paused_session_holds_no_thread_of_the_holder(two: Two) -> None:
    holder, owner = two
    polling, session = owner.over_polling()
    session.pause()
    threads = io_threads()
    waiting = post(holder, polling.sid, "4later")
    if WORLD == "threads":
        assert waiting.moved
        assert io_threads() == threads
    time.sleep(0.05)
    assert owner.received == []
    session.resume()
    assert body_of(waiting.response()) == "ok"
    assert owner.received == ["later"]


def test_a_post_of_a_paused_session_that_waits_by_value(two: Two) -> None:
    holder, owner = two
    polling, session = owner.over_polling()
    session.pause()
    waiting = post_by_value(holder, polling.sid, "4later")
    time.sleep(0.05)
    assert not waiting.done
    session.resume()
    assert body_of(waiting.result()) == "ok"
    assert owner.received == ["later"]


def test_who_has_waited_for_long_enough_gets_a_noop(make_siblings: MakeSiblings) -> None:
    """The owner releases it, in the order of what it sends; the holder only asks for that."""
    holder, owner = make_siblings(2, ping_interval=0.2, ping_timeout=0.2)
    polling, session = owner.over_polling()
    session._server.heartbeat.stop(session)  # lest a ping come first
    waiting = get_by_value(holder, polling.sid)
    assert body_of(waiting.result()) == "6"
    assert session.open


def test_a_frozen_owner(make_siblings: MakeSiblings, monkeypatch: pytest.MonkeyPatch) -> None:
    """By value it is waited for within bounds, then 503; and what it does when it is back reaches nobody."""
    monkeypatch.setattr(holders_side, "_POST_PATIENCE", 0.1)
    monkeypatch.setattr(holders_side, "_GRACE", 0.1)
    holder, owner = make_siblings(2, ping_interval=0.1, ping_timeout=0.1)
    polling, session = owner.over_polling()
    owner.engine.heartbeat.stop(session)
    freeze(owner)
    waiting = [get_by_value(holder, polling.sid), post_by_value(holder, polling.sid, "4x")]
    for call in waiting:
        assert call.result().status == 503
    assert not company(holder).forwarder._asked
    assert session.open
    thaw(owner)
    eventually(lambda: owner.reasons == ["transport error"], "the end of a session whose packets nobody takes")
    eventually(lambda: not company(owner).receiver._asked, "the end of what was asked")


def test_what_a_frozen_owner_gets_by_descriptor_waits_for_it(two: Two) -> None:
    """Nobody's thread is held, and nothing is lost when it goes on."""
    holder, owner = two
    clients = [owner.over_polling() for _ in range(300)]
    for number, (_, session) in enumerate(clients):
        session.send_message(str(number))
    freeze(owner)
    threads = io_threads()
    waiting = [get(holder, polling.sid) for polling, _ in clients]
    assert all(exchange.moved for exchange in waiting)
    if WORLD == "threads":
        assert io_threads() == threads
    thaw(owner)
    for number, exchange in enumerate(waiting):
        assert body_of(exchange.response()) == f"4{number}"


def test_the_holder_dies_while_it_asks(two: Two) -> None:
    """Its client's connection has died with it."""
    holder, owner = two
    polling, session = owner.over_polling()
    waiting = get_by_value(holder, polling.sid)
    eventually(lambda: is_waiting(session), "the GET at its owner")
    link_between(holder, owner).close()
    eventually(lambda: owner.reasons == ["transport error"], "the end")
    waiting.result()


@pytest.mark.parametrize("kind", ["get", "post", "websocket"])
def test_the_owner_ends_before_it_gets_the_connection(two: Two, kind: str) -> None:
    """It has left its WSGI server by then, and is answered all the same: nobody knows the session any more."""
    holder, owner = two
    polling, _ = owner.over_polling()
    descriptors = open_descriptors()
    link = link_between(holder, owner)
    link._watch.pause()  # the holder does not know
    for inbound in list(company(owner).siblings._table.inbound):
        inbound.close()
    if kind == "get":
        assert_unknown(get(holder, polling.sid).response())
    elif kind == "post":
        sent = post(holder, polling.sid, "4x")
        if WORLD == "gevent":  # by value: the end is read
            link._watch.resume()
        assert_unknown(sent.response())
    else:
        answer = Exchange(holder, "GET", UPGRADE, transport="websocket", sid=polling.sid).response()
        assert (answer.status, answer.body) == (400, b"Session ID unknown")
    assert owner.received == []
    link._watch.resume()
    eventually(lambda: open_descriptors() <= descriptors, "what has been opened is closed")


def test_a_session_that_ends_while_a_request_is_on_its_way(two: Two) -> None:
    holder, owner = two
    polling, session = owner.over_polling()
    freeze(owner)
    waiting = [get(holder, polling.sid), get_by_value(holder, polling.sid)]
    time.sleep(0.05)
    session.close(abort=True)
    thaw(owner)
    assert_unknown(waiting[0].response())
    assert_unknown(waiting[1].result())


def test_goodbye_through_another_process(two: Two) -> None:
    holder, owner = two
    polling, session = owner.over_polling()
    waiting = get(holder, polling.sid)
    eventually(lambda: is_waiting(session), "the GET at its owner")
    assert body_of(post(holder, polling.sid, "1").response()) == "ok"
    assert body_of(waiting.response()) == "6"
    assert owner.reasons == ["transport close"]


def test_an_end_by_the_owner_reaches_the_client(two: Two) -> None:
    holder, owner = two
    polling, session = owner.over_polling()
    waiting = get(holder, polling.sid)
    eventually(lambda: is_waiting(session), "the GET at its owner")
    session.close()
    assert body_of(waiting.response()) == "1"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="about forks")
def test_a_forked_child_leaves_what_is_asked_to_its_parent(two: Two) -> None:
    """It has no siblings, and the connection of the request that waits is a dead one to it."""
    holder, owner = two
    polling, session = owner.over_polling()
    client, server = socket.socketpair()
    request = holder.engine_request("GET", polling.sid)
    request.environ["gunicorn.socket"] = server
    asked = Background(
        company(holder).forwarder._ask, link_between(holder, owner), request, pack_request(request, [], b"")
    )
    eventually(lambda: is_waiting(session), "the GET at its owner")
    descriptor = server.fileno()

    def alone() -> object:
        try:
            os.write(descriptor, b"from the child")
        except BrokenPipeError:
            return holder.engine.joining.company
        return "it has written"

    with forked(alone) as copy:
        assert copy.outcome() == "None"
    session.send_message("to the parent's")
    assert body_of(asked.result()) == "4to the parent's"
    assert session.open
    client.close()
    server.close()


def test_a_connection_that_could_go_on_ends_where_it_cannot(two: Two) -> None:
    """The owner decides: this one is no worker of gunicorn's."""
    holder, owner = two
    polling, session = owner.over_polling()
    session.send_message("1")
    client, server = socket.socketpair()
    request = parse_request(holder.environ("GET", transport="polling", sid=polling.sid))
    payload = pack_request(request, [], b"", persistent=True)
    assert link_between(holder, owner).send(REQUEST, 0, payload, server.detach())
    answer = read_response(client)
    assert body_of(answer) == "41" and dict(answer.headers)["Connection"] == "close"
    assert client.recv(1) == b""
    client.close()
