"""Several processes that are one server to their clients: adapters that pass broadcasts and questions between them.

``workers`` is for the processes of one host, which need nothing else. ``adapter`` is what all others are made of,
one in ``drivers`` for each way that messages are written, on a ``bus``.
"""
