"""Node.js scripts of ``tests/js``, run with the npm packages that its ``package.json`` pins."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.npm import install

JS = Path(__file__).resolve().parents[1] / "js"


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """Directory of the installed npm packages; installs them on the first use."""
    return install(JS)


def run_node(script: str, *args: str, timeout: float = 60.0, env: Mapping[str, str] | None = None) -> Any:
    """Run ``tests/js/<script>`` and return the JSON value on the last line it prints.

    Fails the test when the script prints no such line within ``timeout`` seconds. The exit status is not looked at:
    a script reports failures in its result.
    """
    command = ["node", script, *args]
    try:
        result = subprocess.run(
            command,
            check=False,
            cwd=JS,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired as error:
        pytest.fail(f"{script} did not finish in {timeout:g} s; it said {error.stdout!r} {error.stderr!r}")
    lines = result.stdout.splitlines()
    try:
        return json.loads(lines[-1])
    except (IndexError, json.JSONDecodeError):
        pytest.fail(f"{script} ended with status {result.returncode} and no result: {result.stdout}{result.stderr}")


class RunningScript:
    """A Node.js script that goes on running and prints JSON lines."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def next_line(self) -> Any:
        """Return the value of the next JSON line, waiting for it; fail the test when the script has ended."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            pytest.fail(f"the script ended with status {self.process.wait()}")
        return json.loads(line)


@contextmanager
def start_node(script: str, *args: str, env: Mapping[str, str] | None = None) -> Iterator[RunningScript]:
    """Run ``tests/js/<script>`` in the background for the length of a ``with`` block; its stderr is the test's."""
    environment = {**os.environ, **(env or {})}
    with subprocess.Popen(
        ["node", script, *args], cwd=JS, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield RunningScript(process)
        finally:
            process.kill()
