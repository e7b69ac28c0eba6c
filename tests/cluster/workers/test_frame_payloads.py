"""The payloads of workers' frames: what goes in comes out, and what is none is refused."""

from __future__ import annotations

import contextlib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from wsgi_sio.cluster.workers.frame_payloads import (
    pack_batch,
    pack_message,
    pack_none,
    unpack_batch,
    unpack_message,
    unpack_none,
)
from wsgi_sio.socketio.broadcast_options import BroadcastOptions
from wsgi_sio.socketio.jsoncodec import dumps_of

TEXT = st.text(st.characters())  # lone surrogates among them
ROOMS = st.frozensets(st.one_of(TEXT, st.binary(max_size=9), st.integers(), st.floats(allow_nan=False), st.booleans()))
KEYS = st.one_of(st.sampled_from(["$", "$$", "$x", "_placeholder", "num"]), TEXT)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64), TEXT, st.binary(max_size=9)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=3)),
)
OPTIONS = st.builds(
    BroadcastOptions,
    rooms=ROOMS,
    except_=ROOMS,
    local=st.just(True),
    volatile=st.booleans(),
    compress=st.booleans(),
    timeout=st.none(),  # who asks counts the time
    posted=st.just(True),
)


@given(TEXT, OPTIONS, st.lists(st.one_of(TEXT, st.binary()), min_size=1), st.one_of(st.none(), TEXT))
def test_a_batch_comes_out_as_it_went_in(
    topic: str, options: BroadcastOptions, parts: list[str | bytes], request_id: str | None
) -> None:
    batch = unpack_batch(b"".join(pack_batch(topic, options, parts, request_id)))
    assert (batch.topic, batch.options, batch.request_id, batch.parts()) == (topic, options, request_id, parts)


@given(TEXT, JSON)
def test_a_message_comes_out_as_it_went_in(topic: str, message: Any) -> None:
    """With bytes anywhere, also beside what looks as if it stood for some."""
    packed = b"".join(pack_message(topic, {"data": message}, dumps_of(None)))
    assert unpack_message(packed) == (topic, {"data": message})


@given(TEXT, st.one_of(st.none(), TEXT))
def test_none_comes_out_as_it_went_in(topic: str, request_id: str | None) -> None:
    assert unpack_none(b"".join(pack_none(topic, request_id))) == (topic, request_id)


@given(st.binary(max_size=60), st.integers(0, 60), st.integers(0, 255))
def test_junk_is_a_mere_error(junk: bytes, at: int, byte: int) -> None:
    """Never a hang, nor more memory than it has itself; the router drops it."""
    good = bytearray(b"".join(pack_batch("/", BroadcastOptions(), ['2["x"]', b"1"], "r")))
    good[at % len(good)] = byte
    for payload in (junk, bytes(good), bytes(good[:at])):
        for unpack in (unpack_batch, unpack_message, unpack_none):
            with contextlib.suppress(ValueError, TypeError, KeyError, IndexError, AttributeError):
                value = unpack(payload)
                if unpack is unpack_batch:
                    value.parts()  # type: ignore[union-attr]
