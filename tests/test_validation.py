"""Every option of every layer: a value that cannot be meant is refused with its name, or warned of."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import flask
import pytest

from wsgi_sio import Client, Server
from wsgi_sio.client.engineio.opening import Handshake
from wsgi_sio.client.options import ClientOptions
from wsgi_sio.engineio import EngineConfig
from wsgi_sio.exceptions import ConnectionFailed
from wsgi_sio.flask import SocketIO
from wsgi_sio.socketio.recovery import RecoveryConfig
from wsgi_sio.validation import kinds, trial, type_hints


def for_flask(**options: Any) -> SocketIO:
    return SocketIO(flask.Flask(__name__), **options)


def recovering(**options: Any) -> Server:
    return Server(connection_state_recovery=options)


LAYERS: list[tuple[Callable[..., object], Any, list[str]]] = [
    (EngineConfig, EngineConfig, [field.name for field in fields(EngineConfig)]),
    (Server, Server.__init__, ["connect_timeout", "max_mailbox", "max_attachments", "async_handlers", "client_files",
                               "cleanup_empty_child_namespaces", "connection_state_recovery", "adapter"]),
    (recovering, RecoveryConfig, [field.name for field in fields(RecoveryConfig)]),
    (ClientOptions, ClientOptions, [field.name for field in fields(ClientOptions)]),
]  # fmt: skip
OPTIONS = [
    pytest.param(make, name, kinds(type_hints(owner)[name]), id=f"{make.__name__}-{name}")
    for make, owner, names in LAYERS
    for name in names
    if object not in kinds(type_hints(owner)[name])
]
NUMBERS = [param for param in OPTIONS if {int, float} & set(param.values[2])]  # type: ignore[call-overload]


class Odd:
    """Of a type that no option has."""


@pytest.mark.parametrize(("make", "name", "wanted"), OPTIONS)
def test_a_value_of_another_type_is_refused(make: Callable[..., object], name: str, wanted: tuple[type, ...]) -> None:
    values = [Odd(), *([] if bool in wanted else [True]), *([] if {str, tuple} & set(wanted) else ["1"])]
    for value in values:
        if type(value) in wanted or (isinstance(value, str) and isinstance(value, wanted)):
            continue
        with pytest.raises(TypeError, match=f"^{name} must be ") as caught:
            make(**{name: value})
        assert repr(value) in str(caught.value)


@pytest.mark.parametrize(("make", "name", "wanted"), NUMBERS)
def test_numbers_have_bounds(make: Callable[..., object], name: str, wanted: tuple[type, ...]) -> None:
    for value in (-1, -0.5, math.nan, math.inf, -math.inf):
        with pytest.raises((TypeError, ValueError), match=f"^{name} must be .*{value!r}"):
            make(**{name: value})
    if float not in wanted:
        with pytest.raises(TypeError, match=f"^{name} must be int"):
            make(**{name: 1.5})


@pytest.mark.parametrize(("make", "name", "wanted"), NUMBERS)
def test_none_is_taken_where_it_means_something(
    make: Callable[..., object], name: str, wanted: tuple[type, ...]
) -> None:
    if type(None) in wanted:
        make(**{name: None})
    else:
        with pytest.raises(TypeError, match=f"^{name} must be "):
            make(**{name: None})


def test_text_that_looks_like_a_number_is_told_what_to_do() -> None:
    with pytest.raises(TypeError, match=r"^max_http_buffer_size must be int, not '1e8'; write it without quotes"):
        Server(max_http_buffer_size="1e8")
    with pytest.raises(TypeError, match=r"^allow_upgrades must be bool, not 'no'; write it without quotes"):
        Server(allow_upgrades="no")


def test_a_whole_float_is_an_int() -> None:
    """1e8, copied from JavaScript, would be 100000000.0 in the handshake."""
    config = EngineConfig(max_http_buffer_size=1e8, max_sessions=2.0)  # type: ignore[arg-type]
    assert (repr(config.max_http_buffer_size), repr(config.max_sessions)) == ("100000000", "2")
    assert repr(Server(max_mailbox=1e6, max_attachments=3.0).max_mailbox) == "1000000"  # type: ignore[arg-type]
    assert repr(ClientOptions(max_message_size=1e9).max_message_size) == "1000000000"  # type: ignore[arg-type]
    assert repr(for_flask(max_http_buffer_size=1e8).io.engine.config.max_http_buffer_size) == "100000000"
    recovery = recovering(max_stored=5e7).recovery
    assert recovery is not None and repr(recovery.max_stored) == "50000000"


def test_the_client_takes_such_numbers_from_other_servers() -> None:
    def handshake(max_payload: str) -> Handshake:
        fields = '"sid": "a", "upgrades": [], "pingInterval": 25000.0, "pingTimeout": 2e4'
        return Handshake.of(f'0{{{fields}, "maxPayload": {max_payload}}}')

    taken = handshake("100000000.0")
    assert (repr(taken.max_payload), taken.ping_interval, taken.ping_timeout) == ("100000000", 25, 20)
    assert handshake("null").max_payload is None
    for refused in ("0", "-1", '"1"', "true", "NaN", "0.5"):
        with pytest.raises(ConnectionFailed, match="maxPayload"):
            handshake(refused)


@pytest.mark.parametrize(
    ("make", "name", "value", "meant"),
    [
        (Server, "ping_interval", 25000, "25"),
        (Server, "ping_timeout", 5000, "5"),
        (Server, "connect_timeout", 45_000, "45"),
        (for_flask, "ping_interval", 25000, "25"),
        (recovering, "max_disconnection_duration", 120_000, "120"),
        (ClientOptions, "reconnection_delay", 1000, "1"),
        (Server, "max_http_buffer_size", 10, "10000000"),
    ],
)
def test_a_mistaken_unit_is_one_warning(
    make: Callable[..., object], name: str, value: int, meant: str, caplog: pytest.LogCaptureFixture
) -> None:
    make(**{name: value})
    [record] = caplog.records
    assert (record.name, record.levelno) == ("wsgi_sio.options", logging.WARNING)
    assert f"{name}={value}: " in record.getMessage() and f"{name}={meant}?" in record.getMessage()
    caplog.clear()
    with trial():
        make(**{name: value})
    assert caplog.records == []


def test_browsers_timers_bound_the_heartbeat() -> None:
    with pytest.raises(ValueError, match="ping_interval must be 1000000 at most, not 25000000"):
        Server(ping_interval=25_000_000)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"always_connect": "yes"}, "always_connect must be bool, not 'yes'"),
        ({"compression_threshold": "1kB"}, "compression_threshold must be int, not '1kB'"),
        ({"compression_threshold": -1}, "compression_threshold must be 0 or more, not -1"),
        ({"monitor_clients": 0}, "monitor_clients must be bool, not 0"),
        ({"namespaces": 5}, "namespaces must be "),
        ({"resource": 5}, "resource must be str or None, not 5"),
        ({"ping_interval": (25, "5")}, "ping_interval must be float, not '5'"),
        ({"ping_interval": (25, 5, 1)}, "ping_interval must be seconds, or a pair"),
        ({"ping_interval": (25, 5), "ping_timeout": "20"}, "ping_timeout must be float, not '20'"),
        ({"max_http_buffer_size": "1e8"}, "max_http_buffer_size must be int, not '1e8'"),
        ({"cors_credentials": "no"}, "cors_credentials must be bool, not 'no'"),
    ],
)
def test_flask_s_options_too(options: dict[str, Any], text: str) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        for_flask(**options)
    assert text in str(caught.value)


def test_a_client_is_refused_where_it_is_made() -> None:
    with pytest.raises(TypeError, match="timeout must be float or None, not '5'"):
        Client("http://127.0.0.1:1", timeout="5")
