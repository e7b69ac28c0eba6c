"""What the figures of a run depend on."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from benchmarks import measure
from benchmarks.plan import Servers
from benchmarks.scenarios import Sample, Setting
from benchmarks.servers import Ready
from wsgi_sio import __version__
from wsgi_sio.compiled import is_compiled
from wsgi_sio.socketio.jsoncodec import LIBRARIES


def describe(servers: Servers, samples: Sequence[Sample], setting: Setting) -> dict[str, str]:
    """By name, in the order in which to tell them."""
    versions = {"wsgi_sio": __version__}
    for ready in servers.values():
        if isinstance(ready, Ready):
            versions.update(ready.versions)
    pinning = "the server on one core, the clients on another" if setting.cores else "nothing is pinned to a core"
    how_often = "one round" if setting.rounds == 1 else f"medians of {setting.rounds} rounds, of what takes long fewer"
    facts = {
        "machine": measure.machine(),
        "interpreter": measure.interpreter(),
        "build": describe_build(),
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "run": f"{how_often}, {setting.seconds:g} s each, the servers by turns; one process a server; {pinning}",
        "rates": "the server's own limit only where it used nearly all of its core",
        "gthread": "8 threads; python-socketio also one for each client",
    }
    foreign = [sample.foreign / sample.seconds for sample in samples if sample.foreign is not None and sample.seconds]
    if foreign:
        facts["other processes"] = f"used {median(foreign):.0%} of one core in the median, {max(foreign):.0%} at worst"
    if not measure.AVAILABLE:
        facts["not measured"] = "CPU time and memory, which need Linux"
    return facts


def describe_build() -> str:
    """Which wsgi_sio it is."""
    return (
        f"{'compiled' if is_compiled() else 'pure Python'}, JSON by {' and '.join(LIBRARIES) or 'the standard library'}"
    )
