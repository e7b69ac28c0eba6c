"""A TCP connection's way through somebody who may cut it, or say nothing any more."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Middleman:
    """Passes on what comes at :attr:`port`.

    :param target: the port of the loopback that it is for.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._flows = threading.Event()
        self._flows.set()
        self._away = False
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                here, _ = self._listener.accept()
                if self._away:
                    here.close()
                    continue
                there = socket.create_connection(("127.0.0.1", self._target))
                self._sockets += [here, there]
                for source, sink in ((here, there), (there, here)):
                    threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self._flows.wait()
                sink.sendall(data)
        _end(source, sink)

    def cut(self) -> None:
        """End all connections."""
        ended, self._sockets = self._sockets, []
        _end(*ended)

    def leave(self) -> None:
        """Let nobody in, and end all connections; until :meth:`come_back`."""
        self._away = True
        self.cut()

    def stall(self) -> None:
        """Pass on nothing, without a word; until :meth:`come_back`."""
        self._flows.clear()

    def come_back(self) -> None:
        self._away = False
        self._flows.set()

    def close(self) -> None:
        self.come_back()
        _end(self._listener)
        self.cut()


def _end(*sockets: socket.socket) -> None:
    for sock in sockets:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        sock.close()


@contextmanager
def middleman(target: int) -> Iterator[Middleman]:
    """One for the length of a ``with`` block."""
    made = Middleman(target)
    try:
        yield made
    finally:
        made.close()
