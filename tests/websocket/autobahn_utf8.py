"""The Autobahn test suite's family 6 as data: texts, valid and not, most of them from Markus Kuhn's UTF-8 decoder
stress test.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple


class Text(NamedTuple):
    """One text message; `parts` are its fragments."""

    id: str
    parts: list[bytes]


KOSME = "κόσμε".encode()
GREETING = "Hello-µ@ßöäüàá-UTF-8!!".encode()
SURROGATE = KOSME + bytes.fromhex("eda080") + b"edited"
TOO_LARGE = bytes.fromhex("f4908080")
UNFINISHED = ["c0", "e080", "f08080", "f8808080", "fc80808080", "df", "efbf", "f7bfbf", "fbbfbfbf", "fdbfbfbfbf"]

# Families 6.5 to 6.23, one row each: the payloads in hexadecimal.
SEQUENCES: dict[str, list[str]] = {
    "6.5": [f"hello{sign}world".encode().hex() for sign in "$¢€𤭢"] + [KOSME.hex()],
    "6.6": [KOSME[:size].hex() for size in range(1, len(KOSME) + 1)],
    "6.7": ["00", "c280", "e0a080", "f0908080"],
    "6.8": ["f888808080", "fc8480808080"],
    "6.9": ["7f", "dfbf", "efbfbf", "f48fbfbf"],
    "6.10": ["f7bfbfbf", "fbbfbfbfbf", "fdbfbfbfbfbf"],
    "6.11": ["ed9fbf", "ee8080", "efbfbd", "f48fbfbf", "f4908080"],
    "6.12": ["80", "bf", *(("80bf" * 3)[: 2 * size] for size in range(2, 7)), bytes(range(0x80, 0xBF)).hex()],
    "6.13": [
        b" ".join(bytes([lead]) for lead in range(first, last)).hex() + "20"
        for first, last in ((0xC0, 0xDF), (0xE0, 0xEF), (0xF0, 0xF7), (0xF8, 0xFB), (0xFC, 0xFD))
    ],
    "6.14": UNFINISHED,
    "6.15": ["".join(UNFINISHED)],
    "6.16": ["fe", "ff", "fefeffff"],
    "6.17": ["c0af", "e080af", "f08080af", "f8808080af", "fc80808080af"],
    "6.18": ["c1bf", "e09fbf", "f08fbfbf", "f887bfbfbf", "fc83bfbfbfbf"],
    "6.19": ["c080", "e08080", "f0808080", "f880808080", "fc8080808080"],
    "6.20": ["eda080", "edadbf", "edae80", "edafbf", "edb080", "edbe80", "edbfbf"],
    "6.21": [high + low for high, low in product(("eda080", "edadbf", "edae80", "edafbf"), ("edb080", "edbfbf"))],
    "6.22": [chr(plane << 16 | 0xFFFE | last).encode().hex() for plane in range(17) for last in (0, 1)],
    "6.23": [f"efbf{last:02x}" for last in range(0xB9, 0xC0)],
}


def octets(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


TEXTS = [
    Text("6.1.1", [b""]),
    Text("6.1.2", [b"", b"", b""]),
    Text("6.1.3", [b"", b"middle frame payload", b""]),
    Text("6.2.1", [GREETING]),
    Text("6.2.2", [GREETING[:8], GREETING[8:]]),
    Text("6.2.3", octets(GREETING)),
    Text("6.2.4", octets(KOSME)),
    Text("6.3.1", [SURROGATE]),
    Text("6.3.2", octets(SURROGATE)),
    Text("6.4.1", [KOSME, TOO_LARGE, b"edited"]),
    Text("6.4.2", [KOSME + TOO_LARGE[:1], TOO_LARGE[1:2], TOO_LARGE[2:] + b"edited"]),
    Text("6.4.3", [KOSME + TOO_LARGE + b"edited"]),
    Text("6.4.4", [KOSME + TOO_LARGE + b"edited"]),
    *(
        Text(f"{family}.{number}", [bytes.fromhex(payload)])
        for family, payloads in SEQUENCES.items()
        for number, payload in enumerate(payloads, 1)
    ),
]
