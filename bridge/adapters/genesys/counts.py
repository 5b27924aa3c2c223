"""What one connection has read, counted until it is told: the hot path only counts."""

from collections import Counter

from bridge.core.dialects.agentassist import Notice, Unreadable
from bridge.core.events.genesys import (
    NOTICE_TYPES,
    DuplicatesSuppressed,
    FramesRead,
    FramesUnreadable,
    NoticesRead,
)
from bridge.ports import Clock, Emit, Intake


class Counts:
    """`suppressed` has the copies by interaction."""

    def __init__(self, *, number: int, clock: Clock, emit: Emit) -> None:
        self.suppressed: Counter[str] = Counter()
        self._number = number
        self._clock = clock
        self._emit = emit
        self._frames_told = 0
        self._notices: Counter[str] = Counter()
        self._unreadable: Counter[str] = Counter()

    def note(self, received: Notice | Unreadable) -> None:
        """Counts a frame that is no suggestion."""
        if isinstance(received, Notice):
            self._notices[received.type if received.type in NOTICE_TYPES else "other"] += 1
        else:
            self._unreadable[received.dlq_class] += 1

    def tell(self, intake: Intake, *, frames: int) -> None:
        """Tells what was counted since the last time; `frames` are all since the connection was opened."""
        number, emit = self._number, self._emit
        if frames > self._frames_told:
            emit(FramesRead(socket=number, frames=frames - self._frames_told))
            self._frames_told = frames
        for kind, notices in self._notices.items():
            emit(NoticesRead(socket=number, type=kind, frames=notices))
        for dlq_class, unreadable in self._unreadable.items():
            emit(FramesUnreadable(socket=number, dlq_class=dlq_class, frames=unreadable))
        self._notices.clear()
        self._unreadable.clear()
        if self.suppressed:
            self._tell_suppressed(intake)

    def _tell_suppressed(self, intake: Intake) -> None:
        self._emit(DuplicatesSuppressed(socket=self._number, frames=self.suppressed.total()))
        at_ms = self._clock()
        for interaction_id, frames in self.suppressed.items():
            intake.suppressed(interaction_id, frames=frames, at_ms=at_ms)
        self.suppressed.clear()
