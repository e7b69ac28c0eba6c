"""The JavaScript scenario (``tests/js/scenario.js``) and what must hold on the server while and after it runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping

from tests.support.node import run_node
from tests.support.servers import RunningServer


def run_scenario(
    url: str, mode: str, part: str = "", may_fail: Collection[str] = (), env: Mapping[str, str] | None = None
) -> None:
    """Run the checks whose name contains ``part`` and assert that all succeed, but those in ``may_fail``."""
    checks = run_node("scenario.js", url, mode, part, timeout=150, env=env)["checks"]
    assert checks, f"no check is named like {part!r}"
    failures = [check for check in checks if not check["ok"] and check["name"] not in may_fail]
    assert not failures, "\n\n".join(f"{check['name']}\n{check['detail']}" for check in failures)


def assert_settles(measure: Callable[[], int], limit: int, what: str, timeout: float = 20.0) -> None:
    """Assert that ``measure()`` falls to ``limit`` within ``timeout`` seconds; another process has no event for it."""
    deadline = time.monotonic() + timeout
    while (value := measure()) > limit:
        assert time.monotonic() < deadline, f"{value} {what}, at most {limit} were expected"
        time.sleep(0.1)


def assert_clean(server: RunningServer) -> None:
    """Assert that the server has logged no error, traceback or warning of Python."""
    assert not server.problems(), server.log()[-10_000:]
