"""Flask's session in handlers, and the extensions that live on it: Flask-Login, Flask-Session, Flask-SQLAlchemy."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import flask
import pytest

from tests.flask.conftest import Site
from tests.support.inprocess import at_once
from wsgi_sio.flask import Namespace


def count() -> int:
    flask.session["n"] = flask.session.get("n", 0) + 1
    return int(flask.session["n"])


@pytest.fixture
def counting(site: Site) -> Site:
    """With an event that counts in the session, and a view that does."""
    site.socketio.on_event("count", count)
    site.socketio.on_event("count", count, namespace="/x")
    site.app.add_url_rule("/count", view_func=lambda: str(count()))
    return site


def test_a_managed_session_lasts_as_long_as_the_connection(counting: Site) -> None:
    """It begins as the page's, is shared by the connection's namespaces, and changes neither the page's nor others'."""
    counting.attach()
    browser = counting.app.test_client()
    assert browser.get("/count").text == "1"
    client = counting.client(flask_test_client=browser)
    client.connect("/x")
    assert [client.emit("count", callback=True) for _ in range(2)] == [2, 3]
    assert client.emit("count", callback=True, namespace="/x") == 4
    assert counting.client(flask_test_client=browser).emit("count", callback=True) == 2
    assert browser.get("/count").text == "2"


def test_the_cookie_is_verified_once_for_each_connection(counting: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Any] = []
    interface = type(counting.app.session_interface)
    real = interface.open_session
    monkeypatch.setattr(interface, "open_session", lambda *args: opened.append(args) or real(*args))
    client = counting.client()
    opened.clear()
    for _ in range(5):
        client.emit("count")
    assert len(opened) == 1


def test_an_unmanaged_cookie_session_is_frozen_and_says_so_once(
    counting: Site, caplog: pytest.LogCaptureFixture
) -> None:
    counting.attach(manage_session=False)
    client = counting.client()
    with caplog.at_level(logging.WARNING):
        assert [client.emit("count", callback=True) for _ in range(3)] == [1, 1, 1]
    told = [record.getMessage() for record in caplog.records if "session" in record.getMessage()]
    assert len(told) == 1 and "manage_session=True" in told[0] and "Flask-Session" in told[0]


def test_reading_an_unmanaged_cookie_session_is_silent(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.socketio.on_event("read", lambda: flask.session.get("n", "none"))
    site.attach(manage_session=False)
    assert site.client().emit("read", callback=True) == "none"
    assert caplog.text == ""


def test_without_a_secret_key_the_error_says_what_to_set(counting: Site, caplog: pytest.LogCaptureFixture) -> None:
    counting.app.secret_key = None
    counting.attach(manage_session=False)
    with pytest.raises(RuntimeError, match="no secret key was set.*Set the secret_key"):
        counting.client().emit("count")
    assert "a handler of 'count' failed" in caplog.text


def test_without_a_secret_key_a_managed_session_works_all_the_same(counting: Site) -> None:
    counting.app.secret_key = None
    client = counting.client()
    assert [client.emit("count", callback=True) for _ in range(2)] == [1, 2]


# -- extensions -------------------------------------------------------------------------------------------------------


def test_sessions_kept_on_the_server_are_shared_with_pages(counting: Site, tmp_path: Path) -> None:
    """Flask-Session and manage_session=False: each event opens the session anew and saves it."""
    flask_session = pytest.importorskip("flask_session")
    cachelib = pytest.importorskip("cachelib")
    counting.app.config.update(SESSION_TYPE="cachelib", SESSION_CACHELIB=cachelib.FileSystemCache(str(tmp_path)))
    flask_session.Session(counting.app)
    counting.attach(manage_session=False)
    browser = counting.app.test_client()
    assert browser.get("/count").text == "1"
    client = counting.client(flask_test_client=browser)
    assert client.emit("count", callback=True) == 2
    assert browser.get("/count").text == "3"
    assert client.emit("count", callback=True) == 4


@pytest.fixture
def login(site: Site) -> Site:
    """With Flask-Login, and the pages /login/<name> and /logout."""
    flask_login = pytest.importorskip("flask_login")

    class User(flask_login.UserMixin):  # type: ignore[misc, name-defined]
        def __init__(self, name: str) -> None:
            self.id = name

    manager = flask_login.LoginManager(site.app)
    manager.user_loader(User)
    manager.login_view = "login"

    @site.app.route("/login", defaults={"name": "anybody"})
    @site.app.route("/login/<name>")
    def login(name: str) -> str:
        flask_login.login_user(User(name))
        return "in"

    site.socketio.on_event("who", flask_login.login_required(lambda: flask_login.current_user.id))
    return site


def test_login_required_and_current_user(login: Site, caplog: pytest.LogCaptureFixture) -> None:
    login.attach()
    browser = login.app.test_client()
    browser.get("/login/ada")
    assert login.client(flask_test_client=browser).emit("who", callback=True) == "ada"
    assert login.client().emit("who", callback=True) is None
    assert "of 'who' answered 302 FOUND" in caplog.text, "the redirection to the login page is no acknowledgement"


def test_login_required_keeps_strangers_from_connecting(login: Site) -> None:
    import flask_login

    class Private(Namespace):
        @flask_login.login_required  # type: ignore[untyped-decorator]
        def on_connect(self) -> None: ...

    login.socketio.on_namespace(Private("/private"))
    login.attach()
    browser = login.app.test_client()
    browser.get("/login/ada")
    assert login.client("/private", flask_test_client=browser).is_connected("/private")
    stranger = login.client("/private")
    assert not stranger.is_connected("/private")
    assert stranger.connect_error("/private") == {"message": "302 FOUND"}


def test_abort_is_an_answer_too(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.socketio.on_event("connect", lambda auth: None if auth else flask.abort(403))
    site.socketio.on_event("x", lambda: flask.abort(404))
    stranger = site.wire()
    stranger.wire.send("40")
    assert stranger.receive().data == {"message": "403 FORBIDDEN"}
    client = site.wire()
    client.wire.send('40{"a":1}', '421["x"]')
    assert client.receive().type == 0
    client.expect_silence(0.05)
    assert "answered 404 NOT FOUND" in caplog.text and "Traceback" not in caplog.text


def test_database_sessions_are_released_after_every_event(site: Site, tmp_path: Path) -> None:
    """Flask-SQLAlchemy with a pool of one connection: ten clients' events, good and bad, and pages, get theirs."""
    flask_sqlalchemy = pytest.importorskip("flask_sqlalchemy")
    sqlalchemy = pytest.importorskip("sqlalchemy")
    pool = {"pool_size": 1, "max_overflow": 0, "pool_timeout": 5, "poolclass": sqlalchemy.pool.QueuePool}
    site.app.config.update(SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path / 'x.db'}", SQLALCHEMY_ENGINE_OPTIONS=pool)
    db = flask_sqlalchemy.SQLAlchemy(site.app)

    def query() -> int:
        return int(db.session.execute(sqlalchemy.text("select 42")).scalar())

    def bad() -> None:
        query()
        raise ValueError("on purpose")

    for event, handler in (("connect", query), ("query", query), ("bad", bad), ("disconnect", query)):
        site.socketio.on_event(event, handler)
    site.app.add_url_rule("/", view_func=lambda: str(query()))
    site.attach()

    def user(number: int) -> list[Any]:
        client = site.client()
        got = [client.emit("query", callback=True) for _ in range(5)]
        with pytest.raises(ValueError, match="on purpose"):
            client.emit("bad")
        got.append(int(site.app.test_client().get("/").text))
        client.disconnect()
        return got

    assert at_once(10, user, timeout=30) == [[42] * 6] * 10
