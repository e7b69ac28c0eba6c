"""Configuration of the whole test suite."""

from __future__ import annotations

from tests.support.node import node_modules
from tests.support.world import WORLD

__all__ = ["node_modules"]


def pytest_report_header() -> str:
    return f"world: {WORLD}"
