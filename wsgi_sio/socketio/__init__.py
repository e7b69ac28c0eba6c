"""Socket.IO: namespaces, sockets, rooms, events and acknowledgements, on top of engine sessions.

``server``, ``namespace`` and ``socket`` are where a reader starts, ``connection`` is what lies between them and a
session. Who is in which room, and gets what, is up to an ``adapter``: ``memory_adapter``, or with connection state
recovery ``session_aware_adapter``.
"""
