"""LiveServerTestCase: Django's, that speaks Socket.IO."""

from __future__ import annotations

import unittest
from urllib.request import urlopen

from tests.django.conftest import Site
from wsgi_sio import Client


def test_pages_and_events_over_one_server(site: Site) -> None:
    from wsgi_sio.django.testing import LiveServerTestCase

    class Polls(LiveServerTestCase):
        host = "127.0.0.1"

        def test_both(self) -> None:
            with urlopen(self.live_server_url, timeout=5) as answer:
                assert answer.status == 200
            for transport in ("polling", "websocket"):
                with Client(self.live_server_url, transports=[transport]) as client:
                    assert client.emit_with_ack("whoami", timeout=5) == ""

    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(Polls).run(result)
    assert result.wasSuccessful() and result.testsRun == 1, (result.errors, result.failures)
