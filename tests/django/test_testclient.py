"""The test client of wsgi_sio.testing speaks to a Django project."""

from __future__ import annotations

from django.db import connection, transaction
from django.test import override_settings
from django.test.utils import setup_test_environment, teardown_test_environment
from werkzeug.test import Client as HTTPClient

from tests.django.conftest import Site, log_in
from wsgi_sio import WSGIApp
from wsgi_sio.testing import TestClient


def joined(site: Site) -> TestClient:
    """A client that has joined, in the environment that Django's test runner makes of startproject's settings."""
    with override_settings(ALLOWED_HOSTS=[]):
        setup_test_environment(debug=False)
        try:
            client = TestClient(site.io)
        finally:
            teardown_test_environment()
    client.connect()
    return client


def test_with_the_settings_of_startproject(site: Site) -> None:
    client = joined(site)
    assert client.call("whoami") == ""
    client.close()


def test_handlers_see_what_the_test_has_not_committed(site: Site) -> None:
    """TestCase runs each test in a transaction, and rolls it back: what the handlers have written as well."""
    from polls.models import Choice

    site.io.on("count", lambda socket: Choice.objects.create(text="by the handler") and Choice.objects.count())
    client = joined(site)
    with transaction.atomic():
        Choice.objects.create(text="by the test")
        assert client.call("count") == Choice.objects.count() == 2
        transaction.set_rollback(True)
    assert Choice.objects.count() == 0
    client.close()
    connection.close()


def test_a_logged_in_test_client(site: Site) -> None:
    """With the session of Django's own test client."""
    http = HTTPClient(WSGIApp(site.io))
    http.set_cookie("sessionid", log_in("ada").cookies["sessionid"].value)
    with override_settings(ALLOWED_HOSTS=["localhost"]):
        client = TestClient(site.io, http=http)
    client.connect()
    assert client.call("whoami") == "ada"
    client.disconnect()
