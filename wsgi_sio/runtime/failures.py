"""What application code may raise that is a failure of its own, and ends nothing else."""

from __future__ import annotations

# sys.exit() in a handler must end neither its thread nor, as it would under gevent, the server of all clients.
FAILURES: tuple[type[BaseException], ...] = (Exception, SystemExit)
