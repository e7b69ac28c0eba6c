"""An engine whose clients connect by WebTransport, over the loopback."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tests.engineio.conftest import Engine, MakeEngine
from tests.support.inprocess import Polling
from tests.support.quic_end import QuicEnd
from wsgi_sio.engineio import Session

ALL = ("polling", "websocket", "webtransport")


class QuicEngine:
    """``engine`` with a UDP port; its clients are gone when the test is over."""

    def __init__(self, make_engine: MakeEngine, listen: Mapping[str, Any] = {}, **options: Any) -> None:
        self.engine: Engine = make_engine(**{"transports": ALL, "path": "/socket.io", **options})
        self.listener = self.engine.engine.listen_webtransport(
            **{
                "host": "127.0.0.1",
                "port": 0,
                "certfile": None,
                "keyfile": None,
                "password": None,
                "prefix": "",
                "max_connections": 1000,
                **listen,
            }
        )
        self.address: tuple[str, int] = ("127.0.0.1", self.listener.port)

    def end(self, **options: Any) -> QuicEnd:
        """A client that has done nothing yet."""
        return QuicEnd(self.address, **options)

    def opened(self, **options: Any) -> tuple[QuicEnd, Session]:
        """A new session, its handshake read."""
        end = self.end(**options).open()
        end.send("0")
        return end, self.session(end)

    def session(self, end: QuicEnd) -> Session:
        """Read the handshake; the session that it tells of."""
        first = end.receive()
        assert isinstance(first, str) and first[0] == "0", first
        return self.engine.engine.sessions[json.loads(first[1:])["sid"]]

    def probing(self, polling: Polling, **options: Any) -> QuicEnd:
        """A client that has probed, and got the answer."""
        end = self.end(**options).open()
        end.send(f'0{{"sid":"{polling.sid}"}}', "2probe")
        assert end.receive() == "3probe"
        return end
