"""Preconditions of tests: a missing tool skips on a developer's machine and fails where CI promised it."""

from __future__ import annotations

import os

import pytest


def require(condition: object, reason: str) -> None:
    """Skip the running test unless ``condition`` is true; with ``CI=true`` in the environment, fail it instead."""
    if condition:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"required in CI: {reason}", pytrace=False)
    pytest.skip(reason)
