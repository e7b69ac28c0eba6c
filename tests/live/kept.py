"""Polls written by hand on one keep-alive connection, and what gunicorn's access log shows of them."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.live.kinds import APP
from tests.live.peers import ask, eventually
from tests.support.servers import RunningServer, start_server
from tests.support.world import WORLD

KIND = "gunicorn-gthread" if WORLD == "threads" else "gunicorn-gevent"
TIMEOUT = 20.0
# For how many seconds gunicorn lets connections be idle, where the tests do not say: this machine may be busy.
PATIENT = 20
HOST = b"Host: example.test\r\n"
# A request in the access log: the client's port, by which its connection is known, and the first line.
LOGGED = '%({remote_port}e)s "%(r)s" %(s)s'
PAGE = b"GET /elsewhere HTTP/1.1\r\n%b\r\n" % HOST


@dataclass(frozen=True)
class Answer:
    """A response as it came: its head without the date, and its body."""

    head: bytes
    body: bytes

    @property
    def status(self) -> int:
        return int(self.head.split(b" ", 2)[1])

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def last(self) -> bool:
        """Whether the server says that it ends the connection."""
        return b"\r\nConnection: close" in self.head


class Line:
    """A TCP connection to a server, on which requests are written as bytes.

    :param anew: whether there is another one when the server has said that it ends this one, as it does with threads
        for each GET that has waited, where connections do not go on.
    """

    def __init__(self, port: int, anew: bool = False) -> None:
        self._port = port
        self._anew = anew
        self._connect()

    def _connect(self) -> None:
        self.sock = socket.create_connection(("127.0.0.1", self._port), TIMEOUT)
        self._buffer = b""

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def answer(self, timeout: float = TIMEOUT) -> Answer:
        """The next response. Raises EOFError when the server ends the connection instead."""
        self.sock.settimeout(timeout)
        while b"\r\n\r\n" not in self._buffer:
            self._read()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: ([0-9]+)", head)
        size = int(length[1]) if length else 0
        while len(self._buffer) < size:
            self._read()
        body, self._buffer = self._buffer[:size], self._buffer[size:]
        answer = Answer(re.sub(rb"\r\nDate: [^\r]*", b"", head), body)
        if self._anew and answer.last:
            self.sock.close()
            self._connect()
        return answer

    def _read(self) -> None:
        data = self.sock.recv(65536)
        if not data:
            raise EOFError
        self._buffer += data

    def ask(self, data: bytes) -> Answer:
        """Send a request; its response."""
        self.send(data)
        return self.answer()

    def has_ended(self, timeout: float = TIMEOUT) -> bool:
        """Whether the server ends the connection within ``timeout`` seconds, without another word."""
        self.sock.settimeout(timeout)
        try:
            return self.sock.recv(1) == b""
        except TimeoutError:
            return False
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self.sock.close()

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Client:
    """A polling client that has one connection for everything, or shares it.

    :ivar headers: what each of its requests has beside what it must.
    """

    def __init__(
        self, line: Line, headers: bytes = b"", path: bytes = b"/socket.io/", protocol: int = 4, query: bytes = b""
    ) -> None:
        self.line = line
        self.headers = headers
        self.path = path
        self.common = b"EIO=%d&transport=polling%b" % (protocol, query)
        self.opened = line.ask(self.get())
        assert self.opened.status == 200, self.opened
        found = re.search(r'"sid\\?":\\?"([\w-]+)', self.opened.text)
        assert found
        self.sid = found[1]
        self.common += b"&sid=" + self.sid.encode()

    def get(self, headers: bytes = b"") -> bytes:
        """A GET."""
        return b"GET %b?%b HTTP/1.1\r\n%b%b%b\r\n" % (self.path, self.common, HOST, self.headers, headers)

    def post(self, body: bytes, headers: bytes = b"") -> bytes:
        """A POST."""
        headers += b"Content-Type: text/plain;charset=UTF-8\r\nContent-Length: %d\r\n" % len(body)
        return self.get(headers).replace(b"GET", b"POST", 1) + body

    def join(self) -> Client:
        """Connect to the main namespace."""
        assert self.line.ask(self.post(b"40")).text == "ok"
        assert self.line.ask(self.get()).text.startswith("40{")
        return self

    def echo(self, value: Any) -> tuple[Answer, Answer]:
        """An event and its acknowledgement: the answers to both requests."""
        first = self.line.ask(self.post(b'420["echo",%b]' % json.dumps(value, separators=(",", ":")).encode()))
        second = self.line.ask(self.get())
        assert (first.status, second.status) == (200, 200), (first, second)
        assert second.text == f"430[{json.dumps(value, separators=(',', ':'))}]", second
        return first, second

    def warm_up(self) -> Client:
        """Let gunicorn have seen each kind of request."""
        for number in range(2):
            self.echo(number)
        return self


def seen(server: RunningServer, line: Line | None = None) -> int:
    """How many requests gunicorn has logged: of all, or of those on one connection.

    It does so behind their answers, but before it reads the next request on that connection; others need not wait.
    """
    port = "[0-9]+" if line is None else str(line.sock.getsockname()[1])
    return len(re.findall(rf'^{port} "(?:GET|POST) /socket\.io/', server.log(), re.MULTILINE))


def expect_seen(server: RunningServer, count: int, line: Line | None = None) -> None:
    """gunicorn has logged so many requests, or is about to."""
    eventually(lambda: seen(server, line), lambda found: found >= count)
    assert seen(server, line) == count


@contextmanager
def kept_server(options: dict[str, Any] | None = None, app: str = APP, **sio_options: Any) -> Iterator[RunningServer]:
    """gunicorn's gevent or gthread worker, which writes an access log, and keeps polling connections all the same."""
    env = {"SIO_OPTIONS": json.dumps({"keep_polling_connections": True, **sio_options})}
    options = {"keep_alive": PATIENT, "access_logformat": LOGGED, **(options or {})}
    with start_server(KIND, app, env, options) as server:
        yield server


def is_kept(server: RunningServer, client: Client) -> bool:
    """Whether gunicorn sees nothing of what a client does now."""
    before = seen(server, client.line)
    client.echo("seen?")
    client.line.ask(client.post(b"3"))  # by whose answer all before it has been logged
    return seen(server, client.line) == before


def let_it_come() -> None:
    """What has been sent is answered soon, so that the next GET need not wait: with threads that would be to see."""
    if WORLD == "threads":
        time.sleep(0.05)


def join_with_id(client: Client) -> str:
    """Connect to the main namespace; the id of the socket."""
    assert client.line.ask(client.post(b"40")).text == "ok"
    found = re.search(r'"sid":"([^"]+)"', client.line.ask(client.get()).text)
    assert found
    return found[1]


def session_end(server: RunningServer, count: int) -> str:
    """The reason for which the last of ``count`` sessions has ended."""
    journal: dict[str, Any] = eventually(lambda: ask(server, "journal"), lambda found: len(found) >= count)
    return str(list(journal.values())[-1][0])
