"""How long a request may wait in the WSGI server's own thread, so that the server goes on serving everybody.

A request whose connection cannot be moved (hijack.py) holds a thread, or a greenlet of a bounded pool, for as long as
it waits; four of them, and waitress with its default of four threads serves nobody else.  So only some may wait as long
as they like: a quarter of the pool, at least one, stays free.  The other waiting clients share what is left, in turns
so short that whoever comes (a page, a POST) is served after at most ``_TURN`` seconds: each of them polls about once in
that time, however many they are.  Then polling costs the more, the more clients there are; the log says so, once.

Where the size of the pool cannot be found out (wsgi_pool_size.py) it is learned: so many requests as have been seen at
once, it runs at once.
"""

from __future__ import annotations

from collections.abc import Callable

from ..runtime import Rank, make_lock
from .config import Environ
from .log_messages import Report, no_thread_left, threads_used_up
from .wsgi_pool_size import Pool, find_pool, setting_of

# How long whoever comes may have to wait when the pool is used up (seconds).
_TURN = 0.3
# After so many short turns the pool is used up for good, and the log is told; and after so many with nothing learned,
# where its size is not known: one client is at it for longer than from ping to ping, which may show one request more.
_TURNS = 10
_TURNS_LEARNING = 100


class Capacity:
    """What one process's WSGI server bears.

    :param clients: how many sessions there are.
    :param report: tells the log what is refused and how to allow it; see :meth:`EngineServer.report`.
    """

    def __init__(self, clients: Callable[[], int], report: Callable[[str, str], None]) -> None:
        self._clients = clients
        self._report = report
        self._lock = make_lock(Rank.LEAF)
        self._waiting = 0  # requests that wait in their thread at present
        self._long = 0  # those of them that do so without being hurried
        self._seen = 1  # the most requests that have been seen at once
        self._turns = 0  # short ones since something was learned

    def notice(self) -> None:
        """A request of whatever kind is being served, whoever waits."""
        if self._waiting >= self._seen:
            with self._lock:
                self._learn_locked(self._waiting + 1)

    def wait(self, environ: Environ, longest: float, least: float = 0.0) -> Wait:
        """Wait, inside the ``with``, in the thread of the request of ``environ``: for as many seconds as it says.

        :param longest: how long it would wait at best, in seconds.
        :param least: how long at worst.
        """
        return Wait(self, environ, longest, least)

    def begin(self, environ: Environ, longest: float) -> tuple[float, bool]:
        """A request begins to wait: for how long it may, and whether without being hurried; :meth:`end` undoes it."""
        pool = find_pool(environ)
        with self._lock:
            self._waiting += 1
            self._learn_locked(self._waiting)
            long = self._room_locked(pool)
            self._long += long
            seconds, advice = (longest, None) if long else self._turn_locked(pool, environ)
        try:
            if advice is not None:
                self._report(*advice)
        except BaseException:
            self.end(long)
            raise
        return seconds, long

    def end(self, long: bool) -> None:
        """It waits no more."""
        with self._lock:
            self._waiting -= 1
            self._long -= long

    def has_room(self, environ: Environ) -> bool:
        """Whether a WebSocket could hold the thread of the request of ``environ`` for its whole life."""
        pool = find_pool(environ)
        with self._lock:
            room = self._room_locked(pool)
        self._tell_of_websockets(room)
        return room

    def occupy(self, environ: Environ) -> bool:
        """Let a WebSocket hold its thread, if there is room, until :meth:`leave`."""
        room = self.hold(find_pool(environ))
        self._tell_of_websockets(room)
        return room

    def hold(self, pool: Pool | None) -> bool:
        """Let a client hold a thread of ``pool``, if there is room, until :meth:`leave`."""
        with self._lock:
            room = self._room_locked(pool)
            self._waiting += room
            self._long += room
        return room

    def leave(self) -> None:
        """Undo a successful :meth:`occupy` or :meth:`hold`."""
        self.end(long=True)

    def _tell_of_websockets(self, room: bool) -> None:
        if not room:
            self._report(*no_thread_left(self._long))

    def _learn_locked(self, seen: int) -> None:
        if seen > self._seen:
            self._seen = seen
            self._turns = 0

    def _room_locked(self, pool: Pool | None) -> bool:
        if pool is None:
            return self._long < self._seen - 1
        return pool.size is None or self._long < pool.size - max(1, pool.size // 4)

    def _turn_locked(self, pool: Pool | None, environ: Environ) -> tuple[float, Report | None]:
        """How long one may wait of those that share what is left; what to tell the log, if it is time."""
        size = self._seen if pool is None or pool.size is None else pool.size
        clients = max(self._clients(), self._waiting)
        self._turns += 1
        advice = None
        if self._turns == (_TURNS_LEARNING if pool is None else _TURNS):
            advice = threads_used_up(clients, size, _TURN, setting_of(environ) if pool is None else pool.setting)
        return _TURN * (size - self._long) / max(1, clients - self._long), advice


class Wait:
    """What :meth:`Capacity.wait` returns.

    It is no generator: one that is left unfinished, with its greenlet or thread, is finished by the garbage collector,
    at any moment, under whatever lock; and the end of a wait takes one.
    """

    __slots__ = ("_capacity", "_environ", "_least", "_long", "_longest")

    def __init__(self, capacity: Capacity, environ: Environ, longest: float, least: float) -> None:
        self._capacity = capacity
        self._environ = environ
        self._longest = longest
        self._least = least
        self._long = False

    def __enter__(self) -> float:
        seconds, self._long = self._capacity.begin(self._environ, self._longest)
        return min(self._longest, max(self._least, seconds))

    def __exit__(self, *_: object) -> None:
        self._capacity.end(self._long)
