"""The half of a session that sends: who writes, in which order, and who is held back.

Whoever finds the transport idle takes it over (the "flush baton") and writes at once in its own thread, without
blocking; whoever finds it busy appends to the write buffer (write_buffer.py), which the writer empties before it lets
go.  So packets leave in the order of ``send``, a batch stays together, and no I/O thread ever waits for a slow client.
``transport.idle`` and the buffer are guarded by the session's lock, and an idle transport means an empty buffer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from ..compiled import mypyc_attr
from ..runtime import Event, Rank, Reactor, make_lock, wait_patiently
from .config import EngineConfig
from .heartbeat import Heartbeat
from .held_sessions import HeldSessions
from .log_messages import slow_client, stuck_client
from .packet import MESSAGE, PING, Packet
from .transport import Transport
from .write_buffer import WriteBuffer

OPEN, CLOSING, CLOSED = range(3)

_PING = Packet(PING)

# For how long, and up to how many bytes, packets are held to be sent with others (seconds).
_HOLD, _MOST_HELD = 0.001, 65536


class SessionServer(Protocol):
    """What a session asks of its server, an :class:`EngineServer`."""

    @property
    def config(self) -> EngineConfig: ...

    @property
    def reactor(self) -> Reactor: ...

    @property
    def heartbeat(self) -> Heartbeat: ...

    @property
    def held_sessions(self) -> HeldSessions: ...

    def report(self, kind: str, text: str) -> None: ...

    def forget(self, session: Any) -> None: ...


@mypyc_attr(allow_interpreted_subclasses=True)
class SessionWriter(ABC):
    """See the module's text; the other half is :class:`Session`.

    :ivar transport: the present transport.
    :ivar lock: guards all fields of both halves.
    :ivar held: the time (monotonic) since when packets wait for :meth:`release`; 0: none do.
    """

    __slots__ = ("_server", "_state", "_write_buffer", "held", "lock", "transport")

    def __init__(self, server: SessionServer) -> None:
        self.transport: Transport
        self.lock = make_lock(Rank.SESSION)
        self._server = server
        self._state = OPEN
        self._write_buffer = WriteBuffer(server.config.max_outbox)
        self.held = 0.0

    @property
    def open(self) -> bool:
        """Whether packets may still be sent and received."""
        return self._state == OPEN

    @property
    def config(self) -> EngineConfig:
        """The options of its server."""
        return self._server.config

    @property
    def outbox_size(self) -> int:
        """Bytes of memory that wait for the client, apart from what the transport has already taken."""
        return self._write_buffer.size

    def report(self, kind: str, text: str) -> None:
        """See :meth:`EngineServer.report`."""
        self._server.report(kind, text)

    @abstractmethod
    def close(self, reason: str = "forced close", *, abort: bool = False, code: int | None = None) -> bool:
        """End the session."""

    def send(self, packets: list[Packet], *, volatile: bool = False, patient: bool = False) -> bool:
        """Send ``packets`` together, in order, without blocking; callable from anywhere.

        :param volatile: drop them unless the client can take them now (nothing is queued or being written; over
            polling: a GET waits).
        :param patient: they are for this client alone, and the sender has called :meth:`wait_for_room`.
        :return: False when they were dropped: the session is over, or they were volatile.
        """
        with self.lock:
            if self._state != OPEN:
                return False
            transport = self.transport
            claimed = self.held > 0.0 or transport.idle  # in this order: a signal handler that emits ends the holding
            if claimed:
                transport.idle = False
                if self.held:
                    packets = self._take_held_locked() + packets
            elif volatile:
                return False
            else:
                behind = self._write_buffer.add(packets, patient)
        if claimed:
            transport.write(packets)
        elif behind:
            self._fall_behind(patient)
        return True

    def hold(self, packets: list[Packet], now: float) -> None:
        """Send ``packets`` with what follows: the next :meth:`send`, or :meth:`release`, which has to be called soon.

        Whoever sends meanwhile, from anywhere, sends them along, so their place is settled as by :meth:`send`. The
        baton is with nobody then: who makes ``held`` 0 has it.

        :param now: the time (monotonic).
        """
        with self.lock:
            transport, held = self.transport, self.held
            if held:
                gathers = now - held < _HOLD and self._write_buffer.size < _MOST_HELD and not self._write_buffer.crowded
            else:
                gathers = transport.gathers and transport.idle and self._state == OPEN
            if gathers:
                # The baton is ours while we add: a signal handler that emits now must leave the writing to others.
                transport.idle = False
                self.held = 0.0
                try:
                    self._write_buffer.add(packets, True)
                finally:
                    self.held = held or now
        if not gathers:
            self.send(packets, patient=True)
        elif not held:
            self._server.held_sessions.add(self)

    def release(self) -> None:
        """Write what is held, if it still is."""
        with self.lock:
            if not self.held:
                return
            transport = self.transport
            packets = self._take_held_locked()
        transport.write(packets)

    def _take_held_locked(self) -> list[Packet]:
        """Take the baton, and what is held: to be written first."""
        # In this order: a signal handler that emits in between must leave the writing to us.
        self.transport.idle = False
        self.held = 0.0
        return self._write_buffer.take_all()

    def reserve(self, packets: list[Packet], *, patient: bool = False) -> Callable[[], None]:
        """The first half of :meth:`send`, for whoever holds a lock: it settles only the place of ``packets``.

        :return: the second half, which has to be called soon, without a lock held.
        """
        with self.lock:
            if self._state != OPEN:
                return _nothing
            transport = self.transport
            if self.held:
                return partial(transport.write, self._take_held_locked() + packets)
            if transport.idle:
                transport.idle = False
                return partial(transport.write, packets)
            behind = self._write_buffer.add(packets, patient)
        return partial(self._fall_behind, patient) if behind else _nothing

    def _fall_behind(self, patient: bool) -> None:
        """Too much waits for the client: it is given up, unless who has sent that is held back, and can be."""
        if not (patient and self._server.reactor.may_be_held_back()):
            self._give_up_on(*slow_client(self.config))

    def _give_up_on(self, kind: str, text: str) -> None:
        self.report(kind, text)
        self.close("transport error", abort=True)

    def wait_for_room(self) -> None:
        """Hold back who is about to send to this client alone, while that is far behind but goes on taking data.

        A client that takes nothing for ``ping_timeout`` seconds is given up. Nobody is held back while less than half
        of ``max_outbox`` bytes wait, nor on an I/O thread or in a signal handler.
        """
        if self._write_buffer.crowded:
            self._wait_for_room()

    def _wait_for_room(self) -> None:
        reactor, patience = self._server.reactor, self.config.ping_timeout
        if not reactor.may_be_held_back():
            return
        turn = reactor.event()
        with self.lock:
            if self._state != OPEN or not self._write_buffer.crowded:
                return
            self._write_buffer.waiting += (turn,)
        before = self._progress()
        while not wait_patiently(partial(reactor.wait, turn), patience):
            now = self._progress()
            if not self._write_buffer.crowded:  # who was let in before has not sent
                self._leave_queue(turn)
                return
            if now == before:
                self._give_up_on(*stuck_client(self.config))
                return
            before = now

    def _leave_queue(self, turn: Event) -> None:
        with self.lock:
            buffer = self._write_buffer
            buffer.waiting = tuple(waiting for waiting in buffer.waiting if waiting is not turn)

    def _progress(self) -> tuple[object, ...]:
        """Something that changes as the client takes data."""
        transport = self.transport
        return self._write_buffer.taken, transport, transport.unsent

    def let_in(self) -> None:
        """The client has taken something: the next one that waits for that may send, if there is room now."""
        with self.lock:
            turns = () if self._write_buffer.crowded else self._write_buffer.let_out(1)
        for turn in turns:
            turn.set()

    def send_message(self, data: str | bytes) -> bool:
        """Send one message; see :meth:`send`."""
        return self.send([Packet(MESSAGE, data)])

    def ping(self) -> None:
        """Ask for a sign of life (see heartbeat.py), before whatever waits: the client's time has begun."""
        with self.lock:
            if self._state != OPEN:
                return
            transport = self.transport
            claimed = self.held > 0.0 or transport.idle
            transport.idle = False
            packets = [_PING]
            if self.held:
                packets += self._take_held_locked()
            elif not claimed:
                self._write_buffer.put_first(_PING)
        if claimed:
            transport.write(packets)

    def next_batch(self, transport: Transport, limit: int) -> list[Packet] | None:
        """For the writer of ``transport``: the next packets, about ``limit`` bytes of them.

        None: there are none and the transport is idle again; the caller has handed the baton back.
        An empty list: there are none and the session is closing; the caller must finish the transport.
        """
        with self.lock:
            buffer = self._write_buffer
            # In one step: a signal handler that emits must find the transport busy or the buffer looked after.
            idle = transport.idle = not buffer.packets and self._state == OPEN
            batch = None if idle else buffer.take(limit)
        if buffer.waiting:
            self.let_in()
        return batch

    def take_locked(self) -> list[Packet] | None:
        """For a GET: all that is queued, or None when it has to wait; the caller holds the lock.

        :meth:`let_in` is to be called after unlocking.
        """
        queued = self._write_buffer.take_all()
        return queued if queued or self._state != OPEN else None


def _nothing() -> None:
    """The second half of a :meth:`SessionWriter.reserve` that has nothing more to do."""
