"""The application's handlers: what they take, and calling them so that a wrong call is told from their own errors."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from math import inf
from types import CodeType
from typing import Any

from ..logtext import kinds
from ..socketio.handlers import Handler

# Their handlers need not take the argument that they are offered: the auth data, the reason.
LIFE_CYCLE = frozenset(("connect", "disconnect"))


class WrongArguments(TypeError):
    """A handler cannot take what the client has sent; its text says which, where it is, and what came."""


class EventHandler(Handler):
    """A function of the application's, inspected once.

    Decorators are looked through for what the function itself takes, but may change what it is given: a call that
    never got as far as the function's body is a wrong call, wherever it failed.

    :ivar told: whether the log has been told of a client that it turned away; once is enough.
    """

    __slots__ = ("_body", "_given", "_variadic", "told")

    def __init__(self, event: str, func: Callable[..., Any]) -> None:
        super().__init__(event, func)
        self.told = False
        self._given = _span(func)
        body = inspect.unwrap(func)
        self._body: CodeType | None = getattr(body, "__code__", None)
        self._variadic = self._body is not None and bool(self._body.co_flags & inspect.CO_VARARGS)

    def __call__(self, args: tuple[Any, ...], sender: object) -> Any:
        """Call the function, with fewer arguments than offered if it is one of the :data:`LIFE_CYCLE` that wants so.

        :raises WrongArguments: it takes a different number.
        """
        failure: TypeError | None = None
        for given in self._offers(args):
            if self._accepts(given):
                try:
                    return self.func(*given)
                except TypeError as error:
                    if not self._was_not_entered(error):
                        raise
                    failure = error
        raise WrongArguments(self._complaint(args, sender)) from failure

    def _offers(self, args: tuple[Any, ...]) -> Iterable[tuple[Any, ...]]:
        if self.event not in LIFE_CYCLE:
            return [args]
        return [args, ()] if self.most else [(), args]

    def _accepts(self, args: tuple[Any, ...]) -> bool:
        fewest, most = self._given
        return fewest <= len(args) <= most

    def _was_not_entered(self, error: TypeError) -> bool:
        """Whether ``error`` comes from passing arguments on, and the function's own code has not run."""
        traceback = error.__traceback__
        codes = []
        while traceback is not None:
            codes.append(traceback.tb_frame.f_code)
            traceback = traceback.tb_next
        # A decorator that hides what it decorates looks like the function; its call is then the last thing that ran.
        hidden = self._variadic and codes[-1] is self._body
        return "positional argument" in str(error) and (hidden or self._body not in codes)

    def _complaint(self, args: tuple[Any, ...], sender: object) -> str:
        most = "any number of" if self.most > 255 else str(self.most)
        span = most if self.fewest == self.most else f"{self.fewest} to {most}"
        types = f" ({kinds(args)})" if args else ""
        return f"handler {self.where()} of {self.event!r} takes {span} arguments, but {sender} sent {len(args)}{types}"


def _span(func: Callable[..., Any]) -> tuple[int, float]:
    """The fewest and the most arguments that ``func`` can be given; its decorators decide, not what they decorate."""
    try:
        parameters = inspect.signature(func, follow_wrapped=False).parameters.values()
    except (TypeError, ValueError):
        return 0, inf  # a builtin that does not tell
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    endless = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    return sum(p.default is p.empty for p in positional), inf if endless else len(positional)
