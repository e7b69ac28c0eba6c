"""What the engine makes of requests: options, refusals, origins, CORS, cookies."""

from __future__ import annotations

import json
import logging
import re
from typing import Any

import pytest

from tests.engineio.conftest import MakeEngine
from tests.support.inprocess import UPGRADE, InProcess, Refused, at_once
from wsgi_sio.engineio import EngineConfig, EngineServer
from wsgi_sio.engineio.response import Response

# -- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("ping_interval", 0),
        ("ping_timeout", -1),
        ("upgrade_timeout", 0),
        ("max_http_buffer_size", 0),
        ("max_outbox", 0),
        ("transports", ()),
        ("transports", ("polling", "pigeon")),
        ("transports", "flashsocket"),
        ("max_sessions", 0),
    ],
)
def test_options_that_make_no_sense_are_refused(option: str, value: Any) -> None:
    with pytest.raises(ValueError, match=option):
        EngineConfig(**{option: value})


def test_options_are_normalised_and_frozen() -> None:
    config = EngineConfig(path="live/", transports="polling")  # type: ignore[arg-type]
    assert (config.path, config.transports) == ("/live", ("polling",))
    with pytest.raises(AttributeError):
        config.path = "/x"  # type: ignore[misc]


# -- refusals ---------------------------------------------------------------------------------------------------------

HANDSHAKE = {"transport": "polling"}


@pytest.mark.parametrize(
    ("method", "query", "headers", "status", "code", "message"),
    [
        ("GET", {"transport": "pigeon"}, {}, 400, 0, "Transport unknown"),
        ("GET", {}, {}, 400, 0, "Transport unknown"),
        ("GET", {**HANDSHAKE, "sid": "nobody"}, {}, 400, 1, "Session ID unknown"),
        ("POST", {**HANDSHAKE, "sid": ""}, {}, 400, 1, "Session ID unknown"),
        ("POST", HANDSHAKE, {}, 400, 2, "Bad handshake method"),
        ("OPTIONS", HANDSHAKE, {}, 400, 2, "Bad handshake method"),
        ("GET", {"transport": "websocket"}, {}, 400, 3, "Bad request"),
        ("GET", {**HANDSHAKE, "EIO": "3"}, {}, 400, 5, "Unsupported protocol version"),
        ("GET", {**HANDSHAKE, "EIO": "44"}, {}, 400, 5, "Unsupported protocol version"),
        ("GET", HANDSHAKE, {"Origin": "http://evil.example"}, 403, 4, "Forbidden"),
        ("GET", HANDSHAKE, {"Origin": "null"}, 403, 4, "Forbidden"),
    ],
)
def test_refusals(
    make_engine: MakeEngine,
    caplog: pytest.LogCaptureFixture,
    method: str,
    query: dict[str, str],
    headers: dict[str, str],
    status: int,
    code: int,
    message: str,
) -> None:
    """socketio-wire 1A.2: the reference's codes and bodies; each kind is logged once at WARNING."""
    caplog.set_level(logging.DEBUG)
    engine = make_engine()
    for _ in range(2):
        answer = engine.request(method, headers, **query)
        assert answer.status == status
        assert json.loads(answer.body) == {"code": code, "message": message}
        assert dict(answer.headers)["Content-Type"] == "application/json"
    records = [r for r in caplog.records if r.name.startswith("wsgi_sio.")]
    assert [r.levelno for r in records] == [logging.WARNING, logging.DEBUG]
    assert not engine.engine.sessions


def _lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name.startswith("wsgi_sio.")]


@pytest.mark.parametrize("over", ["polling", "websocket", "nothing"])
def test_a_websocket_request_whose_upgrade_header_a_proxy_has_removed(
    make_engine: MakeEngine, caplog: pytest.LogCaptureFixture, over: str
) -> None:
    engine = make_engine()
    sid = {"polling": lambda: engine.over_polling()[1].id, "websocket": lambda: engine.over_websocket()[1].id}.get(over)
    query = {} if sid is None else {"sid": sid()}
    answer = engine.request("GET", transport="websocket", **query)
    assert (answer.status, json.loads(answer.body)["code"]) == (400, 3)
    (line,) = _lines(caplog)
    assert "came without an Upgrade header" in line and "proxy_set_header Upgrade $http_upgrade" in line


def test_a_server_that_has_answered_the_handshake_itself_is_named(
    make_engine: MakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    """gevent-websocket's handler, and with it the gunicorn worker of Flask-SocketIO's users."""
    engine = make_engine()
    environ = engine.environ("GET", UPGRADE, EIO="4", transport="websocket") | {"wsgi.websocket": object()}
    answer = engine.engine.handle(environ)
    assert isinstance(answer, Response) and answer.status == 400
    (line,) = _lines(caplog)
    assert "GeventWebSocketWorker" in line and "gunicorn -k gevent" in line


def test_another_bad_request_before_does_not_hide_the_line_about_the_proxy(
    make_engine: MakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    engine = make_engine(cors_allowed_origins="*")
    engine.request("GET", {"Origin": "http://127.0.0.1\x00"}, **HANDSHAKE)
    engine.request("GET", transport="websocket")
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]


def test_an_origin_with_control_characters_is_a_bad_request_even_where_all_are_allowed(make_engine: MakeEngine) -> None:
    engine = make_engine(cors_allowed_origins="*")
    answer = engine.request("GET", {"Origin": "http://127.0.0.1\x00"}, **HANDSHAKE)
    assert (answer.status, json.loads(answer.body)["code"]) == (400, 3)


def test_a_refused_upgrade_gets_the_bare_message(make_engine: MakeEngine) -> None:
    engine = make_engine()
    with pytest.raises(Refused) as caught:
        engine.websocket(headers={"Origin": "http://evil.example"})
    assert (caught.value.response.status, caught.value.response.body) == (400, b"Forbidden")


@pytest.mark.parametrize(
    "change",
    [
        {"Sec-WebSocket-Version": "12"},
        {"Sec-WebSocket-Version": ""},
        {"Sec-WebSocket-Version": "13, 8"},
        {"Sec-WebSocket-Key": ""},
        {"Connection": "close"},
    ],
)
def test_a_handshake_that_is_no_websocket_handshake_is_refused_before_the_101(
    make_engine: MakeEngine, change: dict[str, str]
) -> None:
    engine = make_engine()
    with pytest.raises(Refused) as caught:
        engine.websocket(headers=change)
    assert caught.value.response.status == 400
    assert not engine.engine.sessions
    spoken = dict(caught.value.response.headers).get("Sec-WebSocket-Version")
    assert spoken == ("13" if "Sec-WebSocket-Version" in change else None)


def test_no_websocket_where_the_socket_is_out_of_reach(make_engine: MakeEngine) -> None:
    engine = make_engine()
    answer = engine.request("GET", UPGRADE, transport="websocket")
    assert (answer.status, answer.body) == (400, b"WebSocket is not available on this server")


def test_absurd_queries_are_refused(make_engine: MakeEngine) -> None:
    engine = make_engine()
    environ = engine.environ("GET")
    environ["QUERY_STRING"] = "&".join(f"a{n}=1" for n in range(5000))
    answer = engine.engine.handle(environ)
    assert isinstance(answer, Response) and answer.status == 400


@pytest.mark.parametrize("length", ["", "abc", "-5", "1e3", "9" * 5000, "²"])
def test_absurd_lengths_are_refused(make_engine: MakeEngine, length: str) -> None:
    engine = make_engine()
    polling, _ = engine.over_polling()
    answer = polling.post("4x", extra={"CONTENT_LENGTH": length})
    assert answer.status in (400, 413)
    assert engine.received == []


def test_a_body_that_ends_early_ends_the_session(make_engine: MakeEngine) -> None:
    engine = make_engine()
    polling, _ = engine.over_polling()
    assert polling.post("4x", extra={"CONTENT_LENGTH": "10"}).status == 400
    assert engine.received == [] and engine.reasons == ["transport error"]


@pytest.mark.parametrize(
    ("verdict", "answer"),
    [(True, None), (None, None), (False, "Forbidden"), ("banned", "banned"), ("", "")],
)
def test_allow_request_judges_handshakes_only(make_engine: MakeEngine, verdict: Any, answer: str | None) -> None:
    asked: list[str] = []

    def allow(environ: dict[str, Any]) -> Any:
        asked.append(environ["QUERY_STRING"])
        return verdict

    engine = make_engine(allow_request=allow)
    if answer is None:
        polling, _ = engine.over_polling()
        polling.post("4x")
        engine.websocket(polling.sid)
        assert len(asked) == 1
    else:
        response = engine.request("GET", transport="polling")
        assert response.status == 403
        assert json.loads(response.body)["code"] == 4
        assert json.loads(response.body)["message"] in (answer, "Forbidden")


def test_gevent_without_the_patch_is_refused_with_advice(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.support.world import WORLD

    if WORLD == "gevent":
        return  # it is patched
    engine = make_engine()
    with pytest.raises(RuntimeError, match=r"monkey\.patch_all"):
        engine.request("GET", transport="polling", extra={"SERVER_SOFTWARE": "gevent/24.1"})


# -- origins ----------------------------------------------------------------------------------------------------------

SHOP = "https://shop.example"


@pytest.mark.parametrize(
    ("allowed", "host", "origin", "ok"),
    [
        (None, "a.example", None, True),
        (None, "a.example", "http://a.example", True),
        (None, "a.example", "https://a.example", True),
        (None, "a.example:80", "http://a.example", True),
        (None, "a.example", "https://a.example:443", True),
        (None, "a.example:8000", "http://a.example:8000", True),
        (None, "A.Example", "http://a.eXample", True),
        (None, "[::1]:8000", "http://[::1]:8000", True),
        (None, "a.example:8000", "http://a.example:9000", False),
        (None, "a.example:8000", "http://a.example", False),
        (None, "a.example", "http://evil.example", False),
        (None, "a.example", "http://a.example.evil.example", False),
        (None, "a.example", "http://evil.example/http://a.example", False),
        (None, "a.example", "http://a.example@evil.example", False),
        (None, "a.example", "null", False),
        (None, "a.example", "http://a.example:port", False),
        (None, "a.example", "file://", False),
        ("*", "a.example", "http://evil.example", True),
        ("*", "a.example", "null", True),
        (["*"], "a.example", "http://evil.example", True),
        (SHOP, "a.example", SHOP, True),
        (SHOP, "a.example", SHOP + "/", True),
        (SHOP + "/", "a.example", SHOP, True),
        (SHOP, "a.example", "HTTPS://Shop.Example", True),
        (SHOP, "a.example", "http://a.example", True),
        (SHOP, "a.example", "http://shop.example", False),
        (SHOP, "a.example", "https://shop.example.evil.example", False),
        ([SHOP, "http://b.example:81"], "a.example", "http://b.example:81", True),
        ([SHOP, "http://b.example:81"], "a.example", "http://b.example:82", False),
        ({"null"}, "a.example", "null", True),
        ([], "a.example", SHOP, False),
        (lambda origin: origin == SHOP, "a.example", SHOP, True),
        (lambda origin: origin == SHOP, "a.example", "http://evil.example", False),
        (lambda origin, environ: environ["HTTP_HOST"] == "a.example", "a.example", "http://b.example", True),
        (lambda origin, environ: False, "a.example", "http://b.example", False),
    ],
)
def test_which_pages_may_connect(
    make_engine: MakeEngine, allowed: Any, host: str, origin: str | None, ok: bool
) -> None:
    """The same for polling and WebSocket."""
    engine = make_engine(cors_allowed_origins=allowed)
    headers = {"Host": host} | ({} if origin is None else {"Origin": origin})
    assert (engine.request("GET", headers, transport="polling").status == 200) is ok
    if ok:
        engine.websocket(headers=headers)
    else:
        with pytest.raises(Refused):
            engine.websocket(headers=headers)


def test_the_refusal_of_an_origin_says_which_setting_allows_it(
    make_engine: MakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    engine = make_engine()
    engine.request("GET", {"Origin": "http://page.example", "Host": "api.example"}, transport="polling")
    message = caplog.records[-1].getMessage()
    assert "http://page.example" in message and "api.example" in message and "cors_allowed_origins" in message


def test_the_refusal_of_an_http_page_names_both_schemes(
    make_engine: MakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    headers = {"Origin": "http://a.example", "Host": "a.example"}
    make_engine().request("GET", headers, extra={"wsgi.url_scheme": "https"}, transport="polling")
    assert "from 'http://a.example' and the server is 'https://a.example'" in caplog.text


def test_an_existing_session_is_guarded_as_well(make_engine: MakeEngine) -> None:
    engine = make_engine()
    polling, session = engine.over_polling()
    answer = polling.post("4x", headers={"Origin": "http://evil.example"})
    assert answer.status == 403
    assert engine.received == [] and session.open


UNICODE = "https://bücher.example"
PUNYCODE = "https://xn--bcher-kva.example"
SUBDOMAINS = "https://*.example.com"
PATTERN = re.compile(r"https://[a-z]+\.example\.com")


@pytest.mark.parametrize(
    ("allowed", "origin", "ok"),
    [
        (UNICODE, PUNYCODE, True),
        (PUNYCODE, PUNYCODE, True),
        (PUNYCODE.upper(), PUNYCODE, True),
        ("https://shop.example:443", "https://shop.example", True),
        ("https://shop.example", "https://shop.example:443", True),
        ("http://shop.example:80", "http://shop.example", True),
        ("http://shop.example:443", "http://shop.example", False),
        ("https://shop.example:80", "https://shop.example", False),
        ("http://shop.example", "https://shop.example", False),
        ("wss://shop.example", "https://shop.example", True),
        ("https://shop.example.", "https://shop.example.", True),
        ("https://shop.example", "https://shop.example.", False),
        ("http://[0:0::1]:8000", "http://[::1]:8000", True),
        ("capacitor://localhost", "capacitor://localhost", True),
        ("capacitor://localhost", "ionic://localhost", False),
        ("file://", "file://", True),
        ("null", "file://", False),
        ("https://shop.example", "null", False),
        (SUBDOMAINS, "https://a.example.com", True),
        (SUBDOMAINS, "https://a.b-c.example.com", True),
        (SUBDOMAINS, "https://A.EXAMPLE.com", True),
        (SUBDOMAINS, "https://a.example.com:443", True),
        (SUBDOMAINS, "https://example.com", False),
        (SUBDOMAINS, "https://.example.com", False),
        (SUBDOMAINS, "http://a.example.com", False),
        (SUBDOMAINS, "https://a.example.com:444", False),
        (SUBDOMAINS, "https://evil-example.com", False),
        (SUBDOMAINS, "https://example.com.evil.org", False),
        (SUBDOMAINS, "https://x.example.com.evil.org", False),
        (SUBDOMAINS, "https://evil.org/x.example.com", False),
        (SUBDOMAINS, "https://evil.org#x.example.com", False),
        (SUBDOMAINS, "https://evil.org\\x.example.com", False),
        (SUBDOMAINS, "https://evil.org@x.example.com", False),
        (SUBDOMAINS, "https://evil.org x.example.com", False),
        (SUBDOMAINS, "https://x.example.com.", False),
        (SUBDOMAINS, "null", False),
        ("https://*.bücher.example", "https://a.xn--bcher-kva.example", True),
        ("http://*.example.com:8000", "http://a.example.com:8000", True),
        (PATTERN, "https://shop.example.com", True),
        (PATTERN, "https://shop.example.com.evil.org", False),
        (PATTERN, "https://evil.org/https://shop.example.com", False),
        (re.compile(r"null|file://"), "null", True),
        ([UNICODE, SUBDOMAINS, PATTERN], "https://shop.example.com", True),
        ((origin for origin in [SHOP, SUBDOMAINS]), SHOP, True),
        ({PATTERN, SHOP}, SHOP, True),
        ([PATTERN, "*"], "https://evil.org", True),
    ],
)
def test_what_an_origin_may_be_given_as(make_engine: MakeEngine, allowed: Any, origin: str, ok: bool) -> None:
    engine = make_engine(cors_allowed_origins=allowed)
    for _ in range(2):
        answer = engine.request("GET", {"Host": "api.example", "Origin": origin}, transport="polling")
        assert answer.status == (200 if ok else 403)


@pytest.mark.parametrize(
    ("allowed", "error", "part"),
    [
        ("shop.example", ValueError, "'shop.example'"),
        ("", ValueError, "''"),
        ("https://", ValueError, "'https://'"),
        ("https://shop.example/app", ValueError, "/app"),
        ("https://ann@shop.example", ValueError, "ann@"),
        ("https://shop.example:port", ValueError, ":port"),
        ("https://shop.example:99999", ValueError, ":99999"),
        ("https://[::1", ValueError, "::1"),
        ("*.example.com", ValueError, r"\*.example"),
        ("https://*", ValueError, r"https://\*"),
        ("https://*example.com", ValueError, "example"),
        ("https://a.*.example.com", ValueError, "example"),
        ("https://*.*.example.com", ValueError, "example"),
        ("https://example.com:*", ValueError, "example"),
        ("https://" + "ü" * 64 + ".example", ValueError, "ü"),
        (re.compile("https://bücher.example"), ValueError, "punycode"),
        (re.compile(b"https://shop.example"), TypeError, "b'https://shop.example'"),
        ([re.compile(b"https://shop.example")], TypeError, "b'https://shop.example'"),
        (7, TypeError, "7"),
        (True, TypeError, "True"),
        (b"https://shop.example", TypeError, "b'https://shop.example'"),
        ({"https://shop.example": True}, TypeError, "shop"),
        (["https://shop.example", 7], TypeError, "7"),
        ([None], TypeError, "None"),
        ([lambda origin: True], TypeError, "lambda"),
    ],
)
def test_what_could_never_match_is_refused_when_it_is_set(allowed: Any, error: type[Exception], part: str) -> None:
    """Naming the option, the value, and what else there is."""
    with pytest.raises(error, match=f"cors_allowed_origins.*{part}"):
        EngineServer(EngineConfig(cors_allowed_origins=allowed), lambda session: None)


def test_an_async_function_would_let_everybody_in() -> None:
    async def ask(origin: str) -> bool:
        return False

    with pytest.raises(TypeError, match="cors_allowed_origins.*async"):
        EngineServer(EngineConfig(cors_allowed_origins=ask), lambda session: None)


@pytest.mark.parametrize(
    ("scheme", "host", "origin", "ok"),
    [
        ("https", "a.example", "https://a.example", True),
        ("https", "a.example", "https://A.example:443", True),
        ("https", "a.example:443", "https://a.example", True),
        ("https", "a.example:8443", "https://a.example:8443", True),
        ("https", "a.example", "http://a.example", False),
        ("https", "a.example:443", "http://a.example:443", False),
        ("https", "a.example:80", "http://a.example", False),
        ("http", "a.example", "https://a.example", True),
        ("http", "a.example:80", "https://a.example", True),
        ("http", "a.example", "ftp://a.example", False),
        ("http", "localhost", "capacitor://localhost", False),
        ("http", "bücher.example", "https://xn--bcher-kva.example", True),
        ("http", "", "http://", False),
    ],
)
def test_schemes_are_compared_where_the_server_knows_its_own(
    make_engine: MakeEngine, scheme: str, host: str, origin: str, ok: bool
) -> None:
    """Behind a proxy that ends TLS, it does not: there every request is http."""
    extra = {"wsgi.url_scheme": scheme, **({} if host else {"SERVER_NAME": ""})}
    answer = make_engine().request("GET", {"Host": host, "Origin": origin}, extra=extra, transport="polling")
    assert answer.status == (200 if ok else 403)


@pytest.mark.parametrize("allowed", [None, SHOP, lambda origin: False, "*"])
def test_a_refused_request_does_not_send_its_origin_back(make_engine: MakeEngine, allowed: Any) -> None:
    engine = make_engine(cors_allowed_origins=allowed, cors_credentials=True)
    headers = {"Host": "api.example", "Origin": "https://evil.example\x00"}
    for answer in (
        engine.request("GET", headers, transport="polling"),
        engine.request("GET", headers, transport="pigeon"),
        engine.request("OPTIONS", {**headers, "Access-Control-Request-Headers": "x\x00"}, transport="polling"),
    ):
        assert "evil" not in repr(answer) and "x\x00" not in repr(answer)


# -- CORS -------------------------------------------------------------------------------------------------------------


def cors(answer: Response) -> dict[str, str]:
    return {k: v for k, v in answer.headers if k.startswith("Access-Control") or k == "Vary"}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {}),
        ({"cors_allowed_origins": "*"}, {"Access-Control-Allow-Origin": "*"}),
        ({"cors_allowed_origins": SHOP}, {"Access-Control-Allow-Origin": SHOP, "Vary": "Origin"}),
        (
            {"cors_allowed_origins": "*", "cors_credentials": True},
            {"Access-Control-Allow-Origin": SHOP, "Vary": "Origin", "Access-Control-Allow-Credentials": "true"},
        ),
        (
            {"cors_allowed_origins": lambda origin: True, "cors_credentials": True},
            {"Access-Control-Allow-Origin": SHOP, "Vary": "Origin", "Access-Control-Allow-Credentials": "true"},
        ),
    ],
)
def test_cors_headers_of_every_answer(
    make_engine: MakeEngine, options: dict[str, Any], expected: dict[str, str]
) -> None:
    engine = make_engine(**options)
    headers = {"Origin": SHOP, "Host": "shop.example" if not options else "api.example"}
    answer = engine.request("GET", headers, transport="polling")
    assert answer.status == 200 and cors(answer) == expected
    refused = engine.request("GET", headers, transport="pigeon")
    assert refused.status == 400 and cors(refused) == expected
    accept = engine.websocket(headers=headers).accept.decode()
    for name, value in expected.items():
        assert f"{name}: {value}" in accept
    if not expected:
        assert "Access-Control" not in accept


def test_preflights(make_engine: MakeEngine) -> None:
    engine = make_engine(cors_allowed_origins=SHOP)
    headers = {"Origin": SHOP, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-a, x-b"}
    answer = engine.request("OPTIONS", headers, transport="polling")
    assert (answer.status, answer.body) == (204, b"")
    got = dict(answer.headers)
    assert got["Access-Control-Allow-Origin"] == SHOP
    assert "POST" in got["Access-Control-Allow-Methods"]
    assert got["Access-Control-Allow-Headers"] == "x-a, x-b"
    assert engine.request("OPTIONS", {**headers, "Origin": "http://evil.example"}, transport="polling").status == 403


# -- cookies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cookie", "expected"),
    [
        (None, None),
        (False, None),
        (True, "io={sid}; Path=/; HttpOnly; SameSite=Lax"),
        ("io", "io={sid}; Path=/; HttpOnly; SameSite=Lax"),
        ("lb", "lb={sid}; Path=/; HttpOnly; SameSite=Lax"),
        ({}, "io={sid}; Path=/; HttpOnly; SameSite=Lax"),
        ({"path": None}, "io={sid}; HttpOnly; SameSite=Lax"),
        ({"http_only": False, "same_site": "strict"}, "io={sid}; Path=/; SameSite=Strict"),
        (
            {"name": "x", "path": "/p", "max_age": 60, "domain": "a.example", "secure": True, "same_site": "none"},
            "x={sid}; Max-Age=60; Domain=a.example; Path=/p; HttpOnly; Secure; SameSite=None",
        ),
        ({"same_site": None, "http_only": False, "path": ""}, "io={sid}"),
        ({"max_age": 0}, "io={sid}; Max-Age=0; Path=/; HttpOnly; SameSite=Lax"),
    ],
)
def test_the_cookie_comes_with_the_first_answer_over_polling_only(
    make_engine: MakeEngine, cookie: Any, expected: str | None
) -> None:
    engine = make_engine(cookie=cookie)
    polling, session = engine.over_polling()
    found = dict(polling.opened.headers).get("Set-Cookie")
    assert found == (expected and expected.format(sid=session.id))
    session.send_message("x")
    assert "Set-Cookie" not in dict(polling.get().headers)
    websocket, _ = engine.over_websocket()
    assert b"set-cookie" not in websocket.accept.lower()


@pytest.mark.parametrize(
    ("secure", "scheme", "expected"),
    [(None, "https", True), (None, "http", False), (True, "http", True), (False, "https", False)],
)
def test_the_cookie_is_secure_on_https_unless_told_otherwise(
    make_engine: MakeEngine, secure: bool | None, scheme: str, expected: bool
) -> None:
    cookie: Any = True if secure is None else {"secure": secure}
    answer = make_engine(cookie=cookie).request("GET", extra={"wsgi.url_scheme": scheme}, transport="polling")
    assert ("Secure" in dict(answer.headers)["Set-Cookie"].split("; ")) is expected


@pytest.mark.parametrize(
    ("cookie", "error", "part"),
    [
        ({"same_site": "None"}, ValueError, "same_site.*'secure': True.*http"),
        ({"same_site": "none", "secure": False}, ValueError, "'secure': True"),
        ({"same_site": "sometimes"}, ValueError, "sometimes"),
        ({"name": "a;b"}, ValueError, "a;b"),
        ({"name": ""}, ValueError, "name"),
        ("a b", ValueError, "a b"),
        ("a=b", ValueError, "a=b"),
        ("ü", ValueError, "ü"),
        ("a\r\nX: y", ValueError, "name"),
        ({"name": 7}, ValueError, "7"),
        ({"path": "/;x"}, ValueError, "path"),
        ({"path": "/\n"}, ValueError, "path"),
        ({"domain": "a.example\r\nX: y"}, ValueError, "domain"),
        ({"domain": "bücher.example"}, ValueError, "domain"),
        ({"max_age": "soon"}, ValueError, "max_age"),
        ({"max_age": True}, ValueError, "max_age"),
        ({"httpOnly": True}, TypeError, "http_only"),
        (7, TypeError, "cookie.*7"),
        (["io"], TypeError, "cookie"),
    ],
)
def test_cookies_that_could_not_be_sent_are_refused_when_set(cookie: Any, error: type[Exception], part: str) -> None:
    with pytest.raises(error, match=part):
        EngineServer(EngineConfig(cookie=cookie), lambda session: None)


# -- max_sessions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["polling", "websocket"])
def test_handshakes_above_max_sessions_are_answered_503(
    make_engine: MakeEngine, caplog: pytest.LogCaptureFixture, transport: str
) -> None:
    engine = make_engine(max_sessions=2)

    def come() -> Response:
        if transport == "polling":
            return engine.request("GET", transport="polling")
        try:
            engine.websocket()
        except Refused as refused:
            return refused.response
        return Response(101)

    assert [come().status for _ in range(4)] == [200 if transport == "polling" else 101] * 2 + [503] * 2
    assert dict(come().headers)["Retry-After"] == "1"
    assert len(engine.engine.sessions) == 2
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1 and "max_sessions=2" in warnings[0]
    session = engine.sessions[0]
    session.close(abort=True)
    if transport == "polling":
        engine.request("GET", transport="polling", sid=session.id)
    assert come().status != 503


def test_requests_of_present_sessions_are_answered_however_many_there_are(make_engine: MakeEngine) -> None:
    engine = make_engine(max_sessions=1)
    polling, session = engine.over_polling()
    polling.post("4x")
    websocket = engine.websocket(polling.sid)
    websocket.send("2probe")
    assert websocket.receive() == "3probe" and engine.received == ["x"] and session.open


def test_who_is_still_on_the_way_in_counts(make_engine: MakeEngine) -> None:
    engine = make_engine(max_sessions=1)
    engine.request("GET", transport="none")  # the first request of a process is looked at for other reasons
    meanwhile: list[int] = []

    class Socket:
        """The server's, which is looked at while the handshake is answered."""

        recv = send = shutdown = None

        def fileno(self) -> int:
            meanwhile.append(engine.request("GET", transport="polling").status)
            return -1

    answer = engine.request("GET", extra={"werkzeug.socket": Socket()}, transport="polling")
    assert (answer.status, meanwhile) == (200, [503])


def test_the_count_is_right_when_many_come_at_once(make_engine: MakeEngine) -> None:
    """Places are taken before anything is made, and given back by handshakes that fail."""
    engine = make_engine(max_sessions=5)

    def come(number: int) -> int:
        if number % 2:
            return engine.request("GET", UPGRADE, transport="websocket").status  # whose socket is out of reach
        return engine.request("GET", transport="polling").status

    statuses = at_once(40, come)
    assert statuses.count(200) <= 5 and len(engine.engine.sessions) == statuses.count(200)
    while engine.request("GET", transport="polling").status == 200:
        statuses.append(200)
    assert statuses.count(200) == 5 == len(engine.engine.sessions)


# -- the 101 ----------------------------------------------------------------------------------------------------------


def test_the_accept_has_the_first_subprotocol_and_no_extension(make_engine: MakeEngine) -> None:
    engine = make_engine()
    websocket, _ = engine.over_websocket(
        headers={"Sec-WebSocket-Protocol": "first, second", "Sec-WebSocket-Extensions": "permessage-deflate"}
    )
    lines = websocket.accept.decode().lower().split("\r\n")
    assert lines[0].startswith("http/1.1 101")
    assert "sec-websocket-protocol: first" in lines
    assert "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=" in lines
    assert not any(line.startswith("sec-websocket-extensions") for line in lines)


def test_a_session_keeps_of_its_environ_what_belongs_to_the_request() -> None:
    sessions: list[Any] = []
    process = InProcess(EngineServer(EngineConfig(), sessions.append))
    process.websocket(headers={"X-Own": "1"})
    (session,) = sessions
    assert session.environ["HTTP_X_OWN"] == "1" and session.environ["REMOTE_ADDR"] == "127.0.0.1"
    assert not any(key.startswith(("gunicorn.", "werkzeug.")) or key == "wsgi.input" for key in session.environ)
    process.close()


@pytest.mark.parametrize("sent", [b"", b"4a"])
def test_a_post_that_breaks_off_is_an_error_of_the_transport_wherever_it_does(
    make_engine: MakeEngine, sent: bytes
) -> None:
    """It is no packet of the client's, whose session may be recovered."""
    engine = make_engine()
    polling = engine.polling()
    answer = polling.post(sent, headers={"Content-Length": "10"})
    assert answer.status == 400
    assert engine.reasons == ["transport error"]
