"""Buses: publish, subscribe, count.  There is no Socket.IO in them; each third-party client has its own file."""

from .bus import Bus, OnMessage, SharedBus, Subscription
from .outage import Outage
from .outbox import Item, Outbox, Sender

__all__ = ["Bus", "Item", "OnMessage", "Outage", "Outbox", "Sender", "SharedBus", "Subscription"]
