"""Options are checked where they are taken in: by their annotations, and numbers by what they count.

Each error names the option, its value and the cure.  What is allowed but hardly meant is a warning.
"""

from __future__ import annotations

import inspect
import logging
import math
import types
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

from .logtext import quote

logger = logging.getLogger("wsgi_sio.options")

_trial: ContextVar[bool] = ContextVar("wsgi_sio.validation.trial", default=False)

# From here on a number of seconds is taken for one of milliseconds, and below a number of bytes for one of megabytes.
_MANY_SECONDS = 1000
_FEW_BYTES = 100


@dataclass(frozen=True, kw_only=True)
class Number:
    """What an option's number may be; infinity and NaN never.

    :param above: it must be greater than that.
    :param least: it must not be less.
    :param most: it must not be greater.
    :param unit: "seconds" or "bytes"; a number that would be sensible in another unit only is doubted.
    :param doubtful: the seconds from which on they are.
    """

    above: float = -math.inf
    least: float = -math.inf
    most: float = math.inf
    unit: str = ""
    doubtful: float = _MANY_SECONDS

    def check(self, name: str, value: float) -> None:
        """Refuse what is out of bounds, and warn of what is hardly meant.

        :raises ValueError: it is out of bounds.
        """
        if not (self.above < value and self.least <= value <= self.most and math.isfinite(value)):
            unit = f" ({self.unit})" if self.unit else ""
            raise ValueError(f"{name} must be {self._bounds(value)}, not {value!r}{unit}")
        doubt = self._doubt(name, value)
        if doubt and not _trial.get():
            logger.warning("%s=%r: %s", name, value, doubt)

    def _bounds(self, value: float) -> str:
        if not math.isfinite(value):
            return "a finite number"
        if value > self.most:
            return f"{self.most:.0f} at most"
        return f"{self.least:g} or more" if math.isfinite(self.least) else f"greater than {self.above:g}"

    def _doubt(self, name: str, value: float) -> str:
        if self.unit == "seconds" and value >= self.doubtful:
            return f"times are in seconds, not in milliseconds as in JavaScript; did you mean {name}={value / 1000:g}?"
        if self.unit == "bytes" and value < _FEW_BYTES:
            return f"sizes are in bytes; did you mean {value:g} megabytes, {name}={int(value * 1_000_000)}?"
        return ""


SECONDS = Number(above=0, unit="seconds")
# Browsers' timers overflow at 2**31 milliseconds, and add both.
PING_SECONDS = Number(above=0, most=1_000_000, unit="seconds")
# Kept for so long, which may be hours.
LASTING_SECONDS = Number(above=0, unit="seconds", doubtful=43_201)
DELAY_SECONDS = Number(least=0, unit="seconds")
BYTES = Number(above=0, unit="bytes")
COUNT = Number(above=0)
COUNT_OR_NONE_AT_ALL = Number(least=0)
SHARE = Number(least=0, most=1)


# Reading annotations takes longer than checking what is given.
type_hints = cache(get_type_hints)


@contextmanager
def trial() -> Iterator[None]:
    """Within it nothing is doubted aloud: what is made is thrown away, and made again."""
    token = _trial.set(True)
    try:
        yield
    finally:
        _trial.reset(token)


def check_options(
    options: Mapping[str, Any], hints: Mapping[str, Any], numbers: Mapping[str, Number]
) -> dict[str, Any]:
    """The options as they are to be used: a whole float, such as 1e8, is an int where that is wanted.

    :param hints: the type of each.
    :param numbers: what the numbers among them may be.
    :raises TypeError: a value is of another type.
    :raises ValueError: a number is out of bounds.
    """
    return {name: check_option(name, value, hints[name], numbers.get(name)) for name, value in options.items()}


def check_option(name: str, value: Any, hint: Any, number: Number | None = None) -> Any:
    """Likewise, of one."""
    if not fits(value, hint):
        raise TypeError(f"{name} {misfit(value, hint)}")
    if number is not None and value is not None:
        number.check(name, value)
    wanted = kinds(hint)
    return int(value) if isinstance(value, float) and int in wanted and float not in wanted else value


def fits(value: Any, hint: Any) -> bool:
    """Whether ``value`` is what ``hint`` allows, as far as can be told: what is in a container is not looked at."""
    wanted = kinds(hint)
    if type(value) in wanted or object in wanted:
        return True
    if isinstance(value, bool):
        return False
    if isinstance(value, (int, float)) and (float in wanted or (int in wanted and value == value // 1)):
        return True
    if tuple in wanted and isinstance(value, (str, list, set, frozenset)):  # one, or several
        return True
    return isinstance(value, wanted)


@cache
def kinds(hint: Any) -> tuple[type, ...]:
    """The classes that ``hint`` allows, ``object`` where that cannot be told."""
    origins = [get_origin(each) or each for each in _alternatives(hint)]
    return tuple(object if each is Any or getattr(each, "_is_protocol", False) else each for each in origins)


def misfit(value: Any, hint: Any) -> str:
    """What a value that does not fit must be, and what to do."""
    cure = ""
    if isinstance(value, str) and {int, float, bool} & set(kinds(hint)):
        cure = "; write it without quotes, and convert what comes from the environment or a file"
    return f"must be {describe(hint)}, not {quote(value)}{cure}"


def describe(hint: Any) -> str:
    """A type, for people."""
    names = ["None" if each is types.NoneType else inspect.formatannotation(each) for each in _alternatives(hint)]
    return " or ".join(names)


def _alternatives(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if _is_union(hint) else (hint,)


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in (Union, types.UnionType)
