"""The test client of wsgi_sio.testing speaks to a Django project."""

from __future__ import annotations

from django.test import override_settings
from werkzeug.test import Client as HTTPClient

from tests.django.conftest import Site, log_in
from wsgi_sio import WSGIApp
from wsgi_sio.testing import TestClient


def test_a_logged_in_test_client(site: Site) -> None:
    """With the session of Django's own test client."""
    http = HTTPClient(WSGIApp(site.io))
    http.set_cookie("sessionid", log_in("ada").cookies["sessionid"].value)
    with override_settings(ALLOWED_HOSTS=["localhost"]):
        client = TestClient(site.io, http=http)
    client.connect()
    assert client.call("whoami") == "ada"
    client.disconnect()
