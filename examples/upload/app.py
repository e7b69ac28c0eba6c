"""Files are uploaded in pieces; each piece's acknowledgement moves the progress bar, so it shows what the server has.

``python app.py``, then http://127.0.0.1:8000. Behind a production server, with one worker::

    gunicorn --worker-class gevent app:app
    gunicorn --threads 16 app:app

The latest files are kept, in the directory that UPLOADS names or else in a new temporary one.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
import threading
from collections import deque
from pathlib import Path
from typing import Any

from werkzeug.exceptions import NotFound
from werkzeug.middleware.shared_data import SharedDataMiddleware

from wsgi_sio import Server, Socket, WSGIApp
from wsgi_sio.client_files import find_client, install_client

HERE = Path(__file__).resolve().parent
LARGEST, PIECE = 50_000_000, 128_000  # bytes of a file, of a piece
NAME, KEPT = 200, 20  # characters; files

Json = dict[str, Any]

uploads = Path(os.environ.get("UPLOADS") or tempfile.mkdtemp(prefix="uploads-"))
files: deque[Upload] = deque()  # the latest first
lock = threading.Lock()  # the handlers of different clients run side by side

# A piece is base64 when it comes over polling, which takes a third more.
io = Server(client_files=find_client() or install_client(), max_http_buffer_size=PIECE * 3 // 2)


class Upload:
    """A file, whole or coming in; its name is the client's, so it is only shown: on the disk it has one of ours."""

    def __init__(self, name: str, size: int) -> None:
        self.name, self.size, self.received = name, size, 0
        self._path = uploads / secrets.token_hex(16)
        self._file = self._path.open("xb")
        self._digest = hashlib.sha256()

    def write(self, piece: bytes) -> None:
        self._file.write(piece)
        self._digest.update(piece)
        self.received += len(piece)

    def close(self) -> None:
        self._file.close()

    def remove(self) -> None:
        self._file.close()
        self._path.unlink()

    def describe(self) -> Json:
        """What pages show of it."""
        return {"name": self.name, "size": self.size, "sha256": self._digest.hexdigest()}


@io.on("connection")
def connection(socket: Socket) -> None:
    socket.data["upload"] = None
    with lock:
        socket.join("list")
        socket.emit("files", [upload.describe() for upload in files])


@io.on("begin")
def begin(socket: Socket, name: Any, size: Any) -> Json:
    """Begin a file, the client's only one at a time; the answer says how large the pieces are to be."""
    if not isinstance(name, str) or not 1 <= len(name) <= NAME or not name.isprintable():
        return {"error": f"A name has 1 to {NAME} characters."}
    if not isinstance(size, int) or not 0 <= size <= LARGEST:
        return {"error": f"A file has at most {LARGEST // 1_000_000} MB."}
    abort(socket)
    socket.data["upload"] = Upload(name, size)
    return {"piece": PIECE}


@io.on("piece")
def piece(socket: Socket, data: Any) -> Json:
    """Take the next piece; a client's events come in order, so it need not say which one it is."""
    upload: Upload | None = socket.data["upload"]
    if upload is None or not isinstance(data, bytes) or upload.received + len(data) > upload.size:
        abort(socket)
        return {"error": "This piece was not expected."}
    upload.write(data)
    return {"received": upload.received}


@io.on("finish")
def finish(socket: Socket) -> Json:
    """The file is whole; the answer has the digest of what has arrived, for the page to compare."""
    upload: Upload | None = socket.data["upload"]
    if upload is None or upload.received != upload.size:
        abort(socket)
        return {"error": "The file is not complete."}
    socket.data["upload"] = None
    upload.close()
    with lock:
        files.appendleft(upload)
        if len(files) > KEPT:
            files.pop().remove()
        io.to("list").emit("files", [upload.describe() for upload in files])
    return upload.describe()


@io.on("abort")
def abort(socket: Socket) -> None:
    upload: Upload | None = socket.data["upload"]
    if upload is not None:
        socket.data["upload"] = None
        upload.remove()


@io.on("disconnect")
def disconnect(socket: Socket) -> None:
    abort(socket)


pages = {"/static": HERE / "static", "/shared": HERE.parent / "shared", "/": HERE / "page.html"}
app = WSGIApp(io, SharedDataMiddleware(NotFound(), {url: str(path) for url, path in pages.items()}, cache=False))

if __name__ == "__main__":
    from werkzeug.serving import run_simple

    run_simple("127.0.0.1", int(os.environ.get("PORT", "8000")), app, threaded=True)
