"""Requests of sessions that live in a sibling process: the owner decides, whoever gets a request forwards it.

A session lives in one process, its owner, from its handshake to its end; the last four characters of its id name it.
Whatever other process gets a request of the session checks what needs no session, and passes the client's connection on
to the owner, with the request's few facts, if the connection can be moved at all.  Otherwise it asks the owner, and
waits for the answer in the request's thread.

===============  ==============================  ===========================  ============================
request          plain connection, threads       plain connection, gevent     TLS here, or no socket
===============  ==============================  ===========================  ============================
GET              goes to the owner               goes to the owner            the owner is asked
POST             goes, with its body             goes, where its connection   asked
                                                 may go on; else asked:
                                                 keep-alive is worth more
WebSocket        goes, with the 101              goes, with the 101           goes, through a pump (TLS)
new session      goes to the least loaded        goes to the least loaded     stays
===============  ==============================  ===========================  ============================

A connection that has gone ends with its answer, unless it may go on in the owner's gunicorn worker
(gunicorn_connections.py).

``wire_format`` is what travels, ``forwarder`` and ``receiver`` are the two sides, ``load_balancing`` says where a new
session goes, ``tls_proxy`` moves what cannot be moved, and ``joining`` finds the siblings.
"""

from __future__ import annotations
