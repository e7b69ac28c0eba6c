"""Heads of polls: in which form they are known, and for what they are taken."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.world import one_world
from wsgi_sio.engineio.known_heads import Head, KnownHeads, is_plain, read_head

pytestmark = one_world

TARGET = b"/socket.io/?EIO=4&transport=polling&t=P.x-_~&sid=abc"
GET = b"GET %b HTTP/1.1\r\nHost: example.test\r\nCookie: a=1\r\n\r\n" % TARGET
POST = b"POST %b HTTP/1.1\r\nHost: example.test\r\nContent-Length: 4\r\nCookie: a=1\r\n\r\nbody" % TARGET
ENVIRON: dict[str, Any] = {
    "REQUEST_METHOD": "POST",
    "RAW_URI": TARGET.decode(),
    "SERVER_PROTOCOL": "HTTP/1.1",
    "HTTP_HOST": "example.test",
    "HTTP_COOKIE": "a=1",
    "CONTENT_TYPE": "text/plain",
    "CONTENT_LENGTH": "4",
}
CORS = [("Vary", "Origin")]


def head_of(data: bytes, peer: bytes = b"192.0.2.1") -> Head:
    head = read_head(data, peer)
    assert head is not None
    return head


def test_what_a_head_says() -> None:
    head = head_of(POST + b"and more")
    assert (head.method, head.target, head.length) == ("POST", TARGET.decode(), 4)
    assert head.query == TARGET.decode().partition("?")[2]
    assert POST[head.end :] == b"body"
    assert head.line == POST.index(b"\r\n")
    assert head_of(GET).length == 0


@pytest.mark.parametrize(
    ("change", "to"),
    [
        (b"\r\n\r\n", b"\r\n"),
        (b"POST", b"PUT"),
        (b"POST", b"post"),
        (b"POST ", b"POST  "),
        (b"HTTP/1.1", b"HTTP/1.0"),
        (b"HTTP/1.1", b"HTTP/1.10"),
        (b" HTTP/1.1\r\n", b"\r\n"),
        (b"\r\n", b"\n"),
        (b"?", b""),
        (b"EIO", b"#EIO"),
        (b"EIO", b"[EIO"),
        (b"EIO", b"\xe9EIO"),
        (b"EIO", b"\tEIO"),
        (b"EIO", b"a;EIO"),
        (b"Content-Length: 4", b"X: y"),
        (b"Content-Length: 4", b"Content-Length: +4"),
        (b"Content-Length: 4", b"Content-Length: 4, 4"),
        (b"Content-Length: 4", b"Content-Length: 4 "),
        (b"Content-Length: 4", b"Content-Length : 4"),
        (b"Content-Length: 4", b"Content-Length: 12345678"),
        (b"Content-Length: 4", "Content-Length: \u0664".encode()),
        (b"Cookie: a=1", b"Cookie: " + b"a" * 9000),
    ],
)
def test_what_has_not_the_form_of_a_poll(change: bytes, to: bytes) -> None:
    assert change in POST
    assert read_head(POST.replace(change, to), b"") is None


@pytest.mark.parametrize(
    "other",
    [
        POST.replace(b"sid=abc", b"sid=xyz&t=2"),
        POST.replace(b"Length: 4", b"Length: 2").replace(b"body", b"ab"),
        POST + b"GET / HTTP/1.1\r\n\r\n",
    ],
)
def test_polls_differ_in_query_and_length(other: bytes) -> None:
    assert head_of(other).key == head_of(POST).key


@pytest.mark.parametrize(
    "other",
    [
        POST.replace(b"a=1", b"a=2"),
        POST.replace(b"Cookie", b"cookie"),
        POST.replace(b"Content-Length: 4\r\n", b"Content-Length: 4\r\nContent-Length: 4\r\n"),
        POST.replace(b"Content-Length: 4\r\n", b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"),
        POST.replace(b"Content-Length: 4\r\n", b"Content-Length: 4\r\n \r\n"),
        POST.replace(b"/socket.io/", b"/other/"),
        POST.replace(b"/socket.io/", b"http://example.test/socket.io/"),
        GET.replace(b"GET", b"POST").replace(b"Cookie", b"Content-Length: 4\r\nX: y\r\nCookie"),
    ],
)
def test_everything_else_makes_another_head(other: bytes) -> None:
    assert head_of(other).key != head_of(POST).key


def test_a_head_is_of_one_method_and_one_peer() -> None:
    assert head_of(GET).key != head_of(GET.replace(b"GET", b"POST").replace(b"Host", b"Content-Length: 0\r\nHost")).key
    assert head_of(GET).key != head_of(GET, b"192.0.2.2").key


def test_a_head_is_known_when_it_has_been_learned() -> None:
    known = KnownHeads()
    assert known.find(head_of(POST)) is None
    known.learn(head_of(POST), ENVIRON, CORS, 4094)
    found = known.find(head_of(POST.replace(b"abc", b"xyz")))
    assert found is not None
    assert found.environ == {"CONTENT_TYPE": "text/plain"}  # no cookie, whose session may end
    assert found.cors == CORS
    assert known.find(head_of(GET)) is None


@pytest.mark.parametrize(
    "change",
    [{"REQUEST_METHOD": "GET"}, {"RAW_URI": TARGET.decode() + "x"}, {"CONTENT_LENGTH": "5"}, {"RAW_URI": None}],
)
def test_only_from_the_request_that_it_was(change: dict[str, Any]) -> None:
    known = KnownHeads()
    known.learn(head_of(POST), {**ENVIRON, **change}, CORS, 4094)
    assert known.find(head_of(POST)) is None


def test_a_first_line_that_the_server_would_find_too_long() -> None:
    known = KnownHeads()
    known.learn(head_of(POST), ENVIRON, CORS, 100)
    assert known.find(head_of(POST)) is not None
    assert known.find(head_of(POST.replace(b"abc", b"x" * 100))) is None
    known.learn(head_of(POST), ENVIRON, CORS, 0)  # as long as it likes
    assert known.find(head_of(POST.replace(b"abc", b"x" * 100))) is not None


def test_no_more_are_known_than_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsgi_sio.engineio.known_heads._MOST", 10)
    known = KnownHeads()
    heads = [head_of(POST.replace(b"a=1", b"a=%d" % number)) for number in range(25)]
    for head in heads:
        known.learn(head, ENVIRON, CORS, 0)
        assert known.find(head) is not None
    assert sum(known.find(head) is not None for head in heads) <= 10


@pytest.mark.parametrize(
    ("change", "plain"),
    [
        ({}, True),
        ({"HTTP_CONNECTION": "Keep-Alive"}, True),
        ({"REQUEST_METHOD": "GET"}, False),
        ({"CONTENT_LENGTH": None}, False),
        ({"REQUEST_METHOD": "GET", "CONTENT_LENGTH": None}, True),
        ({"SERVER_PROTOCOL": "HTTP/1.0"}, False),
        ({"SERVER_PROTOCOL": "HTTP/2"}, False),
        ({"HTTP_HOST": None}, False),
        ({"HTTP_CONNECTION": "close"}, False),
        ({"HTTP_CONNECTION": "keep-alive, Upgrade"}, False),
        ({"HTTP_UPGRADE": "h2c"}, False),
        ({"HTTP_EXPECT": "100-continue"}, False),
        ({"HTTP_TRANSFER_ENCODING": "chunked"}, False),
        ({"HTTP_TE": "trailers"}, False),
    ],
)
def test_what_is_plain(change: dict[str, Any], plain: bool) -> None:
    environ = {name: value for name, value in {**ENVIRON, **change}.items() if value is not None}
    assert is_plain(environ) == plain
