"""Cookies: those to begin with, and the header that a request gets."""

from __future__ import annotations

import urllib.request
from collections.abc import Mapping
from http.cookiejar import Cookie, CookieJar


def make_jar(cookies: CookieJar | Mapping[str, str] | None) -> CookieJar:
    """The jar that the option ``cookies`` asks for: that of others, or one with these for every server."""
    if isinstance(cookies, CookieJar):
        return cookies
    jar = CookieJar()
    for name, value in (cookies or {}).items():
        jar.set_cookie(_for_every_server(name, value))
    return jar


def cookie_header(jar: CookieJar, url: str) -> str | None:
    """The Cookie header of a request to ``url``."""
    request = urllib.request.Request(url)
    jar.add_cookie_header(request)
    return request.get_header("Cookie")


def _for_every_server(name: str, value: str) -> Cookie:
    return Cookie(
        version=0,
        name=name,
        value=value,
        port=None,
        port_specified=False,
        domain="",
        domain_specified=False,
        domain_initial_dot=False,
        path="/",
        path_specified=True,
        secure=False,
        expires=None,
        discard=True,
        comment=None,
        comment_url=None,
        rest={},
    )
