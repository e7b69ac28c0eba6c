"""TCP servers of the tests' own: what relays, proxies and scripted servers have in common."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress


class Listener:
    """Serves each connection in a thread of its own, until it is closed, which ends all of them."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._kept: list[socket.socket] | None = [self._listener]  # None: closed
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def serve(self, client: socket.socket) -> None:
        """Do whatever is to be done with a connection; an end of it is no failure."""
        raise NotImplementedError

    def keep(self, sock: socket.socket) -> socket.socket:
        """End ``sock`` with the listener; at once, if that has ended already."""
        with self._lock:
            closed = self._kept is None
            if self._kept is not None:
                self._kept.append(sock)
        if closed:
            end(sock)
        return sock

    def close(self, *, reset: bool = False) -> None:
        """End everything.

        :param reset: with an RST behind the FIN.
        """
        with self._lock:
            kept, self._kept = self._kept, None
        for sock in kept or []:
            if reset:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end(sock)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client = self.keep(self._listener.accept()[0])
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError, EOFError):
            self.serve(client)


class Relay(Listener):
    """Passes bytes on between its clients and servers."""

    def join(self, client: socket.socket, server: socket.socket, first: bytes = b"") -> None:
        """Relay both ways, after ``first`` has been sent to the server; returns when the client ends."""
        server.sendall(first)
        threading.Thread(target=_copy, args=(server, client), daemon=True).start()
        _copy(client, server)


def end(sock: socket.socket) -> None:
    """Close ``sock``, and wake whoever waits for it."""
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()


def _copy(source: socket.socket, target: socket.socket) -> None:
    """Relay bytes until either side ends."""
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
