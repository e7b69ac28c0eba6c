"""What a forked child must not have of its parent: threads, sockets and clients belong to the process that serves.

A child gets copies of all objects, but of the threads only the one that has forked; its descriptors are the parent's
connections, and a lock that another thread held stays locked for ever.  So whoever owns such things says here that it
wants to be told, in the child and before anything else runs there, to let go of them.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterable
from typing import Protocol
from weakref import WeakSet

logger = logging.getLogger("wsgi_sio.runtime")


class Forkable(Protocol):
    """Who owns what is not for a child."""

    def after_fork(self) -> None:
        """In a forked child, whose only thread this is: be as new, and touch nothing that the parent uses."""


def tell_in_child(owner: Forkable) -> None:
    """Have ``owner.after_fork()`` called in each child that is forked while the owner lives."""
    _owners.add(owner)


def disown(descriptors: Iterable[int]) -> None:
    """Let connections be the parent's alone: whatever of the child still uses their numbers finds a dead socket."""
    dead, other = socket.socketpair()
    other.close()
    for descriptor in descriptors:
        if descriptor >= 0:  # else it has been closed
            os.dup2(dead.fileno(), descriptor, inheritable=False)
    dead.close()


def has_forked() -> bool:
    """Whether this process has forked others, which have its listening sockets as well (gevent's ``fork()``, say)."""
    return _parent.pid == os.getpid()


class _Parent:
    """The process that has forked last, of this one and its ancestors."""

    pid = 0

    def remember(self) -> None:
        self.pid = os.getpid()


def _tell_owners() -> None:
    for owner in list(_owners):
        try:
            owner.after_fork()
        except Exception:  # the others must let go all the same
            logger.exception("%r could not be made a forked child's", owner)


_owners: WeakSet[Forkable] = WeakSet()
_parent = _Parent()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_tell_owners, after_in_parent=_parent.remember)
