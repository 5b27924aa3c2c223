"""Whether Kafka acknowledges what is written, and whether this process gets to read: looked at now and then."""

from collections.abc import Callable

from bridge.core.events.ingress import StoodStill, WritingResumed, WritingStalled
from bridge.core.gaps import Backlogs
from bridge.core.holding import Holding
from bridge.ports import Clock, Emit

# Kafka acknowledges within milliseconds; an election of leaders takes a second or two.
AWAY_AFTER_S = 3.0
# A look that comes so much later than it should says that the process stood still.
_LATE_S = 1.0


class Stalls:
    """Tells when Kafka stops acknowledging and when it goes on, and when the process stood still.

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
        self._due_s: float | None = None

    def look(self, *, again_in_s: float) -> None:
        """Looks, and expects to be called again in so many seconds."""
        now_s, stalled_s = self._now_s(), self._stalled_s()
        late_s = 0.0 if self._due_s is None else now_s - self._due_s
        self._due_s = now_s + again_in_s
        if late_s >= _LATE_S:
            at_ms = self._clock()
            self._backlogs.stood_still(from_ms=at_ms - round(late_s * 1000), to_ms=at_ms)
            self._emit(StoodStill(stood_s=late_s))
        if stalled_s >= AWAY_AFTER_S and self._stalled_since_s is None:
            self._stalled_since_s = now_s - stalled_s
            held = self._holding
            self._emit(WritingStalled(stalled_s=stalled_s, frames=held.frames, held_bytes=held.bytes))
        elif stalled_s < AWAY_AFTER_S and self._stalled_since_s is not None:
            self._emit(WritingResumed(stalled_s=now_s - self._stalled_since_s))
            self._stalled_since_s = None
