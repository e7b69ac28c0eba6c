"""``tests.apps.main`` with the msgpack parser."""

from __future__ import annotations

from functools import partial

import wsgi_sio
from wsgi_sio.socketio import packet_msgpack

wsgi_sio.Server = partial(wsgi_sio.Server, parser=packet_msgpack)  # type: ignore[assignment,misc]

from tests.apps.main import app  # noqa: E402

__all__ = ["app"]
