"""The Autobahn families 1 to 7 against the codec, in both roles, whole and one octet at a time."""

from __future__ import annotations

import pytest

from tests.support.world import one_world
from tests.websocket.autobahn_cases import CASES, INVALID_DATA, Case
from tests.websocket.autobahn_utf8 import TEXTS, Text
from tests.websocket.wire import (
    MASK,
    Frame,
    chop,
    client_decoder,
    feed_all,
    fragments,
    server_decoder,
    without_reasons,
)
from wsgi_sio.websocket.frames import CONTINUATION, TEXT
from wsgi_sio.websocket.messages import Event, MessageDecoder

pytestmark = one_world

# Autobahn's own chop for its large frames; the small cases fit in one such piece.
CHOPS = {"whole": 1 << 30, "chops-997": 997, "octets": 1}


def decoder_for(role: str) -> tuple[MessageDecoder, bytes | None]:
    return (server_decoder(), MASK) if role == "server" else (client_decoder(), None)


def is_slow_and_says_nothing_new(case: Case, pieces: str) -> bool:
    return pieces == "octets" and sum(len(frame.payload) for frame in case.frames) > 1000


RUNS = [
    pytest.param(case, pieces, id=f"{case.id}-{pieces}")
    for case in CASES
    for pieces in CHOPS
    if not is_slow_and_says_nothing_new(case, pieces)
]


@pytest.mark.parametrize("role", ["server", "client"])
@pytest.mark.parametrize(("case", "pieces"), RUNS)
def test_case(case: Case, pieces: str, role: str) -> None:
    decoder, mask = decoder_for(role)
    stream = b"".join(frame.wire(mask) for frame in case.frames)
    assert without_reasons(feed_all(decoder, chop(stream, CHOPS[pieces]))) == case.events


def verdict_on(payload: bytes) -> list[Event]:
    try:
        return [payload.decode()]
    except UnicodeDecodeError:
        return [INVALID_DATA]


def can_become_utf8(prefix: bytes) -> bool:
    """Whether some text begins with these bytes, by trying what might follow."""
    continuations = [b"", *(second + b"\x80" * more for second in (b"\x80", b"\xbf") for more in range(3))]
    return any(isinstance(event, str) for rest in continuations for event in verdict_on(prefix + rest))


@pytest.mark.parametrize("role", ["server", "client"])
@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text.id)
def test_text_is_delivered_exactly_when_it_is_utf8(text: Text, role: str) -> None:
    decoder, mask = decoder_for(role)
    stream = b"".join(frame.wire(mask) for frame in fragments(TEXT, *text.parts))
    assert without_reasons(decoder.feed(stream)) == verdict_on(b"".join(text.parts))


@pytest.mark.parametrize("pieces", ["octets-of-a-frame", "fragments-of-an-octet"])
@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text.id)
def test_text_fails_at_the_first_octet_that_no_continuation_can_mend(text: Text, pieces: str) -> None:
    """Cases 6.4.x, "fail fast", for every text: the verdict comes neither early nor late."""
    decoder = server_decoder()
    payload = b"".join(text.parts)
    if pieces == "octets-of-a-frame":
        frame = Frame(TEXT, payload, fin=False).wire()
        opening, rest = frame[: -len(payload) or None], chop(frame[len(frame) - len(payload) :], 1)
    else:
        opening = Frame(TEXT, fin=False).wire()
        rest = (Frame(CONTINUATION, octet, fin=False).wire() for octet in chop(payload, 1))
    assert decoder.feed(opening) == []
    for arrived, piece in enumerate(rest, 1):
        events = decoder.feed(piece)
        if not can_become_utf8(payload[:arrived]):
            assert without_reasons(events) == [INVALID_DATA]
            return
        assert events == []
    assert without_reasons(decoder.feed(Frame(CONTINUATION).wire())) == verdict_on(payload)


def test_fail_fast_is_exact_for_every_pair_of_octets() -> None:
    opening = Frame(TEXT, bytes(8)).wire(None)[:2]
    for lead in range(0x80, 0x100):
        for second in range(0x100):
            decoder = client_decoder()
            failed = decoder.feed(opening + bytes([lead])) != []
            assert failed is not can_become_utf8(bytes([lead]))
            if not failed:
                failed = decoder.feed(bytes([second])) != []
                assert failed is not can_become_utf8(bytes([lead, second]))
