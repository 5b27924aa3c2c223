"""Whether a worker is stuck: it has something to do, waits for nothing, and finishes none of it."""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

_Place = TypeVar("_Place", bound=Hashable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What was seen of one thing that is to make progress: a number, or the way to its numbers.

    `progress` is anything that changes when something was finished. `is_running`: it could make some; while it is
    being set up, nobody expects any. `waits`: for something outside, on purpose.
    """

    what: str
    progress: int
    has_work: bool
    is_running: bool = True
    waits: bool = False


@dataclass(slots=True)
class _Clock:
    progress: int
    good_at_s: float
    since_s: float
    was_in_vain: bool = False
    is_stuck: bool = False


class Watchdog:
    """Asks for a new consumer where something is stuck for `stuck_after_s`, and tells where that did not help.

    Times are monotonic seconds.
    """

    def __init__(self, *, stuck_after_s: float) -> None:
        self._stuck_after_s = stuck_after_s
        self._clocks: dict[str, _Clock] = {}

    def look(self, sights: Iterable[Sight], *, now_s: float, is_all: bool = True) -> list[str]:
        """What is stuck now, and was not told within the last `stuck_after_s`.

        Where this is all that there is, everything else is forgotten: it is somebody else's concern now.
        """
        seen = {sight.what: sight for sight in sights}
        if is_all:
            self._clocks = {what: clock for what, clock in self._clocks.items() if what in seen}
        return [what for what, sight in seen.items() if self._is_due(sight, now_s)]

    def stalled_s(self, now_s: float) -> float:
        """For how long the longest has been stuck that is so in spite of a new consumer; 0 while there is none."""
        return max((now_s - clock.good_at_s for clock in self._clocks.values() if clock.is_stuck), default=0.0)

    def _is_due(self, sight: Sight, now_s: float) -> bool:
        clock = self._clocks.get(sight.what)
        if clock is not None and not sight.is_running and not sight.waits:
            clock.since_s = now_s
            return False
        if clock is None or clock.progress != sight.progress or not sight.has_work or sight.waits:
            self._clocks[sight.what] = _Clock(progress=sight.progress, good_at_s=now_s, since_s=now_s)
            return False
        if now_s - clock.since_s < self._stuck_after_s:
            return False
        clock.is_stuck = clock.was_in_vain
        clock.was_in_vain = True
        clock.since_s = now_s
        return True


class HeldUp(Generic[_Place]):
    """For how long the last stable offset of each partition has stood still below its high watermark.

    While a transaction is open there, nobody who reads committed records sees anything after its first record.
    """

    def __init__(self) -> None:
        self._since: dict[_Place, tuple[int, float]] = {}

    def look(self, stable: Mapping[_Place, int], ends: Mapping[_Place, int], *, now_s: float) -> dict[_Place, float]:
        """Seconds for each partition, 0 where nothing is held up."""
        since = {}
        for place, offset in stable.items():
            before, at_s = self._since.get(place, (offset, now_s))
            is_held = offset < ends[place] and offset == before
            since[place] = (offset, at_s if is_held else now_s)
        self._since = since
        return {place: now_s - at_s for place, (_, at_s) in since.items()}
