"""``python -m benchmarks.webtransport``: what WebTransport costs the server, beside WebSocket.

A table in microseconds of CPU time for each operation, and memory for each connection. The server is a child process;
the clients are in this one, and what they cost is not measured.
"""

from __future__ import annotations

import argparse
import select
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

from benchmarks.measure import cpu_seconds, memory_bytes
from wsgi_sio.websocket.frames import TEXT, encode_frame
from wsgi_sio.websocket.messages import MessageDecoder

TRANSPORTS = ("websocket", "webtransport")
TEXT_OF_NEWS = "n" * 100
_TIMEOUT = 60.0  # seconds for anything that the server does
_MASK = bytes(4)


class Wire(Protocol):
    """One client: Socket.IO's packets as text."""

    received: list[str]

    def fileno(self) -> int: ...

    def send(self, *texts: str) -> None: ...

    def read(self) -> None:
        """Take what has come."""

    def due(self) -> None:
        """Do what is due by the clock."""

    def close(self) -> None: ...


class SocketWire:
    """By WebSocket."""

    def __init__(self, port: int) -> None:
        self.received: list[str] = []
        self._decoder = MessageDecoder(expect_masked=False, max_message_size=1 << 30)
        self._sock = socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT)
        self._sock.sendall(
            b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            % port
        )
        head = b""
        while b"\r\n\r\n" not in head:
            head += self._sock.recv(65536)
        self._take(head.partition(b"\r\n\r\n")[2])

    def fileno(self) -> int:
        return self._sock.fileno()

    def send(self, *texts: str) -> None:
        self._sock.sendall(b"".join([encode_frame(TEXT, text.encode(), mask=_MASK) for text in texts]))

    def read(self) -> None:
        self._take(self._sock.recv(65536))

    def _take(self, data: bytes) -> None:
        self.received += [event for event in self._decoder.feed(data) if isinstance(event, str)]

    def due(self) -> None:
        """Nothing."""

    def close(self) -> None:
        self._sock.close()


class QuicWire:
    """By WebTransport."""

    def __init__(self, port: int) -> None:
        from wsgi_sio.webtransport.connection import Answered, Connected, Connection
        from wsgi_sio.webtransport.frames import FrameDecoder
        from wsgi_sio.webtransport.quic import Quic, configure

        self.received: list[str] = []
        self._decoder = FrameDecoder(1 << 30)
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._sock.connect(("127.0.0.1", port))
        self._sock.setblocking(False)
        self._address = ("127.0.0.1", port)
        quic = Quic(replace(configure(None, 60.0), verify_mode=ssl.CERT_NONE, server_name="localhost"))
        self._connection = Connection(quic)
        self._seen: list[type] = []
        quic.connect(self._address, time.monotonic())
        self._wait(Connected)
        self._connection.request(
            [
                (b":method", b"CONNECT"),
                (b":protocol", b"webtransport"),
                (b":scheme", b"https"),
                (b":authority", b"127.0.0.1:%d" % port),
                (b":path", b"/socket.io/"),
            ]
        )
        self._wait(Answered)
        self._connection.open_stream()
        self.send("0")

    def _wait(self, kind: type) -> None:
        deadline = time.monotonic() + _TIMEOUT
        while kind not in self._seen:
            assert time.monotonic() < deadline, "no connection"
            self._flush()
            select.select([self], [], [], 0.01)
            self.read()
            self.due()

    def fileno(self) -> int:
        return self._sock.fileno()

    def send(self, *texts: str) -> None:
        from wsgi_sio.webtransport.frames import encode_frame as encode

        self._connection.send(b"".join([encode(text.encode(), binary=False) for text in texts]))
        self._flush()

    def _flush(self) -> None:
        for data, _ in self._connection.datagrams(time.monotonic()):
            with suppress(OSError):
                self._sock.send(data)

    def read(self) -> None:
        with suppress(BlockingIOError):
            while True:
                self._connection.receive(self._sock.recv(65536), self._address, time.monotonic())
        self._take()
        self._flush()

    def _take(self) -> None:
        for event in self._connection.events():
            self._seen.append(type(event))
            data = getattr(event, "data", b"")
            if data:
                self.received += [text for text in self._decoder.feed(data) if isinstance(text, str)]

    def due(self) -> None:
        deadline = self._connection.deadline
        if deadline is not None and deadline <= time.monotonic():
            self._connection.handle_timer(time.monotonic())
            self._take()
            self._flush()

    def close(self) -> None:
        self._connection.end_session()
        self._connection.close()
        self._flush()
        self._sock.close()


WIRES: dict[str, type[SocketWire] | type[QuicWire]] = {"websocket": SocketWire, "webtransport": QuicWire}


class Crowd:
    """Clients of one server, all in the namespace ``/``."""

    def __init__(self, kind: str, port: int, count: int) -> None:
        self.wires: list[Wire] = [WIRES[kind](port) for _ in range(count)]
        for wire in self.wires:
            wire.send("40")
        self.until(lambda: all(any(text.startswith("40") for text in wire.received) for wire in self.wires))

    def until(self, condition: object) -> None:
        """Read and answer pings until ``condition()`` is true."""
        assert callable(condition)
        deadline = time.monotonic() + _TIMEOUT
        while not condition():
            assert time.monotonic() < deadline, "the server has not done it in time"
            ready, _, _ = select.select(self.wires, [], [], 0.005)
            for wire in ready:
                wire.read()
            for wire in self.wires:
                wire.due()
                if "2" in wire.received:
                    wire.received = [text for text in wire.received if text != "2"]
                    wire.send("3")

    def close(self) -> None:
        for wire in self.wires:
            wire.close()


def measure(kind: str, scale: float = 1.0) -> dict[str, float]:
    """Microseconds of CPU time for each operation, and KB for each connection."""
    figures: dict[str, float] = {}
    with _server() as (process, port):

        def cpu() -> float:
            return (cpu_seconds(process.pid) or 0.0) * 1e6

        one = Crowd(kind, port, 1)
        (wire,) = one.wires
        rounds = max(1, int(2000 * scale))
        wire.received.clear()
        before = cpu()
        for number in range(rounds):
            wire.send(f'42{number}["echo","x"]')
            one.until(lambda: any(text.startswith("43") for text in wire.received))
            wire.received.clear()
        figures["echo"] = (cpu() - before) / rounds
        before = cpu()
        for _ in range(max(1, rounds // 20)):
            for number in range(50):
                wire.send(f'42{number}["echo","x"]')
            one.until(lambda: sum(text.startswith("43") for text in wire.received) == 50)
            wire.received.clear()
        figures["50 in flight"] = (cpu() - before) / (max(1, rounds // 20) * 50)
        one.close()
        count = max(2, int(100 * scale))
        memory, before = memory_bytes(process.pid) or 0, cpu()
        crowd = Crowd(kind, port, count)
        figures["connection"] = (cpu() - before) / count
        figures["KB"] = ((memory_bytes(process.pid) or 0) - memory) / 1000 / count
        events = max(2, int(100 * scale))
        for each in crowd.wires:
            each.received.clear()
        before = cpu()
        crowd.wires[0].send(f'42["news",{events}]')
        crowd.until(lambda: all(len(each.received) >= events for each in crowd.wires))
        figures["delivery"] = (cpu() - before) / (count * events)
        crowd.close()
    return figures


class _server:
    """The server, in a child process; its port."""

    def __enter__(self) -> tuple[subprocess.Popen[str], int]:
        command = [sys.executable, "-m", "benchmarks.webtransport", "--serve"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        return self._process, int(self._process.stdout.readline())

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.communicate()


def serve() -> None:
    """Be that child."""
    from wsgi_sio import Server, Socket, WSGIApp
    from wsgi_sio.development_server import make_server

    io = Server(transports=["polling", *TRANSPORTS], siblings=False)

    @io.on("echo")
    def echo(socket: Socket, text: str) -> str:
        return text

    @io.on("news")
    def tell(socket: Socket, count: int) -> None:
        def work() -> None:
            for number in range(count):
                io.emit("news", number, TEXT_OF_NEWS)
                io.sleep(0.01)

        io.start_background_task(work)

    server = make_server(WSGIApp(io), "127.0.0.1", 0, log=False)
    io.listen_webtransport("127.0.0.1", server.port)
    print(server.port, flush=True)
    server.serve_forever()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.webtransport", description="Measure WebTransport.")
    parser.add_argument("--scale", type=float, default=1.0, help="of the amounts; default: %(default)s")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve:
        serve()
        return 0
    rows = {kind: measure(kind, options.scale) for kind in TRANSPORTS}
    names = list(rows["websocket"])
    print(f"| transport | {' | '.join(names)} |\n|---|{'---:|' * len(names)}")
    for kind, figures in rows.items():
        print(f"| {kind} | {' | '.join(f'{figures[name]:.0f}' for name in names)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
