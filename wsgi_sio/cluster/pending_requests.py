"""What a server has asked the others of its cluster, and who has not answered yet.

Each method ending in ``_locked`` decides under its table's lock and returns what is to be done after unlocking.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar, Union

from ..exceptions import AckTimeout
from ..runtime import Rank, Reactor, Timer, make_lock

if TYPE_CHECKING:
    from ..socketio.acks import Done
    from ..socketio.adapter import AckCollector

# The uids of the other servers; where only their number is known, that.
Others = Union[frozenset[str], int]
Act = Callable[[], object]


class RollCall:
    """Which of the others have answered; each counts once, however often it does.

    :ivar missing: how many have not.
    """

    __slots__ = ("_answered", "_count", "_names", "missing")

    def __init__(self, others: Others) -> None:
        self._names = None if isinstance(others, int) else others
        self._count = self.missing = others if isinstance(others, int) else len(others)
        self._answered: set[str] = set()

    def answer(self, uid: str) -> bool:
        """Note that ``uid`` has answered; False when it had before."""
        if uid in self._answered:
            return False
        self._answered.add(uid)
        if self.missing and (self._names is None or uid in self._names):
            self.missing -= 1
        return True

    def excuse(self, uid: str) -> bool:
        """Do not wait for ``uid`` any more; False when nobody did."""
        return self._names is not None and uid in self._names and self.answer(uid)

    def shortfall(self) -> str:
        """The reference's words for what is missing."""
        if self._names is not None:
            return f"timeout reached: missing {self.missing} responses"
        return f"timeout reached: only {self._count - self.missing} responses received out of {self._count}"


class Request(ABC):
    """What a table of requests holds.

    :ivar timer: ends it.
    """

    __slots__ = ("_roll", "timer")

    def __init__(self, others: Others) -> None:
        self._roll = RollCall(others)
        self.timer: Timer | None = None

    @abstractmethod
    def complete(self) -> bool:
        """Whether nothing more is to come."""

    @abstractmethod
    def excuse_locked(self, uid: str) -> Act | None:
        """A server has left the cluster: it will not answer any more."""

    @abstractmethod
    def give_up(self, error: Exception | None) -> None:
        """Not all have answered, for this reason, or (None) because the time is over."""


class Question(Request):
    """Asks each of the others for some answers.

    :param done: told (error or None, answers) once.
    :param answers: those that are known already.
    """

    __slots__ = ("_answers", "_done")

    def __init__(self, others: Others, done: Done, answers: list[Any]) -> None:
        super().__init__(others)
        self._done = done
        self._answers = answers

    def complete(self) -> bool:
        return self._roll.missing == 0

    def answer_locked(self, uid: str, answers: list[Any]) -> Act | None:
        """``uid`` has answered."""
        if self._roll.answer(uid):
            self._answers.extend(answers)
        return self._done_locked()

    def excuse_locked(self, uid: str) -> Act | None:
        return self._done_locked() if self._roll.excuse(uid) else None

    def _done_locked(self) -> Act | None:
        return partial(self._done, None, self._answers) if self.complete() else None

    def give_up(self, error: Exception | None) -> None:
        answers = list(self._answers)
        self._done(error or AckTimeout(self._roll.shortfall(), answers), answers)


class AckRequest(Request):
    """Asks the clients of the others for acknowledgements.

    :param acks: collects them; it has a time-out of its own.
    """

    __slots__ = ("_acks", "_owed", "_seen")

    def __init__(self, others: Others, acks: AckCollector) -> None:
        super().__init__(others)
        self._acks = acks
        self._owed: dict[str, int] = {}  # how many acknowledgements each server's clients still owe
        self._seen: set[tuple[str, int | None]] = set()
        acks.await_servers(self._roll.missing)

    def complete(self) -> bool:
        # Their sum, since some servers do not say whose answers they send.
        return self._roll.missing == 0 and not sum(self._owed.values())

    def count_locked(self, uid: str, clients: int) -> Act | None:
        """``uid`` has asked so many clients."""
        missing = self._roll.missing
        if not self._roll.answer(uid):
            return None
        self._owed[uid] = self._owed.get(uid, 0) + clients
        # One that nobody knew of has joined meanwhile: it counts as well.
        newcomers = 0 if self._roll.missing < missing else 1
        return partial(self._count, newcomers, clients)

    def _count(self, newcomers: int, clients: int) -> None:
        self._acks.await_servers(newcomers)
        self._acks.server_asked(clients)

    def ack_locked(self, uid: str, number: int | None, args: list[Any]) -> Act | None:
        """One of its clients has acknowledged.

        :param number: tells its acknowledgements apart; servers of other kinds do not number them.
        """
        if number is not None and (uid, number) in self._seen:
            return None
        self._seen.add((uid, number))
        self._owed[uid] = self._owed.get(uid, 0) - 1
        return partial(self._acks.answer, args)

    def excuse_locked(self, uid: str) -> Act | None:
        if self._roll.excuse(uid):
            return partial(self._acks.server_asked, 0)
        owed = self._owed.pop(uid, 0)
        return partial(self._acks.server_gone, owed) if owed > 0 else None

    def give_up(self, error: Exception | None) -> None:
        """See ``acks``."""


AnyRequest = TypeVar("AnyRequest", bound=Request)


class Requests(Generic[AnyRequest]):
    """Open requests by their ids; none stays longer than its time."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._lock = make_lock(Rank.ADAPTER)
        self._open: dict[str, AnyRequest] = {}

    def __len__(self) -> int:
        return len(self._open)

    def __contains__(self, request_id: object) -> bool:
        return request_id in self._open

    def add(self, request: AnyRequest, timeout: float) -> str:
        """Keep a request for up to ``timeout`` seconds; its id, which nobody may learn before this returns."""
        request_id = secrets.token_hex(8)
        with self._lock:
            self._open[request_id] = request
        request.timer = self._reactor.expire_after(timeout, partial(self.give_up, request_id))
        return request_id

    def update(self, request_id: str, change: Callable[[AnyRequest], Act | None]) -> None:
        """Something has come for a request; nothing happens when it is not open any more."""
        with self._lock:
            acts = self._change_locked(request_id, change)
        for act in acts:
            act()

    def excuse(self, uid: str) -> None:
        """A server has left the cluster."""
        with self._lock:
            acts = [act for rid in list(self._open) for act in self._change_locked(rid, lambda r: r.excuse_locked(uid))]
        for act in acts:
            act()

    def _change_locked(self, request_id: str, change: Callable[[AnyRequest], Act | None]) -> list[Act]:
        request = self._open.get(request_id)
        act = None if request is None else change(request)
        if request is None or act is None:
            return []
        if not request.complete():
            return [act]
        del self._open[request_id]
        return [act] if request.timer is None else [request.timer.cancel, act]

    def give_up(self, request_id: str, error: Exception | None = None) -> None:
        """End a request before it is complete; see :meth:`Request.give_up`."""
        with self._lock:
            request = self._open.pop(request_id, None)
        if request is not None:
            if request.timer is not None:
                request.timer.cancel()
            request.give_up(error)

    def close(self, error: Exception) -> None:
        """End all."""
        for request_id in list(self._open):
            self.give_up(request_id, error)
