"""The tasks that serve connections: none is left when their listener is closed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

_PATIENCE = 5.0  # seconds

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Tasks:
    """Remembers what runs."""

    def __init__(self) -> None:
        self._running: set[asyncio.Future[None]] = set()
        self._error: BaseException | None = None

    def start(self, work: Awaitable[None]) -> None:
        """Run it beside the others."""
        task = asyncio.ensure_future(work)
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Future[None]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            self._error = self._error or task.exception()

    def of(self, serve: Serve) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]:
        """What a listener is to call for each connection."""
        return lambda reader, writer: self.start(serve(reader, writer))

    async def join(self, timeout: float | None = _PATIENCE) -> None:
        """Wait for all of them; those that go on are cancelled. Raises what the first that failed has raised."""
        if self._running:
            _, late = await asyncio.wait(set(self._running), timeout=timeout)
            for task in late:
                task.cancel()
        if self._error is not None:
            raise self._error
