"""Middlewares set before the SocketIO or after it: what they correct for views, they correct for handlers."""

from __future__ import annotations

import functools
from typing import Any
from unittest.mock import Mock

import flask
import pytest
from werkzeug.middleware.proxy_fix import ProxyFix

from tests.flask.conftest import Site

FORWARDED = {"X-Forwarded-For": "10.0.0.1", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "shop.example"}


def where() -> str:
    return f"{flask.request.remote_addr} {flask.request.url_root}"


@pytest.mark.parametrize("before", [True, False])
def test_middlewares_around_keep_working(site: Site, before: bool) -> None:
    def wrap() -> None:
        site.app.wsgi_app = ProxyFix(site.app.wsgi_app, x_host=1)  # type: ignore[method-assign]

    if before:
        wrap()
    site.app.add_url_rule("/", view_func=where)
    site.socketio.on_event("where", where)
    site.attach()
    if not before:
        wrap()
    views = site.app.test_client().get("/", headers=FORWARDED).text
    assert site.client(headers=FORWARDED).emit("where", callback=True) == views == "10.0.0.1 https://shop.example/"
    page = {**FORWARDED, "Origin": "https://shop.example"}
    answer = site.app.test_client().get("/socket.io/?EIO=4&transport=polling", headers=page)
    assert answer.status_code == 200, "the site's own page is let in"


class Around:
    """A middleware of the application's own, that keeps what it wraps like many do; and the app, as some do."""

    def __init__(self, app: flask.Flask, attribute: str) -> None:
        self._next = app.wsgi_app
        self.flask_app = app
        setattr(self, attribute, app.wsgi_app)

    def __call__(self, environ: Any, start_response: Any) -> Any:
        environ["around"] = environ.get("around", 0) + 1
        return self._next(environ, start_response)


@pytest.mark.parametrize("attribute", ["app", "wsgi_app", "application", "_app"])
@pytest.mark.parametrize("order", ["APS", "PAS", "PSA", "ASP", "SAP", "APAS"])
def test_the_order_of_the_middlewares_is_of_no_importance_for_addresses(site: Site, order: str, attribute: str) -> None:
    """P: a ProxyFix; A: another middleware; S: the SocketIO; the first is set first."""
    app = site.app
    app.add_url_rule("/", view_func=lambda: f"{where()} {flask.request.environ['around']}")
    site.socketio.on_event("where", where)
    steps = {
        "A": lambda: setattr(app, "wsgi_app", Around(app, attribute)),
        "P": lambda: setattr(app, "wsgi_app", ProxyFix(app.wsgi_app, x_host="P" not in order[order.index("P") + 1 :])),
        "S": site.attach,
    }
    for step in order:
        steps[step]()
    assert app.test_client().get("/", headers=FORWARDED).text.endswith(f" {order.count('A')}")
    assert site.client(headers={"X-Forwarded-For": "10.0.0.1"}).emit("where", callback=True).startswith("10.0.0.1 ")


def test_where_a_middleware_cannot_be_seen_through_the_refusal_names_the_order(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    fixed = ProxyFix(site.app.wsgi_app, x_host=1)
    site.app.wsgi_app = functools.partial(fixed)  # type: ignore[method-assign]
    site.attach()
    page = {**FORWARDED, "Origin": "https://shop.example"}
    answer = site.app.test_client().get("/socket.io/?EIO=4&transport=polling", headers=page)
    assert answer.status_code == 403 and "set it after SocketIO(app)" in caplog.text


def test_an_app_may_hold_itself_and_what_answers_to_any_name(site: Site) -> None:
    """What is looked for among the middlewares must be found, or not, in the end."""
    around: Any = Around(site.app, "wsgi_app")
    around.app = site.app
    site.app.wsgi_app = around  # type: ignore[method-assign]
    around.application = around
    around._app = Mock()
    site.socketio.on_event("where", where)
    assert site.client().emit("where", callback=True).startswith("127.0.0.1")
