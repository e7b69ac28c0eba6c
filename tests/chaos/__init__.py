"""The chaos command: hundreds of real clients of a real server, everything that can go wrong, and a ledger of it all.

::

    python -m tests.chaos --minutes 60 --server gevent --clients 200 --seed 7
    python -m tests.chaos --minutes 0.3 --server gthread --clients 40         # a first impression
    python -m tests.chaos --without stop,storm                                # some disturbances left out

A gunicorn serves :mod:`tests.chaos.app`. Half of the clients are :class:`wsgi_sio.Client`, half are npm's
``socket.io-client``; they use polling, WebSocket, or polling and the upgrade. Each goes through a relay of its own,
which cuts, stalls and slows down as it is told. Both ends number their events and report each one that they get; what
must hold is in the text of :mod:`tests.chaos.ledger`, and is checked while it happens and at the end.

=====================  =============================================================================================
``__main__``           the command line and the report
``setting``            what a run is made of: time, clients, seed, the server's options
``run``                the course: warm up, measure, disturb, settle, leave, measure again
``disturbances``       what goes wrong and when, out of the seed
``relay``              a client's way to the server, and what may happen to it
``ledger``             the promises, and whether they were kept
``measures``           memory, descriptors, threads and the log of the server
``switchboard``        where the server and the clients report to, and get their orders from (JSON lines over TCP)
``line``               the other end of that
``sending``            payloads, and the numbers of a client
``tasks``              what serves connections, and is to end with their listener
``app``                the server's application
``python_clients``     the process of our clients; ``tests/js/chaos_clients.js`` is that of npm's
=====================  =============================================================================================

The seed decides on the clients and on the order of the disturbances; when a packet meets one of them, the machine does.
A run ends by itself, whatever happens, and takes along all processes that it has started.
"""
