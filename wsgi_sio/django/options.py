"""``settings.WSGI_SIO``: the server's options, and whether a value is what an option's annotation says."""

from __future__ import annotations

import inspect
import pkgutil
import types
from collections.abc import Mapping
from typing import Any, Union, get_args, get_origin, get_type_hints

from ..engineio import EngineConfig
from ..socketio.server import Server

# Options for objects of the application: settings, which cannot import it, name them.
_NAMED = frozenset(("adapter", "allow_request", "json", "parser"))


def load_options(setting: Mapping[str, Any]) -> dict[str, Any]:
    """The server's options, dotted paths replaced by what they name.

    :raises ImportError, AttributeError, ValueError: there is nothing of that name.
    """
    return {
        name: pkgutil.resolve_name(value) if name in _NAMED and isinstance(value, str) else value
        for name, value in setting.items()
    }


def known_options() -> dict[str, Any]:
    """Every option with its type, as the server and the engine declare them."""
    hints = {**get_type_hints(Server.__init__), **get_type_hints(EngineConfig)}
    own = [p.name for p in inspect.signature(Server).parameters.values() if p.kind is p.KEYWORD_ONLY]
    return {name: hints[name] for name in {*own, *EngineConfig.names()}}


def fits(value: Any, hint: Any) -> bool:
    """Whether ``value`` is what ``hint`` allows, as far as can be told: what is in a container is not looked at."""
    origin = get_origin(hint) or hint
    if _is_union(hint):
        return any(fits(value, alternative) for alternative in get_args(hint))
    if hint is Any or getattr(origin, "_is_protocol", False):
        return True
    if isinstance(value, bool) or origin is bool:
        return isinstance(value, bool) and origin is bool
    if origin is float:
        return isinstance(value, (int, float))
    if origin is tuple:
        return isinstance(value, (str, tuple, list))  # one, or several
    return isinstance(value, origin)


def describe(hint: Any) -> str:
    """A type, for people."""
    alternatives = get_args(hint) if _is_union(hint) else (hint,)
    return " or ".join("None" if each is types.NoneType else inspect.formatannotation(each) for each in alternatives)


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in (Union, types.UnionType)
