"""Configuration of the whole test suite."""

from __future__ import annotations

import gc
import signal

import pytest

from benchmarks.measure import interpreter
from tests.support import processes
from tests.support.node import node_modules
from tests.support.world import WORLD

__all__ = ["node_modules"]


def pytest_addoption(parser: pytest.Parser) -> None:
    processes.add_option(parser)


def pytest_configure(config: pytest.Config) -> None:
    processes.configure(config)
    # A shell starts what runs in its background deaf to Ctrl-C, and programs under test would inherit that.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> list[str]:
    return [f"interpreter: {interpreter()}", f"world: {WORLD}"]


def pytest_collection_finish() -> None:
    """Thousands of tests and all that they import need not be looked through whenever one looks for garbage."""
    gc.collect()
    gc.freeze()
