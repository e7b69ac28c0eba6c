"""``manage.py check`` finds what is wrong with the settings, and nothing serves with wrong ones."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.test import override_settings

from wsgi_sio import WSGIApp
from wsgi_sio.adapters import MemoryAdapter
from wsgi_sio.django.apps import SocketIOConfig


def ours(messages: list[CheckMessage]) -> list[tuple[str, str]]:
    return [(str(message.id), str(message.msg)) for message in messages if str(message.id).startswith("wsgi_sio.")]


@pytest.mark.parametrize(
    ("setting", "code", "text"),
    [
        (["path"], "E001", "must be a dictionary of the server's options, not a list"),
        ({"ping_intervall": 3}, "E002", "unknown option 'ping_intervall'; did you mean 'ping_interval'?"),
        ({"ping_interval": "25"}, "E003", "WSGI_SIO['ping_interval'] must be float, not '25'"),
        ({"ping_interval": True}, "E003", "must be float, not True"),
        ({"max_workers": 1.5}, "E003", "must be int or None, not 1.5"),
        ({"transports": 7}, "E003", "WSGI_SIO['transports'] must be "),
        ({"allow_request": 7}, "E003", "WSGI_SIO['allow_request'] must be "),
        ({"allow_request": "polls.nowhere.allow"}, "E003", "WSGI_SIO['allow_request'] names what is not there"),
        ({"allow_request": "polls.models.nothing"}, "E003", "WSGI_SIO['allow_request'] names what is not there"),
        ({"json": "not a path"}, "E003", "WSGI_SIO['json'] names what is not there"),
        ({"adapter": "zmq://queue"}, "E003", "no bus for the scheme 'zmq'; there are redis, "),
        ({"ping_timeout": -1}, "E004", "ping_timeout must be greater than 0, not -1"),
        ({"transports": ["pigeon"]}, "E004", "transports must be some of"),
        ({"client_files": "nowhere"}, "E004", "no Socket.IO browser client in nowhere"),
    ],
)
def test_a_wrong_setting(project: Any, setting: Any, code: str, text: str) -> None:
    with override_settings(WSGI_SIO=setting):
        [(found, message)] = ours(run_checks())
    assert found == f"wsgi_sio.{code}"
    assert text in message


@pytest.mark.parametrize(
    "setting",
    [
        {},
        {"ping_interval": 25, "ping_timeout": 20.5, "max_workers": None, "cookie": True, "http_compression": None},
        {"transports": "polling", "cors_allowed_origins": ["https://a.example"], "cookie": {"name": "io"}},
        {"transports": ["polling", "websocket"], "cors_allowed_origins": "*", "cors_credentials": True},
        {"allow_request": "polls.models.results", "json": "json", "parser": "wsgi_sio.socketio.packet_msgpack"},
        {"adapter": "wsgi_sio.adapters.MemoryAdapter", "connection_state_recovery": {"skip_middlewares": False}},
        {"adapter": "redis://127.0.0.1:1"},
        {"adapter": MemoryAdapter, "cors_allowed_origins": lambda origin: True},
    ],
)
def test_a_right_setting(project: Any, setting: Any) -> None:
    with override_settings(WSGI_SIO=setting):
        assert ours(run_checks()) == []


def test_all_that_is_wrong_is_told_at_once(project: Any) -> None:
    with override_settings(WSGI_SIO={"path": 4, "max_outbox": "much"}):
        assert len(ours(run_checks())) == 2


def test_without_the_setting_there_are_the_defaults(project: Any) -> None:
    with override_settings():
        from django.conf import settings

        del settings.WSGI_SIO
        assert ours(run_checks()) == []


@pytest.mark.parametrize(
    ("application", "expected"),
    [
        ("mysite.wsgi.application", []),
        ("polls.nowhere.application", ["wsgi_sio.E005"]),
        ("mysite.unwrapped.application", ["wsgi_sio.W001"]),
        (None, ["wsgi_sio.W001"]),
    ],
)
def test_the_application_serves_socketio(project: Any, application: str | None, expected: list[str]) -> None:
    from wsgi_sio.django.apps import installed_app

    installed_app().serving = False
    with override_settings(WSGI_APPLICATION=application):
        assert [code for code, _ in ours(run_checks())] == expected


def test_a_middleware_around_the_application_does_not_hide_it(project: Any) -> None:
    """Whatever has become of it: an application has been wrapped when WSGI_APPLICATION was loaded."""
    from wsgi_sio.django import get_wsgi_application
    from wsgi_sio.django.apps import installed_app

    installed_app().serving = False
    assert isinstance(get_wsgi_application(), WSGIApp)
    with override_settings(WSGI_APPLICATION="mysite.unwrapped.application"):
        assert ours(run_checks()) == []


def test_commands_do_not_start_with_wrong_settings_and_nothing_is_served(project: Any) -> None:
    from wsgi_sio.django import get_wsgi_application

    with override_settings(WSGI_SIO={"ping_intervall": 3}):
        with pytest.raises(Exception, match=r"wsgi_sio\.E002"):
            call_command("check")
        with pytest.raises(ImproperlyConfigured, match="ping_intervall"):
            get_wsgi_application()


def test_a_project_without_the_app_is_told(project: Any) -> None:
    from django.conf import settings

    import wsgi_sio.django

    installed = [name for name in settings.INSTALLED_APPS if name != "wsgi_sio.django"]
    with override_settings(INSTALLED_APPS=installed), pytest.raises(ImproperlyConfigured, match="INSTALLED_APPS"):
        wsgi_sio.django.io  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'oi'"):
        wsgi_sio.django.oi  # type: ignore[attr-defined]  # noqa: B018


def test_a_mistaken_unit_is_told_by_the_server_not_by_each_check(
    project: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with override_settings(WSGI_SIO={"ping_interval": 25000}):
        assert ours(run_checks()) == []
        assert "ping_interval" not in caplog.text
        assert SocketIOConfig.create("wsgi_sio.django").server.engine.config.ping_interval == 25000  # type: ignore[attr-defined]
    assert caplog.text.count("did you mean ping_interval=25?") == 1
