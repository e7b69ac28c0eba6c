"""Which concurrency world this pytest run lives in: plain threads, or gevent (see ``tests/run_gevent.py``)."""

from __future__ import annotations

import sys
from typing import Literal

import pytest


def _detect() -> Literal["threads", "gevent"]:
    if "gevent.monkey" in sys.modules and sys.modules["gevent.monkey"].is_module_patched("threading"):
        return "gevent"
    return "threads"


WORLD = _detect()
# For what runs nothing of ours in the tests' own world, such as programs that make worlds of their own.
one_world = pytest.mark.skipif(WORLD != "threads", reason="the same in both worlds")
