"""Configuration of the whole test suite."""

from __future__ import annotations

import signal

from benchmarks.measure import interpreter
from tests.support.node import node_modules
from tests.support.world import WORLD

__all__ = ["node_modules"]


def pytest_configure() -> None:
    # A shell starts what runs in its background deaf to Ctrl-C, and programs under test would inherit that.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> list[str]:
    return [f"interpreter: {interpreter()}", f"world: {WORLD}"]
