"""Engine.IO echo servers for ``tests/conformance``.

``/engine.io`` has the configuration of the official protocol test suite; ``/calm/engine.io`` has the default, slow
heartbeat, so that tests of other matters never race it. ``/journal/<session id>`` tells what a session went through.
"""

from __future__ import annotations

from typing import Any

from tests.conformance.journal import Journal
from wsgi_sio import WSGIApp
from wsgi_sio.engineio import MESSAGE, EngineConfig, EngineServer, Packet, Session

journal = Journal()


def echo(session: Session) -> None:
    """Send every message back, and note messages and the reason of the end."""

    def on_message(data: str | bytes) -> None:
        journal.record(session.id, "message")
        session.send([Packet(MESSAGE, data)])

    session.on_message = on_message
    session.on_close = lambda reason: journal.record(session.id, f"close: {reason}")


def allow_request(environ: dict[str, Any]) -> bool | str:
    """Refuse a handshake that asks for it: ``X-Refuse: forbidden`` without a message, another value with it."""
    wish = environ.get("HTTP_X_REFUSE")
    return wish is None or (wish != "forbidden" and wish)


quick = EngineServer(
    EngineConfig(path="/engine.io", ping_interval=0.3, ping_timeout=0.2, max_http_buffer_size=1_000_000),
    on_session=echo,
)
calm = EngineServer(EngineConfig(path="/calm/engine.io", allow_request=allow_request), on_session=echo)
app = WSGIApp(quick, WSGIApp(calm, journal))
