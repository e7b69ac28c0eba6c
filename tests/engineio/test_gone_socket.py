"""gevent's socket whose connection has been taken does what it does above the end of a pair whose other is closed."""

from __future__ import annotations

import _socket
import gc
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.world import WORLD
from wsgi_sio.engineio.gone_socket import GONE

pytestmark = pytest.mark.skipif(WORLD != "gevent", reason="gevent's sockets wrap one")


def written(sock: Any) -> None:
    file = sock.makefile("wb")
    file.write(b"HTTP/1.1 101 which nobody reads")
    file.flush()


def written_and_closed(sock: Any) -> None:
    file = sock.makefile("wb")
    file.write(b"HTTP/1.1 101 which nobody reads")
    file.close()


def half_closed(sock: Any) -> bytes:
    """As socketserver and pywsgi do it."""
    sock.shutdown(socket.SHUT_WR)
    rest: bytes = sock._sock.recv(16_384)
    sock._sock.close()
    sock.close()
    return rest


def closed(sock: Any) -> list[Any]:
    file = sock.makefile("rb")
    sock.close()
    while_read = file.read()
    file.close()
    sock.close()
    return [while_read, sock.closed, sock.fileno()]


CALLS: dict[str, Callable[[Any], Any]] = {
    "send": lambda sock: sock.send(b"x"),
    "sendall": lambda sock: sock.sendall(b"x"),
    "sendall of nothing": lambda sock: sock.sendall(b""),
    "sendall in time": lambda sock: (sock.settimeout(5), sock.sendall(bytes(3_000_000))),
    "sendmsg": lambda sock: sock.sendmsg([b"x"]),
    "recv": lambda sock: sock.recv(10),
    "recv without waiting": lambda sock: (sock.setblocking(False), sock.recv(10, socket.MSG_PEEK)),
    "recv_into": lambda sock: sock.recv_into(bytearray(10)),
    "recv_into with a size": lambda sock: sock.recv_into(bytearray(10), 5),
    "shutdown": lambda sock: [sock.shutdown(how) for how in (socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR)],
    "read a line": lambda sock: sock.makefile("rb").readline(),
    "read text": lambda sock: sock.makefile("r").read(),
    "write": written,
    "write and close": written_and_closed,
    "half close": half_closed,
    "close": closed,
    "with": lambda sock: [sock.__enter__() is sock, sock.__exit__(), sock.closed],
    "receive after close": lambda sock: (sock.close(), sock.recv(1)),
    "family, type, proto": lambda sock: (sock.family, sock.type, sock.proto),
    "timeouts": lambda sock: (sock.settimeout(3), sock.gettimeout(), sock.setblocking(True), sock.getblocking()),
    "its error": lambda sock: sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR),
    "size of an option": lambda sock: len(sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)),
    "SO_LINGER": lambda sock: sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)),
    "names": lambda sock: (sock.getsockname(), sock.getpeername()),
    "accept": lambda sock: sock.accept(),
    "listen": lambda sock: sock.listen(1),
}


@pytest.fixture
def sockets() -> Iterator[tuple[Any, Any]]:
    """gevent's socket above the end of a pair whose other is closed, and above what stands for one."""
    pairs = [socket.socketpair(), socket.socketpair()]
    real, taken = (pair[0] for pair in pairs)
    inner: _socket.socket = taken._sock  # type: ignore[attr-defined]  # it is gevent's
    for _, other in pairs:
        other.close()
    taken._sock = GONE  # type: ignore[attr-defined]
    yield real, taken
    for sock in (real, taken, inner):
        sock.close()


def outcome(call: Callable[[Any], Any], sock: Any) -> Any:
    """What ``call`` returns or raises."""
    try:
        return call(sock)
    except OSError as error:
        return type(error) if isinstance(error, ConnectionError) else OSError


@pytest.mark.parametrize("name", CALLS)
def test_it_is_like_one_whose_peer_has_hung_up(sockets: tuple[Any, Any], name: str) -> None:
    expected, got = (outcome(CALLS[name], sock) for sock in sockets)
    gc.collect()  # a file that has not been closed has its say here
    assert got == expected


def test_whoever_waits_for_it_is_woken_when_it_is_closed(sockets: tuple[Any, Any]) -> None:
    """Its watchers are those of the number that has been taken."""
    import gevent

    taken = sockets[1]
    waiting = gevent.spawn(lambda: outcome(lambda sock: sock._wait(sock._read_event, 5), taken))
    gevent.sleep(0)
    taken.close()
    assert waiting.get(timeout=5) is OSError
