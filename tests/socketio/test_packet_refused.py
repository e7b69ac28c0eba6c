"""Every Socket.IO message that the decoder refuses, and what is left of it afterwards: nothing."""

from __future__ import annotations

import pytest

from wsgi_sio.socketio.packet import EVENT, RESERVED_EVENTS, DecodeError, Decoder, Packet

REFUSED = [
    ("", "empty packet"),
    ("7", "unknown packet type 7"),
    ("x", "unknown packet type x"),
    ("٢[]", "unknown packet type"),
    ('5["a"]', "Illegal attachments"),
    ("5", "Illegal attachments"),
    ("5woooot", "Illegal attachments"),
    ('5-["a"]', "Illegal attachments"),
    ('50-["a"]', "Illegal attachments"),
    ('5000-["a"]', "Illegal attachments"),
    ('5-1-["a"]', "Illegal attachments"),
    ('5 1-["a"]', "Illegal attachments"),
    ('51.0-["a"]', "Illegal attachments"),
    ('51e0-["a"]', "Illegal attachments"),
    ('5٢-["a"]', "Illegal attachments"),
    ('6Infinity-["a"]', "Illegal attachments"),
    ('511-["a"]', "too many attachments"),
    ("5" + "9" * 5000 + '-["a"]', "too many attachments"),
    ("2" + "1" * 17 + '["a"]', "illegal acknowledgement id"),
    ("3" + "1" * 100_000 + "[]", "illegal acknowledgement id"),
    ('0"x"', "invalid payload"),
    ("0[]", "invalid payload"),
    ("0null", "invalid payload"),
    ("0/a,{", "invalid payload"),
    ("1{}", "invalid payload"),
    ('1/a,"x"', "invalid payload"),
    ("1false", "invalid payload"),
    ("4[]", "invalid payload"),
    ("4null", "invalid payload"),
    ('41["x"]', "invalid payload"),
    ("2{}", "invalid payload"),
    ('2"a"', "invalid payload"),
    ("2[]", "invalid payload"),
    ("2[null]", "invalid payload"),
    ("2[true]", "invalid payload"),
    ('2[["a"]]', "invalid payload"),
    ('2[{"a":1}]', "invalid payload"),
    ('2["a"', "invalid payload"),
    ('2["a",]', "invalid payload"),
    ('2["a"]x', "invalid payload"),
    ('2["a"]["b"]', "invalid payload"),
    ("2['a']", "invalid payload"),
    ('2["a","\n"]', "invalid payload"),
    ('2\ufeff["a"]', "invalid payload"),
    ('2\xa0["a"]', "invalid payload"),
    ('2["a",NaN]', "invalid payload"),
    ('2["a",Infinity]', "invalid payload"),
    ('2["a",-Infinity]', "invalid payload"),
    ('2["a",01]', "invalid payload"),
    ('2["a",+1]', "invalid payload"),
    ('2["a",1.]', "invalid payload"),
    ('2-1["a"]', "invalid payload"),
    ('2٣["a"]', "invalid payload"),
    ("3{}", "invalid payload"),
    ('31"a"', "invalid payload"),
    ('51-{"_placeholder":true,"num":0}', "invalid payload"),
    ('51-[{"_placeholder":true,"num":0}]', "invalid payload"),
    ('51-["disconnect"]', "invalid payload"),
    ("61-{}", "invalid payload"),
    *((f'2["{name}"]', "invalid payload") for name in sorted(RESERVED_EVENTS)),
    *(
        (f'51-["a",{{"_placeholder":true{num}}}]', "illegal attachments")
        for num in (
            "",
            ',"num":1',
            ',"num":-1',
            ',"num":"0"',
            ',"num":"splice"',
            ',"num":true',
            ',"num":0.5',
            ',"num":null',
        )
    ),
]


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_refused(text: str, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        Decoder().add(text)


def test_text_between_attachments_is_refused_and_nothing_is_kept() -> None:
    decoder = Decoder()
    decoder.add('52-["a",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]')
    decoder.add(b"0")
    with pytest.raises(DecodeError, match="got plaintext data when reconstructing a packet"):
        decoder.add('2["b"]')
    with pytest.raises(DecodeError, match="got binary data when not reconstructing a packet"):
        decoder.add(b"1")


def test_binary_out_of_the_blue_is_refused() -> None:
    with pytest.raises(DecodeError, match="got binary data when not reconstructing a packet"):
        Decoder().add(b"x")


def test_one_attachment_too_many_is_refused() -> None:
    decoder = Decoder()
    decoder.add('51-["a",{"_placeholder":true,"num":0}]')
    decoder.add(b"x")
    with pytest.raises(DecodeError, match="got binary data"):
        decoder.add(b"y")


def test_refused_binary_packet_leaves_nothing_to_reconstruct() -> None:
    decoder = Decoder()
    with pytest.raises(DecodeError):
        decoder.add('51-["connect"]')
    with pytest.raises(DecodeError, match="got binary data when not reconstructing"):
        decoder.add(b"x")


def test_attachment_limit_is_the_decoder_s() -> None:
    payload = ",".join(f'{{"_placeholder":true,"num":{i}}}' for i in range(12))
    decoder = Decoder(max_attachments=12)
    assert decoder.add(f'512-["a",{payload}]') is None
    assert [decoder.add(b"x") for _ in range(11)] == [None] * 11
    assert decoder.add(b"x") == Packet(EVENT, "/", ["a", *[b"x"] * 12])
    with pytest.raises(DecodeError, match="too many attachments"):
        Decoder(max_attachments=11).add(f'512-["a",{payload}]')
    with pytest.raises(DecodeError, match="too many attachments"):
        Decoder(max_attachments=0).add('51-["a"]')
