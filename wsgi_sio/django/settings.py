"""``settings.WSGI_SIO``: the server's options, and their types."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Mapping
from typing import Any, get_type_hints

from ..adapters import kombu_adapter, redis_adapter
from ..cluster.bus.urls import family_of
from ..engineio import EngineConfig
from ..server import Server

# Options for objects of the application: settings, which cannot import it, name them.
_NAMED = frozenset(("adapter", "allow_request", "json", "parser"))


def load_options(setting: Mapping[str, Any]) -> dict[str, Any]:
    """The server's options, dotted paths replaced by what they name, and an adapter's URL by what makes that adapter.

    :raises ImportError, AttributeError, ValueError: there is nothing of that name, or no adapter for the URL's scheme.
    """
    return {
        name: _load(name, value) if name in _NAMED and isinstance(value, str) else value
        for name, value in setting.items()
    }


def _load(name: str, value: str) -> Any:
    if name != "adapter" or "://" not in value:
        return pkgutil.resolve_name(value)
    return redis_adapter(value) if family_of(value) == "redis" else kombu_adapter(value)


def known_options() -> dict[str, Any]:
    """Every option with its type, as the server and the engine declare them."""
    hints = {**get_type_hints(Server.__init__), **get_type_hints(EngineConfig)}
    own = [p.name for p in inspect.signature(Server).parameters.values() if p.kind is p.KEYWORD_ONLY]
    return {name: hints[name] for name in {*own, *EngineConfig.names()}}
