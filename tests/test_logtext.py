"""What of a stranger's text a log line shows."""

from __future__ import annotations

from typing import Any

import pytest

from wsgi_sio.logtext import hide_session_ids, kinds, one_line, quote

HOSTILE = [
    "a\nb",
    "a\r\nb",
    "\x1b[2Jgone",
    "a\u2028b\u2029c\x85d",
    "\x9b31m",
    "\u202etxt",
    "\x00\x7f",
    "\ud800",
    "a\tb",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_not_printable_is_escaped(text: str) -> None:
    for shown in (quote(text), one_line(text), quote(text * 100_000), one_line(text * 100_000), quote([text])):
        assert shown.isprintable() and len(shown.splitlines()) == 1


def test_ordinary_text_is_shown_as_it_is() -> None:
    assert quote("https://shop.example") == "'https://shop.example'"
    assert quote("it's ü") == '"it\'s ü"'
    assert one_line("it's ü, and 100 % right\\") == "it's ü, and 100 % right\\"
    assert quote("x" * 100) == repr("x" * 100)
    assert (quote(b"\n"), quote(7), quote(None)) == ("b'\\n'", "7", "None")


@pytest.mark.parametrize("value", ["x" * 1_000_000, "\U000e0001" * 1_000_000, b"\x00" * 1_000_000])
def test_long_values_are_cut_and_their_length_is_told(value: Any) -> None:
    shown = quote(value)
    assert len(shown) < 150 and shown.endswith("... (1000000 characters)")


def test_long_texts_are_cut_and_their_length_is_told() -> None:
    assert one_line("x" * 2000) == "x" * 1000 + "... (2000 characters)"
    assert one_line("\n" * 300, 100) == "\\n" * 50 + "... (300 characters)"


def test_the_types_of_many_arguments() -> None:
    assert kinds(()) == "" and kinds((1, "a", None)) == "int, str, NoneType"
    assert kinds([[]] * 100_000) == ", ".join(["list"] * 20) + ", ..."


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("GET /socket.io/?EIO=4&sid=s3cr-_et&t=1 HTTP/1.1", "GET /socket.io/?EIO=4&sid=...&t=1 HTTP/1.1"),
        ('"POST /x?sid=s3cret" 200', '"POST /x?sid=..." 200'),
        ("GET /?side=1&outside=2", "GET /?side=1&outside=2"),
    ],
)
def test_a_request_is_shown_without_the_session_it_is_of(line: str, shown: str) -> None:
    assert hide_session_ids(line) == shown
