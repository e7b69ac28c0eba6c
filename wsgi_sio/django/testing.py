"""For the tests of a project with real clients: a browser, a JavaScript client, ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.test import testcases

from .apps import installed_app

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

    from ..wsgi import WSGIApp

__all__ = ["LiveServerTestCase"]


class LiveServerTestCase(testcases.LiveServerTestCase):
    """Django's, whose server speaks Socket.IO as well: ``Client(self.live_server_url)``."""

    @staticmethod
    def static_handler(application: WSGIApplication) -> WSGIApp:
        """What the server serves, with Socket.IO in front."""
        return installed_app().wrap(testcases.LiveServerTestCase.static_handler(application))
