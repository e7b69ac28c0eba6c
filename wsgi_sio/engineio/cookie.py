"""The cookie that carries a session's id to a load balancer; its option is checked once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .config import refuse_unknown_options

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+")
_ATTRIBUTE = re.compile(r"[\x20-\x3a\x3c-\x7e]+")  # no semicolon, nothing that is not printable
_SAME_SITE = ("Strict", "Lax", "None")

# The reference's; ``secure`` follows the request.
_DEFAULTS: Mapping[str, Any] = {
    "name": "io",
    "path": "/",
    "http_only": True,
    "same_site": "Lax",
    "secure": None,
    "max_age": None,
    "domain": None,
}


class SessionCookie:
    """What the first answer over polling sets.

    :param option: see ``EngineConfig.cookie``; neither None nor False.
    :raises TypeError: it is of another kind, or has an unknown attribute.
    :raises ValueError: an attribute's value cannot be sent, or browsers would drop the cookie.
    """

    def __init__(self, option: bool | str | Mapping[str, Any]) -> None:
        if not isinstance(option, (bool, str, Mapping)):
            raise TypeError(f"cookie must be a name or a mapping of attributes, not {option!r}")
        given = {} if isinstance(option, bool) else {"name": option} if isinstance(option, str) else option
        refuse_unknown_options(given, _DEFAULTS)
        attributes = {**_DEFAULTS, **given}
        self._name = attributes["name"]
        self._secure = attributes["secure"]
        self._before = [
            f"{title}={_checked(name, value)}"
            for name, title, value in (
                ("max_age", "Max-Age", _whole(attributes["max_age"])),
                ("domain", "Domain", attributes["domain"]),
                ("path", "Path", attributes["path"]),
            )
            if value not in (None, "")
        ]
        if attributes["http_only"]:
            self._before.append("HttpOnly")
        self._after = _same_site(attributes["same_site"])
        if not isinstance(self._name, str) or not _TOKEN.fullmatch(self._name):
            raise ValueError(f"cookie has the name {self._name!r}: letters, digits and '-_.' make one")
        if self._after == ["SameSite=None"] and not self._secure:
            raise ValueError(
                "cookie has same_site='None', which browsers take only with 'secure': True, and send over https only;"
                " for plain http leave same_site out"
            )

    def header(self, sid: str, scheme: str) -> tuple[str, str]:
        """The header that sets it to ``sid``, in the answer to a request of the URL scheme ``scheme``."""
        secure = scheme == "https" if self._secure is None else self._secure
        return "Set-Cookie", "; ".join(
            [f"{self._name}={sid}", *self._before, *(["Secure"] if secure else []), *self._after]
        )


def _checked(name: str, value: Any) -> str:
    text = str(value)
    if not _ATTRIBUTE.fullmatch(text):
        raise ValueError(f"cookie has {name}={value!r}: only printable ASCII without ';' can be sent")
    return text


def _whole(max_age: Any) -> int | None:
    if max_age is None:
        return None
    if isinstance(max_age, bool) or not isinstance(max_age, (int, float)):
        raise ValueError(f"cookie has max_age={max_age!r}: it is a number of seconds")
    return int(max_age)


def _same_site(value: Any) -> list[str]:
    if not value:
        return []
    title = str(value).capitalize()
    if title not in _SAME_SITE:
        raise ValueError(f"cookie has same_site={value!r}: there are {', '.join(_SAME_SITE)}")
    return [f"SameSite={title}"]
