"""How the servers of ``benchmarks.bus`` emit: as many events as each byte says that comes by a connection."""

import socket
import threading
from collections.abc import Callable


def listen(emit: Callable[[str], object]) -> int:
    """Call ``emit`` with the text of each event; the port for the connection."""
    server = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_serve, args=(server, emit), daemon=True).start()
    return int(server.getsockname()[1])


def _serve(server: socket.socket, emit: Callable[[str], object]) -> None:
    sock, _ = server.accept()
    number = 0
    while counts := sock.recv(4096):
        for _ in range(sum(counts)):
            number += 1
            emit(f"{number:08d}".ljust(100, "."))
