"""Where the processes of a run report to, and get their orders from."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from tests.chaos.tasks import Tasks

_LONGEST = 1 << 20  # bytes of a record


class Switchboard:
    """Takes the lines of the server and the crews.

    :param take: gets each record, but those that are for the run itself.
    :ivar heard: when each process has been heard last.
    """

    def __init__(self, take: Callable[[list[Any]], None]) -> None:
        self.port = 0
        self.heard: dict[str, float] = {}
        self._take = take
        self._lines: dict[str, asyncio.StreamWriter] = {}
        self._seen: dict[str, asyncio.Event] = {"resting": asyncio.Event()}
        self._listener: asyncio.Server | None = None
        self._serving = Tasks()

    async def start(self) -> None:
        """Listen."""
        self._listener = await asyncio.start_server(self._serving.of(self._serve), "127.0.0.1", 0, limit=_LONGEST)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def joined(self, name: str, timeout: float) -> None:
        """Wait for a process to call."""
        event = self._seen.setdefault(name, asyncio.Event())
        await asyncio.wait_for(event.wait(), timeout)

    def order(self, name: str, *order: Any) -> None:
        """Tell a process what to do."""
        self._lines[name].write(json.dumps(order).encode() + b"\n")

    async def rest(self, timeout: float) -> None:
        """Have the server send nothing by itself; when this returns, all that it has reported so far has been taken."""
        resting = self._seen["resting"]
        resting.clear()
        self.order("server", "rest")
        await asyncio.wait_for(resting.wait(), timeout)

    async def close(self) -> None:
        """End all lines."""
        if self._listener is not None:
            self._listener.close()
        for writer in self._lines.values():
            writer.close()
        await self._serving.join()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name = ""
        with suppress(OSError):
            while text := await reader.readline():
                record = json.loads(text)
                if record[0] == "hello":
                    name = record[1]
                    self._lines[name] = writer
                    self._seen.setdefault(name, asyncio.Event()).set()
                elif record[0] == "resting":
                    self._seen["resting"].set()
                elif record[0] != "alive":
                    self._take(record)
                self.heard[name] = time.monotonic()
