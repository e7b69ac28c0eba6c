"""The server's memory, descriptors, threads and log: what they may have become after everybody has left."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from urllib.request import urlopen

from benchmarks.measure import memory_bytes
from tests.support.servers import RunningServer

# How much more than after the warm-up there may be at the end. Memory: what the allocator keeps, and what recovery may
# store. Threads: what the pool has for handlers that wait. Descriptors: a request that is still closing.
MEMORY_SLACK = 40_000_000  # bytes
THREAD_SLACK = 16
DESCRIPTOR_SLACK = 8

# Warnings that a run provokes: each is logged once, with its cure.
_EXPECTED = re.compile(r"refused \(slow client\)")
_WARNING = re.compile(r"\bWARNING\b")


@dataclass(frozen=True)
class Measures:
    """What the worker holds."""

    memory: int
    descriptors: int
    threads: int

    @classmethod
    def take(cls, server: RunningServer) -> Measures:
        """Measure now."""
        return cls(memory_bytes(server.worker_pid) or 0, server.fd_count(), server.thread_count())

    def excess(self, base: Measures) -> list[str]:
        """What is too much, compared with ``base``."""
        bounds = (
            ("bytes of memory", self.memory, base.memory, MEMORY_SLACK),
            ("descriptors", self.descriptors, base.descriptors, DESCRIPTOR_SLACK),
            ("threads", self.threads, base.threads, THREAD_SLACK),
        )
        return [
            f"{now:,} {what}, {before:,} after the warm-up, at most {slack:,} more may be"
            for what, now, before, slack in bounds
            if now > before + slack
        ]

    def __str__(self) -> str:
        return f"{self.memory / 1e6:.1f} MB, {self.descriptors} descriptors, {self.threads} threads"


def ask_leftovers(server: RunningServer) -> dict[str, int]:
    """How many sessions, sockets and rooms the application has."""
    with urlopen(server.url, timeout=10) as answer:
        leftovers: dict[str, int] = json.load(answer)
    return leftovers


def unexpected_lines(server: RunningServer) -> list[str]:
    """Lines of the log that tell of an error, or warn of what this run has not provoked."""
    warnings = [line for line in server.log().splitlines() if _WARNING.search(line) and not _EXPECTED.search(line)]
    return [*server.problems(), *warnings]
