"""The promises, and whether they were kept.

Of what the server sends, within one life of a client (from a connection that was not recovered to the next such one,
all recovered ones between included):

* ``mail`` (to the client's own room, from a background task), ``gift`` (from a handler of the client), ``room`` and
  ``crowd`` (to rooms that it joined): each number comes, once, in order, from the life's first to the last.
* ``everybody`` (to the whole namespace): the same; the numbers go on over all lives, so one that is not the next proves
  a loss as soon as something comes that only the present life can get.
* ``maybe`` (volatile): numbers only grow.
* ``ask`` (with acknowledgement, hence never recovered): within one connection each number comes, once, in order; what
  the client answered is what the server is told.

Of what a client sends (``put``), whose numbers go on for ever:

* Within one connection the next number handled is the next one sent.
* None is handled twice.
* What was emitted while there was no connection is not lost with the connection before: the first number handled on a
  new one is not higher than the first number emitted since ("unsent", see :mod:`tests.chaos.sending`).
* What was acknowledged has been handled.
* With ``retries``: nothing is left out; a number may come again.

And:

* "ping timeout" is the end only of clients that could not be heard.
* Nothing that arrives differs from what was sent.
* When nothing disturbs any more, every client is connected, is answered again, and has everything.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Any

# Why a client ends a session by itself: what the server thinks of it after that is nobody's fault.
OWN_REASONS = frozenset(("ping timeout", "transport error", "io client disconnect", "forced close"))
# How many of a client's connections are remembered: the present one, and some whose handlers are not through.
_REMEMBERED = 8
# How much of what happened to a client goes into the report.
_HISTORY = 10


class Sequence:
    """Numbers that have to come one after the other.

    :param first: the first one; None for any.
    :ivar last: the highest so far, or the one before the first.
    """

    def __init__(self, first: int | None = None) -> None:
        self.last = None if first is None else first - 1
        self._missing: set[int] = set()

    def see(self, number: int) -> str | None:
        """Take the next number; what is wrong about it."""
        last = self.last
        if last is None or number == last + 1:
            self.last = number
            return None
        if number > last:
            self._missing.update(range(last + 1, number))
            self.last = number
            return f"{number} came after {last}: {number - last - 1} lost, or late"
        if number in self._missing:
            self._missing.remove(number)
            return f"{number} came after {last}: late, hence out of order"
        return f"{number} came again, after {last}"


class Tally:
    """Which numbers have been there, in any order; small as long as few are left out."""

    def __init__(self) -> None:
        self.last = -1
        self._missing: set[int] = set()

    def add(self, number: int) -> bool:
        """Take a number; False when it has been there."""
        if number in self:
            return False
        self._missing.update(range(self.last + 1, number))
        self._missing.discard(number)
        self.last = max(self.last, number)
        return True

    def __contains__(self, number: int) -> bool:
        return number <= self.last and number not in self._missing


class Connection:
    """One connection of a client, as the server sees it.

    :param unsent: numbers from this one on have not been sent over another connection.
    """

    def __init__(self, unsent: int) -> None:
        self.unsent = unsent
        self.last: int | None = None


class ClientBook:
    """What one client sent and got.

    :param retries: whether it sends again what was not acknowledged.
    :param blame: told which promise was broken, and how.
    :ivar calm_after: the time after which it is heard, as far as we know.
    """

    def __init__(self, key: str, retries: bool, blame: Callable[[str, str], None]) -> None:
        self.key = key
        self.retries = retries
        self.calm_after = 0.0
        self.blame = blame
        # What comes.
        self._lives: dict[str, Sequence] = {}
        self._everybody = Sequence()
        self._gap = ""  # of "everybody", which the next life may explain
        self._maybe = -1
        self._asks: tuple[int, Sequence] = (-1, Sequence())
        # What goes.
        self._connections: dict[int, Connection] = {}
        self._handled = Tally()
        self._acknowledged: set[int] = set()  # not known to be handled
        self._settled: tuple[int, dict[str, int]] | None = None

    # -- what it gets -------------------------------------------------------------------------------------------

    def welcomed(self, first: dict[str, int]) -> None:
        """A new life begins, in which these numbers are the first of their kinds."""
        self._lives = {kind: Sequence(number) for kind, number in first.items()}
        self._everybody = self._lives["everybody"]
        self._gap = ""

    def got(self, kind: str, number: int) -> None:
        """A numbered event has come."""
        if kind == "maybe":
            if number <= self._maybe:
                self.blame("order", f"volatile {number} came after {self._maybe}")
            self._maybe = max(self._maybe, number)
        elif kind == "everybody":
            last = self._everybody.last
            wrong = self._everybody.see(number)
            if wrong and last is not None and number <= last:
                self.blame("order", f"everybody {wrong}")
            elif wrong:
                self._gap = self._gap or wrong
        elif kind not in self._lives:
            self.blame("order", f"{kind} {number} came before the welcome")
        else:
            self._explain_gap()
            wrong = self._lives[kind].see(number)
            if wrong:
                self.blame("order", f"{kind} {wrong}")

    def got_ask(self, connection: int, first: int, number: int) -> None:
        """An event that wants an answer has come: over which connection, and the first number there."""
        if self._asks[0] != connection:
            self._asks = connection, Sequence(first)
        wrong = self._asks[1].see(number)
        if wrong:
            self.blame("order", f"ask {wrong}, over connection {connection}")

    def _explain_gap(self) -> None:
        if self._gap:
            self.blame("order", f"everybody {self._gap}")
            self._gap = ""

    # -- what it sends ------------------------------------------------------------------------------------------

    def came(self, connection: int, unsent: int) -> None:
        """The server has let it in."""
        self._connections[connection] = Connection(unsent)
        if len(self._connections) > _REMEMBERED:
            del self._connections[min(self._connections)]

    def handled(self, number: int, over: int) -> None:
        """The server's handler has run for a number, over a connection."""
        new = self._handled.last + 1
        fresh = self._handled.add(number)
        if self.retries:
            if number > new:
                self.blame("retries", f"{number} handled after {new - 1}: {number - new} left out")
            return
        if not fresh:
            self.blame("once", f"{number} handled again, over connection {over}")
        connection = self._connections.get(over)
        if connection is None:
            self.blame("order", f"{number} handled over connection {over}, which is not known")
            return
        last, connection.last = connection.last, number
        if last is None:
            if number > connection.unsent:
                self.blame("buffer", f"{number} is the first handled over connection {over}, not {connection.unsent}")
        elif number != last + 1:
            self.blame("order", f"{number} handled after {last}, over connection {over}")

    def acknowledged(self, number: int) -> None:
        """The client got the acknowledgement of a number; the server's report may come later."""
        if number not in self._handled:
            self._acknowledged.add(number)

    # -- the end ------------------------------------------------------------------------------------------------

    def settled(self, count: int, last: dict[str, int]) -> None:
        """Nothing is under way any more: how many numbers the client has sent, and the last ones sent to it."""
        self._settled = count, last

    def balance(self) -> None:
        """Everything has to be there now; begins anew."""
        settled, self._settled = self._settled, None
        if settled is None:
            self.blame("settling", "it was not answered again")
            return
        count, last = settled
        self._explain_gap()
        for kind, number in last.items():
            seen = self._lives[kind].last if kind in self._lives else None
            if seen != number:
                self.blame("order", f"{kind} {number} was the last one sent, {seen} the last one that came")
        if self._handled.last != count - 1:
            self.blame("order", f"{count - 1} was the last one sent, {self._handled.last} the last one handled")
        for number in self._acknowledged:
            if number not in self._handled:
                self.blame("once", f"{number} was acknowledged, but not handled")
        self._acknowledged.clear()


class Ledger:
    """All clients' books, fed with the records of all processes.

    :param suspicion: seconds after a disturbance for which a client may be taken for dead.
    :ivar counts: of the records by kind.
    :ivar ends: how connections ended, by the server's reasons.
    :ivar violations: how many of each promise.
    :ivar examples: the first violations, in words.
    """

    MOST_EXAMPLES = 40

    def __init__(self, suspicion: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._suspicion = suspicion
        self._clock = clock
        self._began = clock()
        self._books: dict[str, ClientBook] = {}
        self._histories: dict[str, deque[str]] = {}  # what happened last to each, for the report
        self._calm_after = 0.0
        self.counts: Counter[str] = Counter()
        self.ends: Counter[str] = Counter()
        self.violations: Counter[str] = Counter()
        self.examples: list[str] = []

    def enter(self, key: str, retries: bool, title: str) -> None:
        """A client is going to come; ``title`` is what the report calls it."""
        history = self._histories[key] = deque(maxlen=_HISTORY)

        def blame(promise: str, text: str) -> None:
            self.blame(promise, f"client {title}: {text}; before: {', '.join(history)}")

        self._books[key] = ClientBook(key, retries, blame)

    def forget(self, key: str) -> None:
        """A client has been killed: what it did not get is not asked for."""
        self._books.pop(key, None)
        self._histories.pop(key, None)

    def blame(self, promise: str, text: str) -> None:
        """A promise was broken."""
        self.violations[promise] += 1
        if len(self.examples) < self.MOST_EXAMPLES:
            self.examples.append(f"{self._age():.1f} s: {promise}: {text}")

    def disturbed(self, key: str, what: str, seconds: float = 0.0) -> None:
        """A client cannot be heard for so long, and may be taken for dead for a while."""
        book = self._books.get(key)
        if book is not None:
            book.calm_after = max(book.calm_after, self._clock() + seconds + self._suspicion)
            self.note(key, what)

    def note(self, key: str, what: str) -> None:
        """Something has happened to a client that does not keep it from being heard."""
        if key in self._histories:
            self._histories[key].append(f"{self._age():.1f} s {what}")

    def _age(self) -> float:
        return self._clock() - self._began

    def all_disturbed(self) -> None:
        """This machine is late: whoever is taken for dead now may well have been silent."""
        self._calm_after = self._clock() + self._suspicion

    def balance(self, keys: Iterable[str]) -> None:
        """Nothing is under way any more: hold the promises against each other."""
        for key in keys:
            self._books[key].balance()

    # -- records ------------------------------------------------------------------------------------------------

    def take(self, record: list[Any]) -> None:
        """Note what a process has reported: a kind, the client's key, and more."""
        kind, key, *values = record
        self.counts[kind] += 1
        book = self._books.get(key)
        if book is not None:
            getattr(self, f"_on_{kind}")(book, *values)

    def _on_connected(self, book: ClientBook, recovered: bool, transport: str) -> None:
        how = "recovered" if recovered else "fresh"
        self.counts[how] += 1
        self.note(book.key, f"{how} over {transport}")

    def _on_disconnected(self, book: ClientBook, reason: str) -> None:
        if reason in OWN_REASONS:
            self.disturbed(book.key, f"ended it: {reason}")
        else:
            self.note(book.key, f"lost it: {reason}")

    def _on_welcome(self, book: ClientBook, first: dict[str, int]) -> None:
        book.welcomed(first)

    def _on_got(self, book: ClientBook, kind: str, number: int) -> None:
        book.got(kind, number)

    def _on_asked(self, book: ClientBook, connection: int, first: int, number: int) -> None:
        book.got_ask(connection, first, number)

    def _on_spoilt(self, book: ClientBook, what: str) -> None:
        book.blame("content", what)

    def _on_acknowledged(self, book: ClientBook, number: int) -> None:
        book.acknowledged(number)

    def _on_settled(self, book: ClientBook, count: int, last: dict[str, int]) -> None:
        book.settled(count, last)

    def _on_came(self, book: ClientBook, connection: int, unsent: int) -> None:
        book.came(connection, unsent)
        self.note(book.key, f"came as {connection}")

    def _on_handled(self, book: ClientBook, connection: int, number: int) -> None:
        book.handled(number, connection)

    def _on_answered(self, book: ClientBook, number: int, answer: Any) -> None:
        if answer != number:
            book.blame("content", f"ask {number} was answered with {answer!r}")

    def _on_left(self, book: ClientBook, connection: int, reason: str) -> None:
        self.ends[reason] += 1
        self.note(book.key, f"left as {connection}: {reason}")
        if reason == "ping timeout" and self._clock() > max(book.calm_after, self._calm_after):
            book.blame("patience", "taken for dead (ping timeout), though nothing kept it from being heard")
