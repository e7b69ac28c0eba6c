"""``wsgi_sio.Server``: the server of ``socketio``, with the adapter that it has unless it is given one."""

from __future__ import annotations

from collections.abc import Callable

from .adapters import Adapter
from .cluster.workers.recovering_workers_adapter import recovering_workers
from .cluster.workers.workers_adapter import workers
from .socketio import server as core_server
from .socketio.namespace import Namespace


class Server(core_server.Server):
    __doc__ = core_server.Server.__doc__

    # The choice is made here, above cluster/, so that nothing has to be imported upwards for it. It is every server's
    # that an application can have: tests/test_architecture.py sees to it that the frameworks take this class.
    def _default_adapter(self) -> Callable[[Namespace], Adapter]:
        if self.engine.config.siblings is False:
            return super()._default_adapter()
        return workers(self) if self.recovery is None else recovering_workers(self, self.recovery)
