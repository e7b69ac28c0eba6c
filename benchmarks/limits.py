"""How many files the system lets a process open, and so how many clients it can have."""

from __future__ import annotations

import resource

from benchmarks.install import Unavailable

SPARE = 200  # descriptors of a process that has clients, beside theirs


def allow_descriptors(needed: int) -> None:
    """Raise this process's limit of open files, which the server inherits.

    :raises Unavailable: the system does not allow so many.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        if hard != resource.RLIM_INFINITY and hard < needed:
            raise Unavailable(f"needs {needed} open files, the system allows {hard} (ulimit -n)")
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def most_clients() -> int | None:
    """How many a process can have; None: as many as one likes."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return None if hard == resource.RLIM_INFINITY else max(0, hard - SPARE)
