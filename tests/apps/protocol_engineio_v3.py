"""The echo server of ``protocol_engineio.py``, for clients of Engine.IO protocol 3 as well."""

from __future__ import annotations

from tests.apps.protocol_engineio import echo, journal
from wsgi_sio import WSGIApp
from wsgi_sio.engineio import EngineConfig, EngineServer

app = WSGIApp(
    EngineServer(
        EngineConfig(
            path="/engine.io", ping_interval=0.3, ping_timeout=0.2, max_http_buffer_size=1_000_000, allow_eio3=True
        ),
        on_session=echo,
    ),
    journal,
)
