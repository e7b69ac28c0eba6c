"""What can be typed: events to emit, as an event's name and JSON values, and commands with a slash."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

HELP = """\
EVENT JSON JSON ...   emit an event, such as: chat "hello" {"to": "lobby"}
EVENT? JSON ...       the same, asking for an acknowledgement, which is printed
"MY EVENT"? JSON ...  an event's name that has spaces, or is a command's, goes in quotes
/connect              connect again, at once
/disconnect           leave the namespace
/wait SECONDS         print what comes meanwhile; for scripts
/help                 this text
/quit                 leave and end, as does the end of the input
Events from the server that ask for an acknowledgement are answered without arguments."""

_COMMANDS = ("connect", "disconnect", "wait", "help", "quit")


def _no_constant(name: str) -> Any:
    raise ValueError(f"JSON knows no {name}")


_decoder = json.JSONDecoder(parse_constant=_no_constant)  # NaN and Infinity are Python's own
_match_space = re.compile(r"\s*").match


class NotUnderstood(ValueError):
    """What was typed makes no sense; says why."""


@dataclass(frozen=True)
class Emission:
    """An event to emit.

    :ivar asks: whether an acknowledgement is wanted.
    """

    event: str
    args: tuple[Any, ...] = ()
    asks: bool = False

    @classmethod
    def of_line(cls, line: str) -> Emission:
        """Read ``EVENT JSON JSON ...``.

        :raises NotUnderstood: it is something else.
        """
        event, asks, at = _read_event(line)
        args = []
        while at < len(line):
            value, at = _read_json(line, at)
            args.append(value)
        return cls(event, tuple(args), asks)

    @classmethod
    def of_words(cls, words: Sequence[str]) -> Emission:
        """Read the same as the shell has split it: each word after the first is one JSON value.

        :raises NotUnderstood: it is something else.
        """
        name = words[0]
        event, asks, end = _read_event(name) if name.startswith('"') else (*_split_mark(name), len(name))
        if end < len(name):
            raise NotUnderstood(f"{name!r} is no event's name")
        return cls(event, tuple(map(read_json, words[1:])), asks)


@dataclass(frozen=True)
class Command:
    """A command, without its slash.

    :ivar seconds: of ``wait``.
    """

    name: str
    seconds: float = 0.0

    @classmethod
    def of_line(cls, line: str) -> Command:
        """Read ``/NAME`` or ``/wait SECONDS``.

        :raises NotUnderstood: there is no such command.
        """
        name, *rest = line[1:].split() or [""]
        if name not in _COMMANDS:
            raise NotUnderstood(f"there is no command /{name}: /help lists them")
        if name != "wait":
            if rest:
                raise NotUnderstood(f"/{name} takes nothing behind it")
            return cls(name)
        try:
            return cls(name, read_seconds(rest[0] if len(rest) == 1 else ""))
        except ValueError:
            raise NotUnderstood("/wait takes a number of seconds") from None


def read_line(line: str) -> Emission | Command | None:
    """Read one line of input; None for an empty one, or one that begins with ``#``.

    :raises NotUnderstood: it makes no sense.
    """
    line = line.strip()
    if not line or line.startswith("#"):
        return None
    return Command.of_line(line) if line.startswith("/") else Emission.of_line(line)


def read_json(text: str) -> Any:
    """Read one JSON value.

    :raises NotUnderstood: it is none, or there is more.
    """
    value, end = _read_json(text, _skip_space(text, 0))
    if end < len(text):
        raise _no_json(text)
    return value


def read_seconds(text: str) -> float:
    """Read a number of seconds, such as ``2`` or ``0.5``.

    :raises ValueError: it is none.
    """
    seconds = float(text)
    if not 0 <= seconds <= 1e9:
        raise ValueError("not a number of seconds")
    return seconds


def _read_event(text: str) -> tuple[str, bool, int]:
    """The name at the beginning, whether a question mark follows it, and where the next thing begins."""
    if text.startswith('"'):
        name, end = _read_json(text, 0, skip=False)
        asks = text.startswith("?", end)
        return _check(name), asks, _skip_space(text, end + asks)
    word = text.split(maxsplit=1)[0]
    return (*_split_mark(word), _skip_space(text, len(word)))


def _split_mark(word: str) -> tuple[str, bool]:
    asks = word.endswith("?")
    return _check(word[:-1] if asks else word), asks


def _check(name: str) -> str:
    if not name:
        raise NotUnderstood("an event's name is missing")
    return name


def _read_json(text: str, at: int, *, skip: bool = True) -> tuple[Any, int]:
    try:
        value, end = _decoder.raw_decode(text, at)
    except (ValueError, RecursionError):
        raise _no_json(text[at:]) from None
    return value, _skip_space(text, end) if skip else end


def _skip_space(text: str, at: int) -> int:
    match = _match_space(text, at)
    return match.end() if match else at


def _no_json(text: str) -> NotUnderstood:
    word = text.split(maxsplit=1)[0] if text.strip() else text
    return NotUnderstood(f"not JSON: {text[:60]} (a string needs quotes: {json.dumps(word[:30], ensure_ascii=False)})")
