"""``settings.WSGI_SIO``: the server's options, and their types."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Mapping
from typing import Any, get_type_hints

from ..engineio import EngineConfig
from ..server import Server

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
