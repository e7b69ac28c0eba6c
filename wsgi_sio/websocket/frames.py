"""WebSocket frames: building them, reading their headers, and the masking key (RFC 6455, section 5).

Everything here is a function from bytes to bytes or values; nothing keeps state, so a server frame built once may be
written to any number of clients. What frames mean together (fragments, UTF-8, closing) is the business of
`messages.py`.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import Final, NamedTuple

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "PING",
    "PONG",
    "TEXT",
    "CloseCode",
    "FrameError",
    "FrameHeader",
    "apply_mask",
    "encode_close",
    "encode_frame",
    "is_close_code",
    "read_header",
]

# Opcodes (section 5.2). Control opcodes have bit 3 set.
CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

_OPCODES: Final = frozenset((CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG))
_FIN: Final = 0x80
_RESERVED_BITS: Final = 0x70
_MASKED: Final = 0x80
_MAX_CONTROL_PAYLOAD: Final = 125

_pack_head: Final = Struct("!BB").pack
_pack_head_16: Final = Struct("!BBH").pack
_pack_head_64: Final = Struct("!BBQ").pack
_pack_code: Final = Struct("!H").pack

# Integers of this many bytes still fit the processor's cache; one integer for a whole 10 MB payload takes twice the
# time.
_XOR_BLOCK: Final = 8192


class CloseCode(IntEnum):
    """Why a connection ends (section 7.4.1 and the IANA registry). NO_STATUS and ABNORMAL never travel in a frame."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NO_STATUS = 1005
    ABNORMAL = 1006
    INVALID_DATA = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    MANDATORY_EXTENSION = 1010
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    BAD_GATEWAY = 1014


def is_close_code(code: int) -> bool:
    """Whether `code` may stand in a close frame: registered, or from the ranges for libraries and applications
    (section 7.4).
    """
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999


class FrameError(Exception):
    """The peer broke the protocol; `code` is the close code to answer with. `MessageDecoder` turns it into a
    `Violation`.
    """

    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(reason)
        self.code = int(code)
        self.reason = reason


def apply_mask(payload: bytes, mask: bytes) -> bytes:
    """XOR `payload` with the 4-byte `mask`, repeated (section 5.3). Masking and unmasking are the same operation."""
    size = len(payload)
    if size <= _XOR_BLOCK:
        key = (mask * ((size >> 2) + 1))[:size]
        return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")
    block_key = int.from_bytes(mask * (_XOR_BLOCK >> 2), "big")
    whole = size - size % _XOR_BLOCK
    blocks = [
        (int.from_bytes(payload[at : at + _XOR_BLOCK], "big") ^ block_key).to_bytes(_XOR_BLOCK, "big")
        for at in range(0, whole, _XOR_BLOCK)
    ]
    blocks.append(apply_mask(payload[whole:], mask))
    return b"".join(blocks)


# What stands in front of a server's whole text frames that are short, by their size: nearly all that there are.
SHORT_TEXT_HEADS = tuple(_pack_head(TEXT | _FIN, size) for size in range(126))


def encode_frame(opcode: int, payload: bytes, *, fin: bool = True, mask: bytes | None = None) -> bytes:
    """Build one frame with the shortest length form (section 5.2).

    `mask`: 4 unpredictable bytes in the client role (section 5.3), None in the server role.
    Raises ValueError for a control frame that is fragmented or longer than 125 bytes (section 5.5), or a mask of the
    wrong size.
    """
    size = len(payload)
    if opcode >= CLOSE and (size > _MAX_CONTROL_PAYLOAD or not fin):
        raise ValueError(f"a control frame must be whole and carry at most {_MAX_CONTROL_PAYLOAD} bytes, not {size}")
    first = opcode | _FIN if fin else opcode
    mask_bit = 0 if mask is None else _MASKED
    if size < 126:
        head = _pack_head(first, mask_bit | size)
    elif size < 0x10000:
        head = _pack_head_16(first, mask_bit | 126, size)
    else:
        head = _pack_head_64(first, mask_bit | 127, size)
    if mask is None:
        return head + payload
    if len(mask) != 4:
        raise ValueError(f"a masking key has 4 bytes, not {len(mask)}")
    return b"".join((head, mask, apply_mask(payload, mask)))


def encode_close(code: int, reason: str = "", mask: bytes | None = None) -> bytes:
    """Build a close frame (section 5.5.1); NO_STATUS (1005) gives the empty one, so that a received code can be sent
    back as it is.

    `reason` is cut at a character boundary to the 123 bytes that fit. Raises ValueError for a code that may not travel.
    """
    if code == CloseCode.NO_STATUS:
        return encode_frame(CLOSE, b"", mask=mask)
    if not is_close_code(code):
        raise ValueError(f"{code} may not be sent as a close code")
    text = reason.encode("utf-8", "replace")
    if len(text) > _MAX_CONTROL_PAYLOAD - 2:
        text = text[: _MAX_CONTROL_PAYLOAD - 2].decode("utf-8", "ignore").encode()
    return encode_frame(CLOSE, _pack_code(code) + text, mask=mask)


class FrameHeader(NamedTuple):
    """One frame's header: `size` is the header's own bytes, `length` the payload's; `mask` is empty for an unmasked
    frame.
    """

    fin: bool
    opcode: int
    length: int
    mask: bytes
    size: int


def read_header(data: bytes, pos: int, expect_masked: bool) -> FrameHeader | None:
    """Read and check the frame header that starts at `data[pos]`; None while bytes of it are missing (section 5.2).

    A length in a longer form than needed is accepted, as other implementations do. Raises FrameError (1002) for
    anything else that is malformed: reserved bits and opcodes, a mask missing or unasked for, control frames in
    fragments or too long, a 64-bit length with its top bit set.
    """
    if len(data) - pos < 2:
        return None
    first = data[pos]
    second = data[pos + 1]
    opcode = first & 0x0F
    length = second & 0x7F
    if first & _RESERVED_BITS:
        raise FrameError(CloseCode.PROTOCOL_ERROR, "reserved bits are set")
    if opcode not in _OPCODES:
        raise FrameError(CloseCode.PROTOCOL_ERROR, f"reserved opcode {opcode}")
    if (second >= _MASKED) is not expect_masked:
        raise FrameError(CloseCode.PROTOCOL_ERROR, "frame is not masked" if expect_masked else "frame is masked")
    if opcode >= CLOSE:
        if first < _FIN:
            raise FrameError(CloseCode.PROTOCOL_ERROR, "fragmented control frame")
        if length > _MAX_CONTROL_PAYLOAD:
            raise FrameError(CloseCode.PROTOCOL_ERROR, "control frame is longer than 125 bytes")
    at = pos + 2
    if length > 125:
        start, at = at, at + (2 if length == 126 else 8)
        if len(data) < at:
            return None
        length = int.from_bytes(data[start:at], "big")
        if length >> 63:
            raise FrameError(CloseCode.PROTOCOL_ERROR, "frame length has its top bit set")
    mask = b""
    if expect_masked:
        if len(data) < at + 4:
            return None
        mask = data[at : at + 4]
        at += 4
    return FrameHeader(first >= _FIN, opcode, length, mask, at - pos)
