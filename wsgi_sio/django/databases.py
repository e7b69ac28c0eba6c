"""Connections to databases around work that is no request."""

from __future__ import annotations

from django.db import connections


def close_old_connections() -> None:
    """Django's function of that name, but for connections in a transaction: that is the caller's, such as a test."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()
