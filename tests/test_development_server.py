"""The servers for development: what they write for each request."""

from __future__ import annotations

import logging
import threading
import urllib.error
import urllib.request

import pytest

from tests.support.inprocess import eventually
from wsgi_sio.development_server import make_server
from wsgi_sio.wsgi import not_found


def test_the_line_for_a_request_does_not_give_its_session_away(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who knows the id of a session can take the client's place."""
    with caplog.at_level(logging.INFO):
        server = make_server(not_found, "127.0.0.1", 0)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.port}/socket.io/?EIO=4&transport=polling&sid=AbCdEfGhIjKlMnOpQrSt"
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(url, timeout=5)
        written: list[str] = []

        def line() -> bool:
            written.append(caplog.text + "".join(capsys.readouterr()))  # werkzeug logs, gevent writes
            return "transport=polling&sid=..." in "".join(written)

        eventually(line, "the line")
        server.stop()
        thread.join(5)
    assert "AbCdEfGhIjKlMnOpQrSt" not in "".join(written)
