"""Processes that stand still for a while, as SIGSTOP, a debugger or a machine that swaps make them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.support.inprocess import eventually


def freeze(pid: int) -> None:
    """Stop a process, and wait until it has: until its main thread is scheduled, the others run on."""
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: _stands_still(pid), f"the stop of {pid}")


def thaw(pid: int) -> None:
    """Let a frozen process go on."""
    os.kill(pid, signal.SIGCONT)


def _stands_still(pid: int) -> bool:
    # The state is the first field behind the program's name, which may have blanks and brackets.
    stats = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    return bool(stats) and all(stat.rpartition(")")[2].split()[0] in "TZX" for stat in stats)
