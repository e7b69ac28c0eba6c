"""What siblings tell each other of themselves: their load, whether they leave, what they want to hear of."""

from __future__ import annotations

from .frames import BYE, DRAINING, LOAD, SUBSCRIBE, UNSUBSCRIBE, VERSION, Hello, encode, encode_topic

# By how much of what was told last the load must have changed to be told again.
_LOAD_STEP = 0.02
_MAX_LOAD = 0xFFFFFFFF


class SiblingState:
    """What a sibling has told; changed by the owner of its links, under its lock, and read without it.

    :ivar known: whether it has told anything yet.
    :ivar gone: it has said good-bye.
    :ivar source: the link on which it tells; what comes on an older one is out of date.
    """

    __slots__ = ("draining", "gone", "known", "load", "source", "topics")

    def __init__(self) -> None:
        self.known = False
        self.load = 0
        self.draining = False
        self.topics: frozenset[str] = frozenset()
        self.gone = False
        self.source: object = None

    def learn(self, hello: Hello) -> None:
        """All of it."""
        self.load, self.draining, self.topics = hello.load, hello.draining, hello.topics
        self.known = True

    def note(self, kind: int, number: int, topic: str) -> None:
        """A change."""
        if kind == LOAD:
            self.load = number
        elif kind == SUBSCRIBE:
            self.topics |= {topic}
        elif kind == UNSUBSCRIBE:
            self.topics -= {topic}
        else:
            self.draining = True
            self.gone = self.gone or kind == BYE


class OwnState:
    """What this process tells; each method returns the frame that says so, or None where there is nothing to say.

    Guarded by whoever uses it.
    """

    __slots__ = ("_draining", "_load", "_topics")

    def __init__(self) -> None:
        self._load = 0
        self._draining = False
        self._topics: frozenset[str] = frozenset()

    def hello(self, tag: str) -> bytes:
        """The payload of a HELLO."""
        return Hello(VERSION, tag, self._load, self._draining, self._topics).encode()

    def subscribe(self, topic: str) -> bytes | None:
        """We want to hear of ``topic``."""
        if topic in self._topics:
            return None
        self._topics |= {topic}
        return encode(SUBSCRIBE, 0, encode_topic(topic))

    def unsubscribe(self, topic: str) -> bytes | None:
        """And no longer."""
        if topic not in self._topics:
            return None
        self._topics -= {topic}
        return encode(UNSUBSCRIBE, 0, encode_topic(topic))

    def load(self, load: int) -> bytes | None:
        """How much there is to do here; small changes are kept to ourselves."""
        load = min(load, _MAX_LOAD)
        if abs(load - self._load) < max(1, _LOAD_STEP * self._load):
            return None
        self._load = load
        return encode(LOAD, load, b"")

    def drain(self) -> bytes | None:
        """We want no more sessions."""
        if self._draining:
            return None
        self._draining = True
        return encode(DRAINING, 0, b"")

    def leave(self) -> bytes:
        """We are gone."""
        return encode(BYE, 0, b"")
