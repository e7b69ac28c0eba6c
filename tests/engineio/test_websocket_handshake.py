"""The 101: by RFC 6455, section 4.2, and as wsproto would judge the request."""

from __future__ import annotations

from typing import Any

import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Request
from wsproto.utilities import RemoteProtocolError

from wsgi_sio.engineio.errors import EngineError
from wsgi_sio.engineio.websocket_handshake import compose_accept

REQUEST = {
    "SERVER_PROTOCOL": "HTTP/1.1",
    "REQUEST_METHOD": "GET",
    "HTTP_HOST": "localhost",
    "HTTP_UPGRADE": "websocket",
    "HTTP_CONNECTION": "Upgrade",
    "HTTP_SEC_WEBSOCKET_VERSION": "13",
    "HTTP_SEC_WEBSOCKET_KEY": "dGhlIHNhbXBsZSBub25jZQ==",
}


def without(name: str) -> dict[str, str]:
    return {key: value for key, value in REQUEST.items() if key != name}


def test_the_example_of_the_protocol_s_text() -> None:
    response = compose_accept(REQUEST, [("Set-Cookie", "io=1; Path=/")])
    assert response == (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSet-Cookie: io=1; Path=/\r\n\r\n"
    )


def test_the_first_subprotocol_is_chosen_and_no_extension() -> None:
    offers = {"HTTP_SEC_WEBSOCKET_PROTOCOL": " one, two", "HTTP_SEC_WEBSOCKET_EXTENSIONS": "permessage-deflate"}
    response = compose_accept({**REQUEST, **offers}, [])
    assert b"\r\nSec-WebSocket-Protocol: one\r\n" in response
    assert b"Extensions" not in response


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({**REQUEST, "SERVER_PROTOCOL": "HTTP/1.0"}, "a GET of HTTP/1.1"),
        ({**REQUEST, "REQUEST_METHOD": "POST"}, "a GET of HTTP/1.1"),
        ({**REQUEST, "HTTP_SEC_WEBSOCKET_VERSION": "8"}, "only 13 is spoken"),
        (without("HTTP_SEC_WEBSOCKET_VERSION"), "only 13 is spoken"),
        (without("HTTP_SEC_WEBSOCKET_KEY"), "base64 of 16 bytes"),
        ({**REQUEST, "HTTP_SEC_WEBSOCKET_KEY": "dGhlIHNhbXBsZSBub25jZQ"}, "base64 of 16 bytes"),
        (without("HTTP_UPGRADE"), "Upgrade: websocket"),
        ({**REQUEST, "HTTP_UPGRADE": "h2c"}, "Upgrade: websocket"),
        (without("HTTP_CONNECTION"), "Connection: Upgrade"),
        ({**REQUEST, "HTTP_CONNECTION": "keep-alive, upgraded"}, "Connection: Upgrade"),
        (without("HTTP_HOST"), "Host"),
        ({**REQUEST, "HTTP_SEC_WEBSOCKET_PROTOCOL": "a b"}, "token"),
        ({**REQUEST, "HTTP_SEC_WEBSOCKET_PROTOCOL": "\xe4"}, "token"),
        ({**REQUEST, "HTTP_SEC_WEBSOCKET_PROTOCOL": "a\r\nSet-Cookie: x=y"}, "token"),
    ],
)
def test_what_is_refused(environ: dict[str, str], told: str) -> None:
    with pytest.raises(EngineError) as caught:
        compose_accept(environ, [])
    assert told in str(caught.value.context)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"HTTP_CONNECTION": "keep-alive, Upgrade"},
        {"HTTP_CONNECTION": "UPGRADE"},
        {"HTTP_CONNECTION": "close"},
        {"HTTP_UPGRADE": "WebSocket"},
        {"HTTP_UPGRADE": "websocket, h2c"},
        {"HTTP_SEC_WEBSOCKET_VERSION": "12"},
        {"HTTP_SEC_WEBSOCKET_PROTOCOL": "chat"},
    ],
)
def test_as_wsproto_has_it(changes: dict[str, str]) -> None:
    environ = {**REQUEST, **changes}
    assert _answer(environ) == _answer_of_wsproto(environ)


def _answer(environ: dict[str, str]) -> bytes | None:
    try:
        return compose_accept(environ, [])
    except EngineError:
        return None


def _answer_of_wsproto(environ: dict[str, Any]) -> bytes | None:
    names = {key: key[5:].replace("_", "-").title() for key in environ if key.startswith("HTTP_")}
    lines = ["GET / HTTP/1.1", *(f"{name}: {environ[key]}" for key, name in names.items()), "", ""]
    connection = WSConnection(ConnectionType.SERVER)
    try:
        connection.receive_data("\r\n".join(lines).encode())
    except RemoteProtocolError:
        return None
    (request,) = connection.events()
    assert isinstance(request, Request)
    return connection.send(AcceptConnection(subprotocol=next(iter(request.subprotocols), None)))
