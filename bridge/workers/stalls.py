"""Whether Kafka acknowledges what is written, and whether this process gets to read: looked at now and then."""

from collections.abc import Callable

from bridge.core.events.ingress import FramesWaited, WritingResumed, WritingStalled
from bridge.core.gaps import Backlogs
from bridge.core.holding import Holding
from bridge.core.standstill import STOOD_STILL_FROM_S, Looks
from bridge.ports import Clock, Emit

# Kafka acknowledges within milliseconds; an election of leaders takes a second or two.
AWAY_AFTER_S = 3.0


class Stalls:
    """Tells when Kafka stops acknowledging and when it goes on, and for how long frames waited for this process.

    `stalled_s` says for how long Kafka has acknowledged nothing of what waits. `backlogs` are told of standstills.
    Times are monotonic seconds.
    """

    def __init__(
        self,
        *,
        stalled_s: Callable[[], float],
        holding: Holding,
        backlogs: Backlogs,
        emit: Emit,
        clock: Clock,
        now_s: Callable[[], float],
    ) -> None:
        self._stalled_s = stalled_s
        self._holding = holding
        self._backlogs = backlogs
        self._emit = emit
        self._clock = clock
        self._now_s = now_s
        self._stalled_since_s: float | None = None
        self._looks = Looks()

    def look(self, *, again_in_s: float) -> None:
        """Looks, and expects to be called again in so many seconds."""
        now_s, stalled_s = self._now_s(), self._stalled_s()
        late_s = self._looks.late_s(now_s, again_in_s=again_in_s)
        if late_s >= STOOD_STILL_FROM_S:
            at_ms = self._clock()
            self._backlogs.stood_still(from_ms=at_ms - round(late_s * 1000), to_ms=at_ms)
            self._emit(FramesWaited(waited_s=late_s))
        if stalled_s >= AWAY_AFTER_S and self._stalled_since_s is None:
            self._stalled_since_s = now_s - stalled_s
            held = self._holding
            self._emit(WritingStalled(stalled_s=stalled_s, frames=held.frames, held_bytes=held.bytes))
        elif stalled_s < AWAY_AFTER_S and self._stalled_since_s is not None:
            self._emit(WritingResumed(stalled_s=now_s - self._stalled_since_s))
            self._stalled_since_s = None
