"""Odd requests on a connection that is kept: each is answered, or refused, to the byte as on one that is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.live.kept import HOST, KIND, Client, Line, is_kept, kept_server, let_it_come
from tests.live.kinds import serve
from tests.support.scenario import assert_clean
from tests.support.servers import RunningServer

OPTIONS = {"limit_request_line": 400, "keep_alive": 20}
SIO = {
    "cors_allowed_origins": ["https://shop.example"],
    "cors_credentials": True,
    "max_http_buffer_size": 20_000,
    "allow_eio3": True,
}


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[RunningServer, RunningServer]]:
    """One that keeps connections, and one that does not."""
    with (
        kept_server(OPTIONS, **SIO) as kept,
        serve(KIND, OPTIONS, keep_polling_connections=False, **SIO) as ordinary,
    ):
        yield kept, ordinary
        assert_clean(kept)


def without(line: bytes, data: bytes) -> bytes:
    assert line in data
    return data.replace(line, b"")


def with_line(data: bytes, line: bytes) -> bytes:
    """One more line in the head."""
    return data.replace(b"\r\n", b"\r\n" + line + b"\r\n", 1)


END = (b"", b"the end")
PING = b'420["echo",1]'
LENGTH = b"Content-Length: 13"

# Polls that would wait for packets.
WAIT = ("a body of a GET", "a GET of length 0", "an upgrade to h2c", "an upgrade to WebSocket without a key")
EVERY_DAY = ("chunked", "two lengths", "HTTP/1.0", "an origin that may not", "a foreign path")

# By their names: what a client writes instead of a poll.
ODD: dict[str, Callable[[Client], bytes]] = {
    "chunked": lambda c: without(LENGTH + b"\r\n", with_line(c.post(PING), b"Transfer-Encoding: chunked"))
    .replace(PING, b"d\r\n" + PING + b"\r\n0\r\n\r\n"),
    "chunked, and a length": lambda c: with_line(c.post(PING), b"Transfer-Encoding: chunked"),
    "another transfer coding": lambda c: with_line(c.post(PING), b"Transfer-Encoding: gzip"),
    "two lengths": lambda c: with_line(c.post(PING), b"Content-Length: 12"),
    "the same length twice": lambda c: with_line(c.post(PING), LENGTH),
    "two lengths in one line": lambda c: c.post(PING).replace(LENGTH, LENGTH + b", 13"),
    "a length with a sign": lambda c: c.post(PING).replace(LENGTH, b"Content-Length: +13"),
    "a negative length": lambda c: c.post(PING).replace(LENGTH, b"Content-Length: -13"),
    "a length in hex": lambda c: c.post(PING).replace(LENGTH, b"Content-Length: 0xd"),
    "a length of spaces": lambda c: c.post(PING).replace(LENGTH, b"Content-Length:   "),
    "a length behind spaces": lambda c: c.post(PING).replace(LENGTH, b"Content-Length: \t 13 "),
    "a length with zeros": lambda c: c.post(PING).replace(LENGTH, b"Content-Length: 0013"),
    "no length": lambda c: without(LENGTH + b"\r\n", c.post(b"2" * 13)).removesuffix(b"2" * 13),
    "no body": lambda c: c.post(b""),
    "a space before the colon": lambda c: c.post(PING).replace(LENGTH, b"Content-Length : 13"),
    "an underscore": lambda c: c.post(PING).replace(LENGTH, b"Content_Length: 13\r\n" + LENGTH),
    "a body of a GET": lambda c: with_line(c.get(), b"Content-Length: 4").replace(b"\r\n\r\n", b"\r\n\r\nbody"),
    "a GET of length 0": lambda c: with_line(c.get(), b"Content-Length: 0"),
    "too large": lambda c: c.post(b"4" + b"x" * 20_000),
    "100-continue": lambda c: with_line(c.post(PING), b"Expect: 100-continue"),
    "another expectation": lambda c: with_line(c.post(PING), b"Expect: something"),
    "an upgrade to h2c": lambda c: with_line(c.get(), b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c"),
    "an upgrade to WebSocket without a key": lambda c: with_line(c.get(), b"Connection: Upgrade\r\nUpgrade: websocket"),
    "transport=websocket": lambda c: c.get().replace(b"=polling", b"=websocket"),
    "HTTP/1.0": lambda c: c.post(PING).replace(b"HTTP/1.1", b"HTTP/1.0"),
    "HTTP/1.0, kept": lambda c: with_line(c.post(PING).replace(b"HTTP/1.1", b"HTTP/1.0"), b"Connection: keep-alive"),
    "HTTP/2.0": lambda c: c.post(PING).replace(b"HTTP/1.1", b"HTTP/2.0"),
    "no version": lambda c: c.post(PING).replace(b" HTTP/1.1", b""),
    "Connection: close": lambda c: with_line(c.post(PING), b"Connection: close"),
    "Connection: keep-alive": lambda c: with_line(c.post(PING), b"Connection: keep-alive"),
    "two hosts": lambda c: with_line(c.post(PING), b"Host: elsewhere.test"),
    "no host": lambda c: without(HOST, c.post(PING)),
    "another host": lambda c: c.post(PING).replace(HOST, b"Host: elsewhere.test\r\n"),
    "two cookies": lambda c: with_line(c.post(PING), b"Cookie: a=1\r\nCookie: b=2"),
    "a folded header": lambda c: with_line(c.post(PING), b"X-Folded: a\r\n b"),
    "a control character": lambda c: with_line(c.post(PING), b"X-Odd: a\x00b"),
    "a bare CR": lambda c: with_line(c.post(PING), b"X-Odd: a\rb"),
    "bare LFs": lambda c: c.get().replace(b"\r\n", b"\n"),
    "an empty line before": lambda c: b"\r\n" + c.post(PING),
    "two empty lines before": lambda c: b"\r\n\r\n" + c.post(PING),
    "a long header": lambda c: with_line(c.post(PING), b"X-Long: " + b"x" * 8200),
    "many headers": lambda c: with_line(c.post(PING), b"\r\n".join(b"X-%d: x" % n for n in range(200))),
    "a large head": lambda c: with_line(c.post(PING), b"\r\n".join(b"X-%d: %b" % (n, b"x" * 900) for n in range(90))),
    "a long query": lambda c: c.post(PING).replace(b"EIO=4", b"t=" + b"x" * 400 + b"&EIO=4"),
    "many fields": lambda c: c.post(PING).replace(b"EIO=4", b"&" * 150 + b"EIO=4"),
    "the method in lower case": lambda c: c.post(PING).replace(b"POST", b"post"),
    "PUT": lambda c: c.post(PING).replace(b"POST", b"PUT"),
    "HEAD": lambda c: c.get().replace(b"GET", b"OPTIONS"),
    "OPTIONS": lambda c: with_line(c.get().replace(b"GET", b"OPTIONS"), b"Origin: https://shop.example"),
    "the whole URL": lambda c: c.post(PING).replace(b"POST /", b"POST http://example.test/"),
    "a fragment": lambda c: c.post(PING).replace(b" HTTP/1.1", b"#top HTTP/1.1"),
    "an escaped path": lambda c: c.post(PING).replace(b"/socket.io/", b"/socket%2eio/"),
    "two slashes": lambda c: c.post(PING).replace(b"/socket.io/", b"//socket.io/"),
    "no query": lambda c: c.get().replace(b"?" + c.common, b""),
    "a foreign path": lambda c: c.get().replace(b"/socket.io/", b"/elsewhere"),
    "the other server's path": lambda c: c.get().replace(b"/socket.io/", b"/second/"),
    "an unknown session": lambda c: c.post(PING).replace(c.sid.encode(), b"x" * 20),
    "no session": lambda c: c.post(PING).replace(b"&sid=" + c.sid.encode(), b""),
    "another protocol": lambda c: c.post(PING).replace(b"EIO=4", b"EIO=3"),
    "JSONP": lambda c: c.post(PING).replace(b"EIO=4", b"EIO=4&j=0"),
    "a binary payload": lambda c: c.post(PING).replace(b"text/plain;charset=UTF-8", b"application/octet-stream"),
    "no packet": lambda c: c.post(b"x" * 13),
    "not UTF-8": lambda c: c.post(b"\xff" * 13),
    "an origin that may": lambda c: with_line(c.post(PING), b"Origin: https://shop.example"),
    "an origin that may not": lambda c: with_line(c.post(PING), b"Origin: https://elsewhere.example"),
    "an origin that is the host": lambda c: with_line(c.post(PING), b"Origin: http://example.test"),
    "no HTTP": lambda c: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
}  # fmt: skip


def told(client: Client, data: bytes) -> list[tuple[bytes, bytes]]:
    """What a client hears of an odd request, without its session's id: as a rule an answer, and perhaps the end."""
    client.line.send(data)
    found, patience = [], 10.0
    try:
        while True:
            answer = client.line.answer(patience)
            found.append((answer.head, answer.body.replace(client.sid.encode(), b"SID")))
            if answer.last:
                return [*found, END]
            patience = 0.1
    except (EOFError, ConnectionResetError):
        return [*found, END]
    except TimeoutError:
        return found


@pytest.mark.parametrize(
    "name", [name if name in EVERY_DAY else pytest.param(name, marks=pytest.mark.slow) for name in ODD]
)
def test_it_is_answered_as_gunicorn_has_it_answered(servers: tuple[RunningServer, RunningServer], name: str) -> None:
    """Three times, where the connection goes on: what gunicorn has seen once may be known the next time."""
    with ExitStack() as stack:
        lines = [stack.enter_context(Line(server.port, anew=server is servers[1])) for server in servers]
        clients = [Client(line).join().warm_up() for line in lines]
        assert is_kept(servers[0], clients[0])
        for _ in range(3):
            for client in clients:
                if name in WAIT:
                    client.line.ask(client.post(PING))
                    let_it_come()
            kept, ordinary = (told(client, ODD[name](client)) for client in clients)
            assert kept == ordinary
            assert kept
            if END in kept:
                break
