"""How things are printed: a line each, cut to a sensible length, and above what is being typed."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, TextIO

from ..runtime import Rank, make_lock
from .ctrl_c import Interrupts

# How much of a line, of a string in it, and of bytes, is shown (characters, characters, bytes).
_LONGEST_LINE = 1000
_LONGEST_STRING = 300
_LONGEST_BYTES = 8

_CLEAR_LINE = "\r\x1b[K"
_RESET = "\x1b[0m"
_COLOURS = {"received": "\x1b[32m", "acknowledged": "\x1b[36m", "sent": "", "status": "\x1b[33m", "time": "\x1b[2m"}
_MARKS = {"received": "< ", "acknowledged": "= ", "sent": "> ", "status": ""}

PROMPT = "> "


class Screen:
    """The standard output, for any thread; each line is written in one piece.

    Colours are for terminals only, and the environment's NO_COLOR turns them off.

    :param on_broken: called when nobody reads the output any more.
    :param interrupts: who raises a KeyboardInterrupt again that readline has thrown away.
    """

    def __init__(self, output: TextIO, on_broken: Callable[[], object], interrupts: Interrupts) -> None:
        self._output = output
        self._on_broken = on_broken
        self._interrupts = interrupts
        self._typed: Callable[[], str] | None = None  # while the user is at the prompt: what has been typed
        self._quiet = make_lock(Rank.LEAF)  # held while a line is written, or the prompt drawn
        terminal = output.isatty() and os.environ.get("TERM") != "dumb"
        self._colours = _COLOURS if terminal and not os.environ.get("NO_COLOR") else {}

    def tell(self, kind: str, text: str) -> None:
        """Print what has just happened.

        :param kind: ``received``, ``acknowledged``, ``sent`` or ``status``.
        """
        now = time.time()
        clock = f"{time.strftime('%H:%M:%S', time.localtime(now))}.{int(now * 1000) % 1000:03}"
        self.write(f"{self._coloured('time', clock)} {self._coloured(kind, _MARKS[kind] + _cut(text, _LONGEST_LINE))}")

    def write(self, text: str) -> None:
        """Print ``text`` as it is."""
        with self._quiet:
            typed = self._typed
            line = f"{text}\n" if typed is None else f"{_CLEAR_LINE}{text}\n{PROMPT}{typed()}"
            try:
                self._output.write(line)
                self._output.flush()
                return
            except BrokenPipeError:  # the interpreter would complain once more in the end
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._output.fileno())
        self._on_broken()

    def ask(self) -> str:
        """Let the user type a line; what is printed meanwhile appears above it.

        :raises EOFError: there will be no more.
        """
        try:
            import readline
        except ImportError:  # on Windows: what is printed breaks into what is being typed
            return input(PROMPT)

        drawing = ExitStack()

        def draws() -> None:
            with self._interrupts.postponed():
                drawing.enter_context(self._quiet)

        def drawn() -> None:
            with self._interrupts.postponed():
                self._typed = readline.get_line_buffer
                drawing.close()

        if "libedit" not in (readline.__doc__ or ""):  # which need not tell when it has drawn
            readline.set_startup_hook(draws)
        readline.set_pre_input_hook(drawn)
        with drawing:
            try:
                return input(PROMPT)
            finally:
                self._typed = None

    def _coloured(self, kind: str, text: str) -> str:
        colour = self._colours.get(kind)
        return f"{colour}{text}{_RESET}" if colour else text


def complain(text: str) -> None:
    """Print an error, one line, on the standard error."""
    sys.stderr.write(f"error: {text}\n")
    sys.stderr.flush()


def show_event(event: str, args: tuple[Any, ...]) -> str:
    """An event as it would be typed."""
    name = event if event.isidentifier() else show(event)
    return " ".join([name, *map(show, args)])


def show(value: Any) -> str:
    """JSON for people: bytes shortly, long strings cut, nothing in it that a terminal would obey."""
    try:
        return _show(value)
    except RecursionError:
        return "<nested too deeply to be shown>"


def _show(value: Any) -> str:
    if isinstance(value, str):
        shown = value[:_LONGEST_STRING]
        rest = "" if len(shown) == len(value) else f"… ({len(value)} characters)"
        return json.dumps(shown, ensure_ascii=not shown.isprintable()) + rest
    if isinstance(value, (bytes, bytearray)):
        rest = "…" if len(value) > _LONGEST_BYTES else ""
        return f"<bytes {len(value)}: {value[:_LONGEST_BYTES].hex()}{rest}>"
    if isinstance(value, dict):
        return "{" + ", ".join([f"{_show(key)}: {_show(item)}" for key, item in value.items()]) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_show, value)) + "]"
    if value is None or isinstance(value, (bool, int, float)):
        return json.dumps(value)
    return f"<{value!r}>"  # MessagePack knows more types


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"
