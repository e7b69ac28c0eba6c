"""The page about paths: its applications serve Socket.IO where it says."""

from __future__ import annotations

from typing import Any

import pytest
from werkzeug.test import Client

from tests.docs.pages import files
from wsgi_sio import Server, WSGIApp
from wsgi_sio.flask import SocketIO

FILES = files("prefix.rst")
HANDSHAKE = "?EIO=4&transport=polling"


def browser(name: str) -> Client:
    names: dict[str, Any] = {"__name__": name}
    exec(compile(FILES[name], name, "exec"), names)
    return Client(names["app"])


@pytest.mark.parametrize("name", ["plain.py", "flasky.py"])
def test_a_mounted_application_is_below_its_path_only(name: str) -> None:
    http = browser(name)
    assert http.get(f"/chat/socket.io/{HANDSHAKE}").status_code == 200
    assert http.get(f"/socket.io/{HANDSHAKE}").status_code == 404


def test_flask_s_links_know_the_prefix() -> None:
    assert browser("flasky.py").get("/chat/").text == "/chat/"


def test_the_engine_is_found_when_the_proxy_has_cut_the_prefix_off() -> None:
    headers = {"X-Forwarded-Prefix": "/chat"}
    assert browser("cut_off.py").get(f"/socket.io/{HANDSHAKE}", headers=headers).status_code == 200


def test_the_option_is_the_whole_path() -> None:
    import flask

    app = flask.Flask(__name__)
    SocketIO(app, path="/chat/socket.io")
    for application in (WSGIApp(Server(path="/chat/socket.io")), app):
        http = Client(application)
        assert http.get(f"/chat/socket.io/{HANDSHAKE}").status_code == 200
        assert http.get(f"/socket.io/{HANDSHAKE}").status_code == 404
