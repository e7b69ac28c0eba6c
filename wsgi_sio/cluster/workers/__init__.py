"""The processes of one server, which have joined as siblings: the adapter that every server has by default.

``workers_adapter`` is it, ``recovering_workers_adapter`` with connection state recovery; ``message_router`` gives what
the siblings send to the namespaces, ``frame_payloads`` is how that is written.
"""
