"""WebSocket bytes as a server could send them: polite, strange, and neither."""

import zlib

from hypothesis import strategies as st

FINAL = 0x80
TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 0x1, 0x2, 0x0, 0x8, 0x9, 0xA
COMPRESSED = 0x40


def raw(first: int, body: bytes, *, spelled: int | None = None, is_masked: bool = False) -> bytes:
    """A frame (RFC 6455 section 5.2) with any first byte; `spelled` is a length that it only claims to have."""
    length = len(body) if spelled is None else spelled
    mask = 0x80 if is_masked else 0
    if length < 126:
        head = bytes((first, mask | length))
    elif length < 65_536:
        head = bytes((first, mask | 126)) + length.to_bytes(2, "big")
    else:
        head = bytes((first, mask | 127)) + length.to_bytes(8, "big")
    return head + (b"\0\0\0\0" if is_masked else b"") + body


def text(body: bytes) -> bytes:
    """A text message in one frame."""
    return raw(FINAL | TEXT, body)


def fragmented(*parts: bytes) -> bytes:
    """A text message in as many frames as there are parts."""
    last = len(parts) - 1
    return b"".join(
        raw((CONTINUATION if number else TEXT) | (FINAL if number == last else 0), part)
        for number, part in enumerate(parts)
    )


def deflated(body: bytes) -> bytes:
    """What permessage-deflate makes of a message (RFC 7692 section 7.2.1), without a context before it."""
    deflater = zlib.compressobj(wbits=-15)
    return (deflater.compress(body) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]


def compressed(body: bytes) -> bytes:
    """A text message in one frame, compressed."""
    return raw(FINAL | COMPRESSED | TEXT, deflated(body))


_BODIES = st.binary(max_size=300) | st.sampled_from([b"", b"{}", b"x" * 125, b"x" * 126, b"x" * 65_535, b"x" * 65_536])
_MESSAGES = st.builds(raw, st.sampled_from([FINAL | TEXT, FINAL | BINARY]), _BODIES)
_FRAGMENTED = st.lists(_BODIES, min_size=1, max_size=4).map(lambda parts: fragmented(*parts))
_CONTROLS = st.builds(raw, st.sampled_from([FINAL | PING, FINAL | PONG]), st.binary(max_size=125))
_CLOSES = st.sampled_from([1000, 1001, 1002, 1007, 1011, 1013, 4001, 999, 1005, 1006, 5000]).map(
    lambda code: raw(FINAL | CLOSE, code.to_bytes(2, "big") + b"why")
)
_STRANGE = st.one_of(
    st.builds(raw, st.integers(0, 255), st.binary(max_size=140), is_masked=st.booleans()),
    st.builds(raw, st.just(FINAL | BINARY), st.binary(max_size=5), spelled=st.integers(0, 2**63)),
    st.builds(raw, st.just(FINAL | COMPRESSED | TEXT), st.binary(max_size=40)),
    st.binary(max_size=20),
)
_POLITE = st.lists(st.one_of(_MESSAGES, _MESSAGES, _FRAGMENTED, _BODIES.map(compressed), _CONTROLS), max_size=12)
STREAMS = st.tuples(_POLITE, st.lists(_CLOSES | _STRANGE, max_size=2), _POLITE).map(
    lambda parts: b"".join(one for part in parts for one in part)
)
"""Polite frames, up to two that are not, and polite ones again."""

CUTS = st.lists(st.integers(1, 400), min_size=1, max_size=40)
"""Lengths of the pieces in which a stream arrives; the rest comes in one."""
