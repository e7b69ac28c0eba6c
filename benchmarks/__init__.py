"""Measure wsgi_sio beside its peers: ``python -m benchmarks``.

Reading order: ``scenarios`` (what is measured, and how one round goes), ``load`` and ``polling`` (the clients, which
check every answer), ``servers`` and ``install`` (what is measured against what), ``measure`` (CPU and memory of a
server), ``report`` (the tables).  ``rooms`` and
``client`` stand alone: ``python -m benchmarks.rooms``, ``python -m benchmarks.client``.
"""
