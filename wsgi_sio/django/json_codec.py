"""JSON for Django's values: what ``JsonResponse`` takes can be emitted too."""

from __future__ import annotations

from typing import Any

from django.core.serializers.json import DjangoJSONEncoder

from ..socketio.jsoncodec import dumps_of, loads_of


class DjangoJSON:
    """The built-in codec, which also writes dates, times, decimals, UUIDs and lazy strings, as DjangoJSONEncoder does.

    The default of the option ``json`` in a Django project.
    """

    def __init__(self) -> None:
        self._dumps = dumps_of(None)
        self._loads = loads_of(None)
        self._default = DjangoJSONEncoder().default

    def dumps(self, obj: Any, /) -> str:
        """Return ``obj`` as JSON.

        :raises TypeError: it holds something that DjangoJSONEncoder does not know either.
        """
        try:
            return self._dumps(obj)
        except TypeError:
            return self._dumps(self._plain(obj))

    def loads(self, text: str, /) -> Any:
        """Return the value of ``text``.

        :raises ValueError: it is not JSON.
        """
        return self._loads(text, 0)

    def _plain(self, value: Any) -> Any:
        if value is None or isinstance(value, (str, int, float)):
            return value
        if isinstance(value, dict):
            return {key: self._plain(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._plain(item) for item in value]
        return self._default(value)
