"""A connection that prints what comes, and does what it is told."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from time import monotonic
from typing import Any

from ..client import Manager
from ..client.client import split_url
from ..exceptions import LocalProtocolError, SocketIOError
from ..runtime import Event, Rank, make_event, make_lock
from .connect_error_hints import explain, one_line
from .ctrl_c import Interrupts
from .input_syntax import HELP, Command, Emission, NotUnderstood, read_line
from .screen import Screen, complain, show, show_event

_SLICE = 0.5


class Failed(Exception):
    """What was asked for did not work; it says why, and gives the exit status.

    :ivar status: 1 for a server that cannot be reached, refuses or does not answer, 2 for something senseless.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def await_event(event: Event, seconds: float | None) -> bool:
    """Wait for ``event`` (seconds; None: for ever), in slices: a wait misses the Ctrl-C of the instant before."""
    until = None if seconds is None else monotonic() + seconds
    while until is None or monotonic() < until:
        if event.wait(_SLICE if until is None else max(0.0, min(_SLICE, until - monotonic()))):
            return True
    return event.is_set()


class Console:
    """See the module's text.

    :param namespace: None for the path of the URL.
    :param timeout: seconds that connecting, and each acknowledgement, may take.
    :param options: those of :class:`~wsgi_sio.client.Manager`.
    :ivar interrupts: to be entered while anything is done, but for :meth:`close`, which takes a second at most.
    :raises ValueError: the URL or an option makes no sense.
    """

    def __init__(self, url: str, namespace: str | None, timeout: float, options: dict[str, Any]) -> None:
        server, path = split_url(url)
        self._client = Manager(server, **options).socket(namespace or path)
        self._timeout = timeout
        self._ended = make_event()  # nobody reads the output, or the server does not want us any more
        self.interrupts = Interrupts()
        self._screen = Screen(sys.stdout, self._ended.set, self.interrupts)
        self._greeted = make_event()  # connected since connect(), whose own errors are not to be told twice
        self._left = False
        self._lock = make_lock(Rank.LEAF)
        self._transport: str | None = None  # as it has been told last
        self._listen()

    # -- what is done -------------------------------------------------------------------------------------------

    def connect(self) -> None:
        """Connect with one attempt; from then on a lost connection is made again.

        :raises Failed: it was not possible.
        """
        if not self._client.connected:
            self._client.disconnect()  # await no longer what is to be tried now
        self._greeted.clear()
        self._ended.clear()
        self._left = False
        try:
            self._client.connect(timeout=self._timeout, retry=False)
        except SocketIOError as error:
            raise Failed(explain(error), 1) from error
        except (ValueError, ImportError) as error:  # the URL's port, a library that is missing
            raise Failed(str(error), 2 if isinstance(error, ValueError) else 1) from error
        await_event(self._greeted, self._timeout)  # so that it is the first thing printed

    def close(self) -> None:
        """Leave, without more words; what has been emitted is sent before."""
        self._client.off("disconnect")
        self._client.disconnect()

    def emit_and_listen(self, emissions: Iterable[Emission], seconds: float | None) -> int:
        """Emit, one after the other, and print what comes for so long (None: for ever); the exit status.

        :raises Failed: an event could not be sent, or was not acknowledged.
        """
        for emission in emissions:
            self._screen.tell("sent", show_event(emission.event, emission.args))
            self._emit(emission)
        over = await_event(self._ended, seconds)
        return 1 if over and not self._client.active else 0

    def run_script(self, lines: Iterable[str]) -> int:
        """Do what the lines say, to the end or the first that fails; the exit status.

        :raises Failed: a line was not understood or did not work.
        """
        for number, line in enumerate(lines, 1):
            try:
                if not self._obey(line, wait=True):
                    return 0
            except Failed as error:
                raise Failed(f"line {number}: {error}", error.status) from error
        return 0 if self._client.connected or self._left else 1

    def run_prompt(self) -> int:
        """Do what the user types; the exit status."""
        self._screen.write("type /help for help")
        going = True
        while going:
            try:
                going = self._obey(self._screen.ask(), wait=False)
            except EOFError:
                self._screen.write("")
                going = False
            except Failed as error:
                complain(str(error))
        return 0

    def _obey(self, line: str, *, wait: bool) -> bool:
        """Do what one line says; False when that is to end.

        :param wait: for the acknowledgement.
        :raises Failed: it did not work.
        """
        try:
            said = read_line(line)
        except NotUnderstood as error:
            raise Failed(str(error), 2) from error
        if isinstance(said, Emission):
            self._emit(said, wait=wait)
        elif isinstance(said, Command):
            return self._run(said)
        return True

    def _run(self, command: Command) -> bool:
        if command.name == "connect":
            self.connect()
        elif command.name == "disconnect":
            self._left = True
            self._client.disconnect()
        elif command.name == "wait":
            await_event(self._ended, command.seconds)
        elif command.name == "help":
            self._screen.write(HELP)
        return command.name != "quit"

    def _emit(self, emission: Emission, *, wait: bool = True) -> None:
        client, event, args = self._client, emission.event, emission.args
        if not client.connected:
            self._screen.tell("status", "not connected: it waits until that changes")
        try:
            if not emission.asks:
                client.emit(event, *args)
                return
            answer = Answer(self._screen, event, loud=not wait)
            client.timeout(self._timeout).emit(event, *args, callback=answer.come)
        except LocalProtocolError as error:
            raise Failed(str(error), 2) from error
        if wait and (problem := answer.wait()):
            raise Failed(problem, 1)

    # -- what is told -------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        client, tell = self._client, self._screen.tell
        client.on("connect", self._connected)
        client.on("connect_error", self._refused)
        client.on("disconnect", self._disconnected)
        client.on("*", lambda event, *args: tell("received", show_event(event, args)))
        client.io.on("upgrade", self._upgraded)
        client.io.on("upgrade_error", lambda error: tell("status", f"no upgrade: {one_line(str(error))}"))
        client.io.on("reconnect_attempt", lambda number: tell("status", f"reconnecting, attempt {number}"))

    def _connected(self) -> None:
        client = self._client
        recovered = ", nothing was missed" if client.recovered else ""
        with self._lock:
            self._transport = transport = client.io.transport_name
        self._screen.tell("status", f"connected to {client.nsp} as {client.id} over {transport}{recovered}")
        self._greeted.set()

    def _upgraded(self, transport: str) -> None:
        with self._lock:  # it is told beside the connection's handlers
            before, self._transport = self._transport, transport
        if before not in (None, transport):  # else "connected" tells, or has told
            self._screen.tell("status", f"upgraded to {transport}")

    def _refused(self, error: Exception) -> None:
        if self._greeted.is_set():
            self._screen.tell("status", explain(error))
            self._look_for_the_end()

    def _disconnected(self, reason: str, detail: object) -> None:
        more = f" ({one_line(str(detail))})" if detail else ""
        self._screen.tell("status", f"disconnected: {reason}{more}")
        self._look_for_the_end()

    def _look_for_the_end(self) -> None:
        if not self._client.active and not self._left:
            self._ended.set()


class Answer:
    """The acknowledgement of an event; printed when it comes, in order with the server's events.

    :param loud: whether that none comes is printed, too.
    """

    def __init__(self, screen: Screen, event: str, *, loud: bool) -> None:
        self._screen = screen
        self._event = event
        self._loud = loud
        self._decided = make_event()
        self._problem = ""

    def come(self, error: Exception | None, *args: Any) -> None:
        """It has come, or will not."""
        if error is None:
            self._screen.tell("acknowledged", show_event(self._event, args))
        else:
            self._problem = f"{show(self._event)} was not acknowledged: {error}"
            if self._loud:
                self._screen.tell("status", self._problem)
        self._decided.set()

    def wait(self) -> str:
        """Block until then; why there is none, or nothing."""
        await_event(self._decided, None)
        return self._problem
