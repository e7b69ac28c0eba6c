"""Which concurrency world this pytest run lives in: plain threads, or gevent (see ``tests/run_gevent.py``)."""

from __future__ import annotations

import sys
from typing import Literal


def _detect() -> Literal["threads", "gevent"]:
    if "gevent.monkey" in sys.modules and sys.modules["gevent.monkey"].is_module_patched("threading"):
        return "gevent"
    return "threads"


WORLD = _detect()
