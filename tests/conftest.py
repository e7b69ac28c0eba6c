"""Configuration of the whole test suite."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

import wsgi_sio
from benchmarks.measure import interpreter
from tests.support import processes
from tests.support.node import node_modules
from tests.support.world import WORLD
from wsgi_sio.compiled import is_compiled
from wsgi_sio.runtime import Reactor, after_fork, create_reactor

__all__ = ["node_modules"]

# No example is a failure because the machine was busy.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")


def pytest_addoption(parser: pytest.Parser) -> None:
    processes.add_option(parser)


def pytest_configure(config: pytest.Config) -> None:
    processes.configure(config)
    if WORLD == "gevent":
        # That a busy machine holds up a test for some seconds is nothing to tell of in the log that it reads.
        from wsgi_sio.runtime import blocked_hub_warning

        blocked_hub_warning.LIMIT = 60.0
    # A shell starts what runs in its background deaf to Ctrl-C, and programs under test would inherit that.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # All gunicorns of a user would have the same control socket, and each that ends complains that another has it.
    os.environ["GUNICORN_CMD_ARGS"] = f"--no-control-socket {os.environ.get('GUNICORN_CMD_ARGS', '')}"


@pytest.fixture(autouse=True)
def what_one_test_forked_is_no_others_sibling() -> Iterator[None]:
    """Who has forked expects siblings, and says so in the log where it finds none."""
    yield
    after_fork._parent.pid = 0


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    made = create_reactor()
    yield made
    made.close()


def pytest_report_header() -> list[str]:
    build = f"{'compiled' if is_compiled() else 'pure Python'}, in {Path(wsgi_sio.__file__).parent}"
    return [f"interpreter: {interpreter()}", f"world: {WORLD}", f"wsgi_sio: {build}"]


def pytest_collection_finish() -> None:
    processes.tidy()
