"""Measure wsgi_sio beside its peers: ``python -m benchmarks``.

Reading order: ``scenarios`` (what is measured), ``plan`` (one run), ``turns``, ``idle``, ``scale`` and ``client`` (how
the rounds of each kind of scenario go; ``rounds`` has what they share), ``load``, ``polling``, ``crowd`` and ``probe``
(the clients, which check every answer), ``servers`` and ``install`` (what is measured against what), ``measure`` (CPU
and memory of a server), ``report``, ``facts`` and ``pages`` (what is told).

These stand alone: ``python -m benchmarks.rooms``, ``.client``, ``.workers``, ``.bus``, ``.webtransport``.
"""
