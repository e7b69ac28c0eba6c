"""How channels are laid out in RabbitMQ, and a connection that publishes and counts; no Socket.IO, no threads.

A channel is a routing key at one direct exchange, where what nobody hears goes to nobody, and nothing stays behind.  A
channel of old servers is a fanout exchange of that name, as python-socketio's KombuManager makes it.  Beside each
routing key that is heard there is a queue which gets nothing, and whose consumers are those that can be counted.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from hashlib import sha256
from typing import Any, Final, NamedTuple

from ...runtime import disown

EXCHANGE: Final = "wsgi_sio.channels"
# An address that nobody hears.
NOWHERE: Final = "wsgi_sio.nowhere"
# The longest name that AMQP can carry has 255 bytes; there are some before it.
_LONGEST: Final = 200
# After how many milliseconds without listeners a queue that counts them is dropped (a broker that has been restarted
# has some of those without any, if the servers do not come back).
_EXPIRES: Final = 300_000
# For how long after an answer a connection is taken for alive without a look at it (seconds).
_FRESH: Final = 0.5
# How long the broker may take to say goodbye (seconds).
_GOODBYE: Final = 1.0


class Address(NamedTuple):
    """Where a channel is.

    :ivar exchange: "" is the broker's own, whose routing keys are the queues' names.
    """

    exchange: str
    key: str

    @property
    def counter(self) -> str | None:
        """The queue whose consumers are the listeners; None: they cannot be counted."""
        return f"wsgi_sio.count.{self.key}" if self.exchange == EXCHANGE else None


def address_of(channel: str, exchanges: Collection[str]) -> Address:
    """Where ``channel`` is.

    :param exchanges: the channels that are exchanges of their own.
    """
    if channel in exchanges:
        return Address(channel, "")
    name = channel.encode("utf-8", "surrogatepass")
    if len(name) > _LONGEST:
        return Address(EXCHANGE, f"sha256:{sha256(name).hexdigest()}")
    return Address(EXCHANGE, channel.encode("utf-8", "replace").decode())


def declare_exchange(channel: Any, name: str) -> None:
    """See to it that an exchange is there; one that is there may have other properties than we would give it.

    :param channel: none that anything else is done with: the broker closes it when it has no such exchange.
    """
    from amqp.exceptions import NotFound

    kind = "direct" if name == EXCHANGE else "fanout"
    try:
        channel.exchange_declare(name, kind, passive=True)
    except NotFound:  # by now py-amqp has opened the channel again
        channel.exchange_declare(name, kind, durable=False, auto_delete=False)


def declare_counter(channel: Any, name: str) -> None:
    """See to it that there is a queue whose consumers can be counted."""
    arguments = {"x-expires": _EXPIRES, "x-queue-type": "classic"}
    channel.queue_declare(name, durable=True, auto_delete=True, arguments=arguments)


def close(connection: Any) -> None:
    """Say goodbye, or let go if that is of no use any more; blocks for a moment at most."""
    if not connection.connected:
        return  # py-amqp would connect it again, only to look at its socket
    try:
        connection.sock.settimeout(_GOODBYE)
        connection.close()
    except Exception:  # of py-amqp
        connection.collect()


def abandon(connection: Any) -> None:
    """In a forked child: the connection is the parent's."""
    if connection is not None and connection.connected:  # else py-amqp would connect it again
        disown([connection.sock.fileno()])


class Link:
    """A connection that publishes and counts, for one thread or greenlet at a time.

    :param connection: py-amqp's; what is blocked by the broker's alarms (memory, disk) is told by :meth:`blocked`.
    :param exchanges: the channels that are exchanges of their own.
    :param timeout: how long an answer is waited for (seconds).
    """

    def __init__(self, connection: Any, exchanges: Collection[str], timeout: float) -> None:
        from amqp import Message

        self.connection = connection
        self._message = Message
        self._exchanges = exchanges
        self._timeout = timeout
        self._declared: set[str] = {""}
        self._unconfirmed: set[int] = set()
        self._number = 0
        self._refused: set[int] = set()
        self._returned = 0
        self._answered = time.monotonic()
        # Else py-amqp would look for such a message before each that it sends.
        connection.client_properties.get("capabilities", {}).pop("connection.blocked", None)
        self._side = connection.channel()
        self._channel = channel = connection.channel()
        channel.events["basic_ack"].add(self._confirm)
        channel.events["basic_nack"].add(self._refuse)
        channel.events["basic_return"].add(self._give_back)
        channel.confirm_select()

    @property
    def is_alive(self) -> bool:
        """Whether it was there a moment ago, or is now; reads what has come."""
        if time.monotonic() - self._answered < _FRESH:
            return True
        try:
            while True:
                self.connection.drain_events(timeout=0)
        except TimeoutError:
            return True
        except Exception:  # of py-amqp: it has ended
            return False

    # -- publishing ---------------------------------------------------------------------------------------------

    def publish(self, address: Address, payload: bytes, mandatory: bool = False) -> int:
        """Send something; it has arrived when :meth:`settle` has returned.

        :param mandatory: count it if nobody gets it.
        :return: its number.
        """
        if address.exchange not in self._declared:
            declare_exchange(self._side, address.exchange)
            self._declared.add(address.exchange)
        if address.exchange in self._exchanges:
            message = self._message(payload, content_type="text/plain", content_encoding="utf-8", delivery_mode=1)
        else:
            message = self._message(payload, content_type="application/octet-stream", delivery_mode=1)
        self._number += 1
        self._unconfirmed.add(self._number)
        self._channel.basic_publish(message, address.exchange, address.key, mandatory=mandatory)
        return self._number

    def settle(self) -> int:
        """Wait until all that was sent has arrived; how much of that nobody got, of what was mandatory.

        :raises TimeoutError: the broker says nothing.
        :raises Exception: it refuses something, or the connection has ended.
        """
        while self._unconfirmed:
            self.connection.drain_events(timeout=self._timeout)
        self._answered = time.monotonic()
        if self._refused:
            raise OSError(f"the broker has refused {len(self._refused)} messages")
        returned, self._returned = self._returned, 0
        return returned

    def has_arrived(self, number: int) -> bool:
        """Whether the broker has confirmed the message of that number."""
        return number not in self._unconfirmed and number not in self._refused

    def _confirm(self, number: int, multiple: bool) -> set[int]:
        found = {other for other in self._unconfirmed if other <= number} if multiple else {number}
        self._unconfirmed -= found
        return found

    def _refuse(self, number: int, multiple: bool) -> None:
        self._refused |= self._confirm(number, multiple)

    def _give_back(self, *_: object) -> None:
        self._returned += 1

    # -- counting -----------------------------------------------------------------------------------------------

    def count(self, address: Address) -> int | None:
        """How many listen; None: it cannot be said.

        :raises Exception: the connection has ended.
        """
        from amqp.exceptions import NotFound

        if address.counter is None:
            return None
        try:
            found = self._side.queue_declare(address.counter, passive=True)
        except NotFound:
            return 0
        finally:
            self._answered = time.monotonic()
        return int(found.consumer_count)
