"""Whether, when and as whom this process joins its siblings.

That is once, and never when an application is imported: as a gunicorn worker begins, else with the first request that
comes, a page's beside it, or the first broadcast.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import partial
from weakref import WeakSet

from ...runtime import Event, Rank, make_lock, threads_are_greenlets
from ...siblings import Alone, ServerIdentity, Siblings, before_serving, identify_server, make_directory
from ..config import Environ
from ..hijack import find_socket
from ..interfaces import Engine
from ..log_messages import no_siblings
from .forwarder import Forwarder
from .load_balancing import NO_ROOM, LoadBalancer
from .receiver import Receiver

logger = logging.getLogger("wsgi_sio.engineio")

# How long the siblings have to answer before the first session begins, and how long other requests wait for that
# (seconds).
_PATIENCE = 1.0
_LONGEST = 3.0


class Company:
    """The siblings of this process, and what goes on between it and them."""

    def __init__(self, engine: Engine, siblings: Siblings) -> None:
        self.siblings = siblings
        self.receiver = Receiver(engine, siblings)
        self.forwarder = Forwarder(engine, siblings)
        self.load_balancer = LoadBalancer(engine, siblings, self.forwarder, self.receiver)


class Joining:
    """See the module's text.

    :ivar company: the siblings, from the moment when they can know of us; None before, and where there can be none.
    :ivar settled: whether that is decided.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._path: str = engine.config.path
        self._ordinal: int = 1 + max((other._ordinal for other in _all if other._path == self._path), default=-1)
        self._made_in = os.getpid()
        self._listeners: tuple[Callable[[Siblings], None], ...] = ()
        self.company: Company | None = None
        self._inherited = False
        self._serves = False
        self._left = False
        self.after_fork()
        _all.add(self)

    def after_fork(self) -> None:
        """Be alone, until the process serves."""
        self._lock = make_lock(Rank.LEAF)
        self._under_way: Event | None = None
        self._begun = False
        company, self.company = self.company, None
        self._inherited |= company is not None  # this is a child of a process that serves, or a child's
        if company is not None:
            company.forwarder.after_fork()
        self.settled = self._engine.config.siblings is False
        if self._serves:
            self._begin_with_the_worker()

    def before(self, listener: Callable[[Siblings], None]) -> None:
        """Call ``listener`` when this process, or after a fork another, is about to join its siblings."""
        self._listeners = (*self._listeners, listener)

    def serve(self) -> None:
        """An application that serves has been made: under gunicorn join when its worker is about to begin.

        Where nothing says when that is, the first request does.
        """
        if not self._serves:
            self._serves = True
            self._begin_with_the_worker()

    def _begin_with_the_worker(self) -> None:
        if not self.settled:
            before_serving(lambda: self._begin(None))

    def begin(self, environ: Environ) -> None:
        """Join beside the request of ``environ``, a page's: who serves nothing else is to be given sessions as well.

        Where this process seems to be alone nothing is made, nor said: that is for a request of the engine's.
        """
        if not (self.settled or self._begun or is_unpatched_gevent(environ)):
            self._begin(environ)

    def _begin(self, environ: Environ | None) -> None:
        if self._begun:  # a worker's start may be told twice
            return
        self._begun = True
        try:
            place = self._choose_place(environ)
            if isinstance(place, ServerIdentity):
                self._engine.reactor.submit(partial(self._settle, lambda: place, serves=True))
            else:
                self._begun = environ is not None
        except (OSError, RuntimeError) as error:  # no descriptor or thread is left, perhaps; a page needs none
            logger.debug("siblings are not joined yet: %s", error)

    def settle(self, environ: Environ | None = None) -> None:
        """Join, if there may be siblings; may block for as long as that takes, but for those who must not.

        :param environ: of the process's first request; without one that may have to wait for it: so has the child of a
            process that serves, which is none of the siblings unless it serves as well.
        """
        if environ is None and (self._inherited or self._left):
            return
        serves = environ is not None or self._engine.config.siblings is True
        self._settle(partial(self._choose_place, environ), serves, for_good=environ is not None)

    def leave(self) -> None:
        """Have no siblings any more, unless a request comes: it may be for a session of theirs. May block a second."""
        with self._lock:
            self._left = True
            if self._under_way is not None:  # for such a request
                return
            company, self.company = self.company, None
            if company is not None:
                self.settled = False
        if company is not None:
            company.siblings.leave()

    def _settle(self, choose: Callable[[], ServerIdentity | Alone | None], serves: bool, for_good: bool = True) -> None:
        """:param for_good: whether it is decided if there is no place."""
        reactor = self._engine.reactor
        with self._lock:
            under_way, first = self._under_way, self._under_way is None
            if self.settled:
                return
            if under_way is None:
                under_way = self._under_way = reactor.event()
        if not first:
            if reactor.may_wait():
                reactor.wait(under_way, _LONGEST)
            return
        company, settled = None, True
        try:
            place = choose()
            if isinstance(place, ServerIdentity):
                company = self._join(partial(make_directory, place.name, self._path, self._ordinal), serves)
            else:
                settled = for_good
                if isinstance(place, Alone) and place.missed:
                    self._report(place.why)
        except OSError as error:
            self._report(error)
        finally:
            with self._lock:
                self.company, self.settled, self._under_way = company, settled, None
            under_way.set()

    def _choose_place(self, environ: Environ | None) -> ServerIdentity | Alone | None:
        """Where siblings meet, or why there are none; None: that cannot be seen without a request."""
        client = None if environ is None else find_socket(environ)
        handed_down = os.getpid() != self._made_in
        return identify_server(environ, client, self._engine.config.siblings, handed_down=handed_down)

    def _report(self, why: object) -> None:
        """There are siblings that cannot be reached; an adapter that does is as good as its clients are sticky."""
        if self._engine.is_alone():
            self._engine.report(*no_siblings(why))

    def _join(self, find_directory: Callable[[], str], serves: bool) -> Company:
        reactor = self._engine.reactor
        siblings = Siblings(reactor, find_directory(), make_directory=find_directory)
        company = Company(self._engine, siblings)
        for listener in self._listeners:
            listener(siblings)
        self.company = company  # siblings may give us clients before all have answered, and their ids need our tag
        if self._engine.handshakes.closed:
            siblings.tell_draining()
        # A client that came before all know of us would miss what they broadcast.
        siblings.tell_load(NO_ROOM)
        siblings.join(_PATIENCE if reactor.may_wait() else 0.0)
        if serves:  # else when it has a session of its own
            siblings.tell_load(len(self._engine.sessions))
        logger.debug("joined %d other processes of this server", len(siblings.links()))
        return company


def is_unpatched_gevent(environ: Environ) -> bool:
    """Whether gevent serves without having been patched in."""
    return environ.get("SERVER_SOFTWARE", "").startswith("gevent/") and not threads_are_greenlets()


_all: WeakSet[Joining] = WeakSet()
