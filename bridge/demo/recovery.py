"""How long each fault of the demo was felt, told from the topics and from what the simulators saw."""

from collections.abc import Callable, Sequence

import msgspec

from bridge.demo import timeline
from bridge.demo.accounts import Seen, is_delivered
from bridge.demo.timeline import PlannedFault


class FaultTold(msgspec.Struct, frozen=True, kw_only=True):
    """A fault: when it began (seconds after the start), and after how many seconds it was over (None: it was not)."""

    name: str
    at_s: float
    recovered_after_s: float | None


def tell(
    faults: Sequence[PlannedFault], seen: Seen, *, started_ms: int, valve: Sequence[tuple[int, bool]]
) -> list[FaultTold]:
    """Each fault with its end. `valve` is when the valve closed (False) and opened (True), epoch milliseconds."""
    ends: dict[str, Callable[[int], int | None]] = {
        timeline.GZIP_BURST: lambda _: _all_arrived(seen, encoding="gzip"),
        timeline.GARBAGE: lambda _: _all_arrived(seen, kind="garbage"),
        timeline.CLOSE: lambda at_ms: _first_on_new_socket(seen, at_ms),
        timeline.EXPIRED_TOKEN: lambda at_ms: _first_on_new_socket(seen, at_ms),
        timeline.KMP_DOWN: lambda at_ms: _first_delivery_after_503(seen, at_ms),
        timeline.VALVE_BURST: lambda at_ms: _opened_again(valve, at_ms),
    }
    told = []
    for fault in faults:
        at_ms = started_ms + round(fault.at_s * 1000)
        end_ms = ends[fault.name](at_ms)
        after_s = None if end_ms is None else max(0.0, (end_ms - at_ms) / 1000)
        told.append(FaultTold(name=fault.name, at_s=fault.at_s, recovered_after_s=after_s))
    return told


def _all_arrived(seen: Seen, *, encoding: str | None = None, kind: str | None = None) -> int | None:
    """When the last such frame became a raw record, or a dead letter; None if one did not."""
    times = seen.raw_times()
    if kind is None:
        frames = [frame for frame in seen.frames if frame.encoding == encoding and frame.kind == "suggestions"]
    else:
        frames = [frame for frame in seen.frames if frame.kind == kind]
    arrived = [times.get(frame.digest) for frame in frames]
    return None if not arrived or None in arrived else max(at_ms for at_ms in arrived if at_ms is not None)


def _first_on_new_socket(seen: Seen, at_ms: int) -> int | None:
    """When the first frame arrived that a socket opened after `at_ms` has carried."""
    times = seen.raw_times()
    old = {frame.socket for frame in seen.frames if frame.at_ms < at_ms}
    arrived = (times.get(frame.digest) for frame in seen.frames if frame.socket not in old)
    return min((one for one in arrived if one is not None), default=None)


def _first_delivery_after_503(seen: Seen, at_ms: int) -> int | None:
    answered = [post.at_ms for post in seen.posts if post.status == 503 and post.at_ms >= at_ms]
    if not answered:
        return None
    return min((post.at_ms for post in seen.posts if is_delivered(post) and post.at_ms >= max(answered)), default=None)


def _opened_again(valve: Sequence[tuple[int, bool]], at_ms: int) -> int | None:
    closed = [one for one, is_open in valve if not is_open and one >= at_ms]
    if not closed:
        return None
    return min((one for one, is_open in valve if is_open and one >= min(closed)), default=None)
