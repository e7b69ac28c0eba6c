"""A program that ends tells its peers: nobody does it in its place, as the kernel does for TCP."""

from __future__ import annotations

import atexit
from collections.abc import Callable
from functools import partial
from typing import Protocol
from weakref import ref


class HasConnections(Protocol):
    """A :class:`Listener` or a :class:`Dialler`."""

    def hang_up(self) -> None:
        """End all connections that there are."""


def hang_up_at_exit(home: HasConnections) -> Callable[[], None]:
    """Have ``home.hang_up()`` called when the program ends in good order; call what is returned to undo that."""
    at_exit = partial(_hang_up, ref(home))
    atexit.register(at_exit)
    return partial(atexit.unregister, at_exit)


def _hang_up(home: ref[HasConnections]) -> None:
    found = home()
    if found is not None:
        found.hang_up()
