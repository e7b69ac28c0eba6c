"""What the application hands over is called where there is no event loop: an ``async def`` would never run."""

from __future__ import annotations

import inspect
from types import CodeType
from typing import Any

_ASYNC = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR


def refuse_async(func: Any, what: str) -> None:
    """Refuse what gives a coroutine instead of a result when it is called.

    :param what: what ``func`` is to be, for the text.
    :raises TypeError: it is ``async def``; the text says what to do instead.
    """
    if _is_async(func):
        name = getattr(func, "__qualname__", type(func).__qualname__)
        raise TypeError(
            f"{what}, {name}, is 'async def', which would never run: there is no event loop here; write it as a plain"
            " 'def', which may block (others go on meanwhile), and where a library has only coroutines, call"
            " asyncio.run(...) in it"
        )


def _is_async(func: Any) -> bool:
    code = getattr(func, "__code__", None)
    if isinstance(code, CodeType):  # a function or a method: all that need be quick, for callbacks are made by the emit
        return bool(code.co_flags & _ASYNC)
    called = type(func).__call__ if callable(func) else None
    return any(inspect.iscoroutinefunction(one) or inspect.isasyncgenfunction(one) for one in (func, called))
