"""The frames that the benchmark sends, as WebSocket bytes made before the clock starts."""

import gzip
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from bridge.simulator.frames import suggestions_frame

# Stands at a fixed place in each frame, so that a frame is told from all others, and dated, by changing bytes in place.
_MARK = b'{"mark":'
# 16 digits and no leading zero, as JSON has it; also that many microseconds since 1970 are 16 digits.
LEAST_MARK = 10**15
_TEXT, _BINARY = 0x81, 0x82


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """WebSocket frames in one piece; `marks` is where the 16 digits of each stand."""

    data: bytearray
    marks: Sequence[int]

    def mark(self, first: int) -> None:
        """Numbers the frames from `first` on."""
        data = self.data
        for mark, at in enumerate(self.marks, start=LEAST_MARK + first):
            data[at : at + 16] = b"%d" % mark


def interaction_ids(count: int) -> list[str]:
    """The interactions that the benchmark subscribes to."""
    return [f"{number:08d}-bbbb-4ccc-8ddd-eeeeeeeeeeee" for number in range(count)]


def bodies(interactions: int, *, count: int) -> list[bytes]:
    """The JSON of `count` frames, about 1.6 KB each; the interactions take turns."""
    chance = Random(7)
    ids = interaction_ids(interactions)
    frames: list[bytes] = []
    while len(frames) < count:
        serial = len(frames)
        one = suggestions_frame(interaction_id=ids[serial % interactions], serial=serial, at_ms=0, chance=chance)
        frames.append(b"%b%d," % (_MARK, LEAST_MARK) + one[1:])
    return frames


def text_blocks(frames: Sequence[bytes], *, at_a_time: int = 1000) -> list[Block]:
    """The frames as text, in blocks."""
    return [_text_block(frames[start : start + at_a_time]) for start in range(0, len(frames), at_a_time)]


def gzip_blocks(frames: Sequence[bytes], *, at_a_time: int = 1000) -> list[Block]:
    """The frames as gzip in binary ones, in blocks. They bear no mark: to change them is to compress them again."""
    packed = [framed(gzip.compress(frame, 6, mtime=0), is_text=False) for frame in _marked(frames)]
    return [
        Block(data=bytearray().join(packed[start : start + at_a_time]), marks=())
        for start in range(0, len(packed), at_a_time)
    ]


def marked(frame: bytes, mark: int) -> bytes:
    """The same frame with another mark."""
    return b"%b%d%b" % (_MARK, mark, frame[len(_MARK) + 16 :])


def mark_in(value: bytes) -> int:
    """The mark of a frame's JSON."""
    at = len(_MARK)
    return int(value[at : at + 16])


def framed(body: bytes, *, is_text: bool) -> bytes:
    """An unmasked frame as a server sends it (RFC 6455 section 5.2)."""
    first = _TEXT if is_text else _BINARY
    if len(body) < 126:
        return bytes((first, len(body))) + body
    if len(body) < 65_536:
        return bytes((first, 126)) + len(body).to_bytes(2, "big") + body
    return bytes((first, 127)) + len(body).to_bytes(8, "big") + body


def _marked(frames: Sequence[bytes]) -> Iterator[bytes]:
    for mark, frame in enumerate(frames, start=LEAST_MARK):
        yield marked(frame, mark)


def _text_block(frames: Sequence[bytes]) -> Block:
    data, marks = bytearray(), []
    for frame in frames:
        whole = framed(frame, is_text=True)
        marks.append(len(data) + len(whole) - len(frame) + len(_MARK))
        data += whole
    return Block(data=data, marks=marks)
