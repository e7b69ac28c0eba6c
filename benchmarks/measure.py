"""CPU time and memory of a server's process tree (Linux: /proc), and on which core things run."""

from __future__ import annotations

import os
import platform
import re
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# Elsewhere there is no /proc, so rates are measured but neither CPU time nor memory.
AVAILABLE = sys.platform == "linux"


def process_tree(pid: int) -> list[int]:
    """``pid`` and its descendants."""
    pids = [pid]
    for parent in pids:  # grows while it is walked
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            with suppress(OSError):  # the thread has just ended
                pids += map(int, children.read_text().split())
    return pids


def cpu_seconds(pid: int) -> float | None:
    """User and system time that the tree of ``pid`` has used so far; None off Linux."""
    return sum(map(cpu_of_process, process_tree(pid))) if AVAILABLE else None


def cpu_of_process(pid: int) -> float:
    """User and system time that one process has used so far, by the kernel's clock of it (clock_getcpuclockid(3))."""
    return time.clock_gettime(~pid << 3 | 2)


def memory_bytes(pid: int) -> int | None:
    """Memory of the tree of ``pid``: PSS, which shares out common pages; RSS where the kernel does not tell."""
    if not AVAILABLE:
        return None
    return sum(map(_memory_of_process, process_tree(pid)))


def _memory_of_process(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass  # an old kernel, or not our process: RSS below
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def thread_count(pid: int) -> int | None:
    """Operating system threads in the tree of ``pid``."""
    if not AVAILABLE:
        return None
    return sum(len(os.listdir(f"/proc/{member}/task")) for member in process_tree(pid))


def machine_cpu_seconds() -> float | None:
    """Time that all processes together, and the kernel on its own behalf, have used so far; None off Linux."""
    if not AVAILABLE:
        return None
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def choose_cores() -> tuple[int, int] | None:
    """The server's core and the load generator's; None with a single core or where a process cannot be pinned."""
    if sys.platform != "linux":
        return None
    cores = sorted(os.sched_getaffinity(0))
    return (cores[0], cores[-1]) if len(cores) > 1 else None


@contextmanager
def pinned(core: int | None) -> Iterator[None]:
    """Run this process, and what it starts meanwhile, on one core; None leaves it as it is."""
    if core is None or sys.platform != "linux":
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def machine() -> str:
    """The processor, its cores and the system."""
    model = platform.processor() or platform.machine()
    with suppress(OSError):  # off Linux
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.release()}"


def _is_of_debian() -> bool:
    """Whether it is a package of Debian or Ubuntu, which optimise by profile in their own way."""
    if sys.base_prefix != "/usr":
        return False
    try:
        system = platform.freedesktop_os_release()
    except OSError:
        return False
    return "debian" in (system["ID"], *system.get("ID_LIKE", "").split())


def interpreter() -> str:
    """The Python that runs this, and what makes one faster than another: how it was compiled and started.

    Profile-guided optimisation (PGO) is what ``--enable-optimizations`` asks for.
    """
    flags = sysconfig.get_config_var("PY_CFLAGS") or ""
    facts = [platform.python_compiler(), *re.findall(r"(?<!\S)-O\w*", flags)[-1:]]  # the last one counts
    configured = sysconfig.get_config_var("CONFIG_ARGS")
    if configured is not None:  # off Unix nobody has kept it
        optimised = "--enable-optimizations" in configured
        how = "with" if optimised else "by profile without" if _is_of_debian() else "without"
        facts.append(f"{how} --enable-optimizations")
        if "--with-lto" in configured:
            facts.append("--with-lto")
    if sysconfig.get_config_var("Py_DEBUG"):
        facts.append("a debug build")
    if sys.flags.optimize:
        facts.append(f"run with -{'O' * sys.flags.optimize}")
    return f"{platform.python_implementation()} {platform.python_version()} ({', '.join(facts)})"
