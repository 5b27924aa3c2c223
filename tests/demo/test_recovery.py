"""How long each fault was felt."""

from collections.abc import Sequence

import msgspec

from bridge.core.records import Record, StoredRecord, digest
from bridge.core.topics import Options, topics_of
from bridge.demo import timeline
from bridge.demo.accounts import Seen
from bridge.demo.recovery import tell
from bridge.simulator.kmp import Post
from bridge.simulator.outlet import SentFrame

TOPICS = topics_of(Options(partitions=1))
STARTED_MS = 1_000_000
PLAN = {fault.name: fault for fault in timeline.plan(10, burst_frames=1)}


def frame(value: bytes, *, at_ms: int, socket: int = 0, encoding: str = "text", kind: str = "suggestions") -> SentFrame:
    """A frame that the simulator sent."""
    return msgspec.convert(
        {
            "serial": at_ms,
            "interactionId": "i",
            "atMs": at_ms,
            "kind": kind,
            "socket": socket,
            "completed": True,
            "encoding": encoding,
            "digest": digest(value),
        },
        SentFrame,
    )


def post(*, at_ms: int, status: int) -> Post:
    return Post(number=0, at_ms=at_ms, key="k", sequence=None, body=b"", status=status, is_repeat=False)


def recovered(
    name: str,
    *,
    frames: Sequence[SentFrame] = (),
    posts: Sequence[Post] = (),
    raw: Sequence[tuple[bytes, int]] = (),
    dead: Sequence[tuple[bytes, int]] = (),
    valve: Sequence[tuple[int, bool]] = (),
) -> float | None:
    """After how many seconds the fault was over; `raw` and `dead` are (value, time) on these topics."""
    records: dict[str, list[Record]] = {topic: [] for topic in TOPICS.names()}
    for topic, written in ((TOPICS.raw_suggestions, raw), (TOPICS.dlq_ingress, dead)):
        records[topic] += [StoredRecord(topic=topic, timestamp=at_ms, value=value) for value, at_ms in written]
    seen = Seen(topics=TOPICS, frames=frames, clicks=[], posts=posts, records=records)
    [told] = tell([PLAN[name]], seen, started_ms=STARTED_MS, valve=valve)
    return told.recovered_after_s


def test_a_gzip_burst_is_over_with_its_last_raw_record() -> None:
    frames = [frame(b"a", at_ms=0, encoding="gzip"), frame(b"b", at_ms=0, encoding="gzip"), frame(b"c", at_ms=0)]
    assert recovered(timeline.GZIP_BURST, frames=frames, raw=[(b"a", 1_001_000), (b"b", 1_001_500)]) == 0.5
    assert recovered(timeline.GZIP_BURST, frames=frames, raw=[(b"a", 1_001_000)]) is None


def test_garbage_is_over_with_its_last_dead_letter() -> None:
    frames = [frame(b"a", at_ms=0, kind="garbage")]
    assert recovered(timeline.GARBAGE, frames=frames, dead=[(b"a", 1_002_250)]) == 0.25
    assert recovered(timeline.GARBAGE, frames=frames) is None


def test_a_closed_socket_is_over_with_the_first_frame_of_the_next_one() -> None:
    frames = [frame(b"a", at_ms=1_000_500), frame(b"b", at_ms=1_003_300, socket=1)]
    assert recovered(timeline.CLOSE, frames=frames, raw=[(b"a", 1_000_501), (b"b", 1_003_400)]) == 0.4
    assert recovered(timeline.CLOSE, frames=frames[:1], raw=[(b"a", 1_000_501)]) is None


def test_a_kmp_that_was_down_is_over_with_the_first_delivery_after_its_last_503() -> None:
    posts = [post(at_ms=1_005_100, status=503), post(at_ms=1_006_100, status=503), post(at_ms=1_006_500, status=200)]
    assert recovered(timeline.KMP_DOWN, posts=posts) == 1.5
    assert recovered(timeline.KMP_DOWN, posts=posts[2:]) is None, "it was never felt"


def test_a_burst_is_over_when_the_valve_it_closed_is_open_again() -> None:
    assert recovered(timeline.VALVE_BURST, valve=[(1_007_100, False), (1_007_600, True)]) == 0.6
    assert recovered(timeline.VALVE_BURST, valve=[]) is None
