"""The polls project, set up in this process, with a database of its own."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import django
import pytest
from django.core.management import call_command
from django.db import connections
from django.test import Client as Browser
from django.test import override_settings

from tests.support.inprocess import Client, InProcess

SITE = Path(__file__).parent / "site"


class Site:
    """The project, its server made anew with options, and the way for clients to it."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        from wsgi_sio.django.apps import installed_app

        self._settings = override_settings(WSGI_SIO=dict(options))
        self._settings.enable()
        app = installed_app()
        app.__dict__.pop("server", None)
        importlib.reload(importlib.import_module("polls.sio_events"))
        self.io = app.server
        self.process = InProcess(self.io)

    def client(self, browser: Browser | None = None, **headers: str) -> Client:
        """A client that has joined no namespace yet, with the cookies of ``browser``."""
        if browser is not None:
            headers["Cookie"] = "; ".join(f"{key}={morsel.value}" for key, morsel in browser.cookies.items())
        return self.process.client(headers=headers)

    def joined(self, browser: Browser | None = None) -> Client:
        client = self.client(browser)
        client.connect()
        return client

    def close(self) -> None:
        self.process.close()
        self._settings.disable()


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sets Django up; the path of the database, for servers in other processes."""
    database = tmp_path_factory.mktemp("polls") / "db.sqlite3"
    os.environ["SITE_DATABASE"] = str(database)
    os.environ["DJANGO_SETTINGS_MODULE"] = "mysite.settings"
    sys.path.insert(0, str(SITE))
    django.setup()
    del os.environ["DJANGO_SETTINGS_MODULE"]  # or other tests' processes would look for it
    call_command("migrate", run_syncdb=True, verbosity=0)
    return database


@pytest.fixture
def database(project: Path) -> Iterator[Path]:
    """The path of the emptied database."""
    call_command("flush", interactive=False, verbosity=0)
    yield project
    connections.close_all()


@pytest.fixture
def site(database: Path) -> Iterator[Site]:
    site = Site({})
    yield site
    site.close()


def log_in(name: str, **attributes: Any) -> Browser:
    """A browser in which a new user has logged in."""
    from django.contrib.auth.models import User

    browser = Browser()
    browser.force_login(User.objects.create_user(name, password="secret", **attributes))
    return browser
