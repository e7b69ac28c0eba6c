"""gunicorn's configuration for ``tests/live/test_drain*.py``; ``DRAIN`` has the arguments of the hooks as JSON."""

from __future__ import annotations

import json
import os

from wsgi_sio.gunicorn import drain_hooks

OPTIONS = {"server": "tests.apps.draining:io", **json.loads(os.environ["DRAIN"])}

post_worker_init, worker_int, worker_exit = drain_hooks(**OPTIONS)
