"""Which handshakes are answered: hosts by ALLOWED_HOSTS, origins as CsrfViewMiddleware has it for forms."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.db import connection
from django.test import Client as Browser
from django.test import override_settings

from tests.django.conftest import Site
from tests.support.inprocess import Refused
from wsgi_sio.engineio.response import Response

HERE = "polls.example"


def shake(site: Site, host: str = HERE, origin: str | None = None, scheme: str = "http", method: str = "GET") -> Any:
    headers = {"Host": host} if origin is None else {"Host": host, "Origin": origin}
    return site.process.request(method, headers, extra={"wsgi.url_scheme": scheme}, transport="polling")


def form_is_taken(origin: str, scheme: str) -> bool:
    """Whether Django itself takes a form from a page of ``origin``."""
    browser = Browser(enforce_csrf_checks=True, headers={"host": HERE})
    browser.get("/", secure=scheme == "https")
    token = browser.cookies["csrftoken"].value
    headers = {"origin": origin, "host": HERE, "x-csrftoken": token}
    return browser.post("/logout/", headers=headers, secure=scheme == "https").status_code == 200


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    "origin",
    [
        "http://polls.example",
        "https://polls.example",
        "http://polls.example:8000",
        "http://POLLS.example",
        "https://partner.example",
        "http://partner.example",
        "https://a.friends.example",
        "https://friends.example",
        "https://friends.example.evil",
        "http://evil.example",
        "null",
        "https://[broken",
    ],
)
def test_an_origin_may_connect_if_it_may_post_a_form(site: Site, origin: str, scheme: str) -> None:
    answer = shake(site, origin=origin, scheme=scheme)
    assert answer.status == (200 if form_is_taken(origin, scheme) else 403), answer
    if answer.status == 200:
        assert dict(answer.headers)["Access-Control-Allow-Origin"] == origin


def test_websockets_and_preflights_obey_the_same_rule(site: Site) -> None:
    with pytest.raises(Refused) as refused:
        site.client(Origin="http://evil.example")
    assert refused.value.response == Response(400, [("Content-Type", "text/html")], b"Forbidden")
    assert shake(site, origin="http://evil.example", method="OPTIONS").status == 403
    assert shake(site, origin="https://partner.example", method="OPTIONS").status == 204
    site.client(Origin="https://partner.example").connect()


def test_without_an_origin_it_is_no_browser_from_elsewhere(site: Site) -> None:
    assert shake(site).status == 200


def test_a_refusal_says_what_to_set(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        shake(site, origin="http://evil.example")
        shake(site, host="unknown.example")
    origin, host = (record.getMessage() for record in caplog.records)
    assert "add 'http://evil.example' to CSRF_TRUSTED_ORIGINS" in origin
    assert "You may need to add 'unknown.example' to ALLOWED_HOSTS" in host


@pytest.mark.parametrize("host", ["unknown.example", "polls.example.evil", "polls example", ""])
def test_an_unknown_host_is_refused(site: Site, host: str) -> None:
    assert shake(site, host=host, origin=f"http://{host}" if host else None).status == 400


def test_a_proxy_that_ends_tls(site: Site) -> None:
    """SECURE_PROXY_SSL_HEADER and USE_X_FORWARDED_HOST count as for pages."""
    extra = {"HTTP_X_FORWARDED_PROTO": "https", "HTTP_X_FORWARDED_HOST": HERE}
    headers = {"Host": "127.0.0.1", "Origin": f"https://{HERE}"}

    def status() -> int:
        return site.process.request("GET", headers, extra=extra, transport="polling").status

    assert status() == 403
    with override_settings(SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"), USE_X_FORWARDED_HOST=True):
        assert status() == 200


def test_origins_of_the_projects_own_replace_the_rule(database: Any) -> None:
    site = Site({"cors_allowed_origins": "https://only.example"})
    try:
        assert shake(site, origin="https://only.example").status == 200
        assert shake(site, origin="https://partner.example").status == 403
        assert shake(site, host="unknown.example", origin="https://only.example").status == 400
    finally:
        site.close()


def test_allow_request_of_the_projects_own_is_asked_last(database: Any) -> None:
    """It may use the database: the connection is closed as after a request."""
    asked: list[str] = []

    def allow(environ: dict[str, Any]) -> str:
        from polls.models import results

        assert results() == {} and connection.connection is not None
        asked.append(environ["HTTP_HOST"])
        return "not today"

    site = Site({"allow_request": allow})
    try:
        assert shake(site, host="unknown.example").status == 400
        answer = shake(site)
        assert (answer.status, answer.body) == (403, b'{"code":4,"message":"not today"}')
    finally:
        site.close()
    assert asked == [HERE]
    assert connection.connection is None


def test_headers_do_not_forge_log_lines(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    evil = "\nCRITICAL forged\x1b[2J\u2028" + "x" * 900_000
    with caplog.at_level(logging.DEBUG, "wsgi_sio"):
        assert shake(site, origin=f"http://{evil}").status == 403
        assert shake(site, host=evil).status == 400
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("wsgi_sio")]
    assert len(lines) == 2 and all(line.isprintable() and len(line) < 600 for line in lines), lines


def test_a_script_is_judged_by_the_page_that_its_referer_names(site: Site) -> None:
    """Of protocol 3; it has no Origin, which the rule about forms wants."""
    query = {"EIO": "3", "transport": "polling", "j": "0"}
    for page, status in (("https://partner.example/x", 400), ("http://evil.example/x", 403)):
        answer = site.process.request("GET", {"Host": HERE, "Referer": page}, **query)
        assert answer.status == status  # 400: protocol 3 is not spoken here


def test_the_browser_client_is_served_to_pages_that_may_not_connect_as_well(site: Site) -> None:
    """Without the headers that would let the page read it; the rule, which refuses in words, is no error here."""
    environ = site.process.environ("GET", {"Host": HERE, "Origin": "http://evil.example"})
    assert site.process.engine.cors_headers(environ) == []
