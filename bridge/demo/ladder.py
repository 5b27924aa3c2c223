"""How far backpressure went: the steps from an open valve to a frame that is shed, from the workers' events."""

import msgspec

from bridge.core.events.ingress import (
    FramesShed,
    HoldingSampled,
    PauseOverrun,
    PauseProlonged,
    ReadingPaused,
    ReadingResumed,
    ValveClosed,
    ValveOpened,
    ValveOverridden,
    WritingResumed,
    WritingStalled,
)
from bridge.core.events.kinds import Event
from bridge.ports import Clock

VALVE = "valve closed: the ranker is behind"
PAUSE = "sockets not read: TCP pushes back on Genesys"
BOUND = "pause reached its bound: read on"
AWAY = "Kafka acknowledges nothing: frames held"
SHED = "frames shed, and told"


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One step: how often it was taken (for the last one: frames), and how long it lasted at most (None: no time)."""

    name: str
    times: int
    longest_s: float | None


class LadderTold(msgspec.Struct, frozen=True, kw_only=True):
    """The whole ladder, lowest step first, and the most that was held between the sockets and Kafka."""

    steps: list[Step]
    most_held_frames: int
    most_held_bytes: int


# Which events begin and end a step.
_BEGINS: dict[type[Event], str] = {
    ValveClosed: VALVE,
    ReadingPaused: PAUSE,
    ValveOverridden: BOUND,
    PauseOverrun: BOUND,
    PauseProlonged: BOUND,
    WritingStalled: AWAY,
}
_ENDS: dict[type[Event], tuple[str, ...]] = {
    ValveOpened: (VALVE,),
    ReadingResumed: (PAUSE, BOUND),
    ValveOverridden: (PAUSE,),
    PauseOverrun: (PAUSE,),
    WritingResumed: (AWAY,),
}


class Ladder:
    """Takes the events of ingress (`emit`); `told` is what came of them. Clock in epoch milliseconds."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._times = dict.fromkeys((VALVE, PAUSE, BOUND, AWAY, SHED), 0)
        self._longest_s: dict[str, float] = {}
        self._since_ms: dict[str, int] = {}
        self._held_frames = 0
        self._held_bytes = 0

    def emit(self, event: Event) -> None:
        """Takes an event of a worker."""
        match event:
            case FramesShed(frames=frames):
                self._times[SHED] += frames
            case HoldingSampled(frames=frames, held_bytes=held_bytes):
                self._held_frames = max(self._held_frames, frames)
                self._held_bytes = max(self._held_bytes, held_bytes)
        for name in _ENDS.get(type(event), ()):
            self._end(name)
        begun = _BEGINS.get(type(event))
        if begun is not None:
            self._times[begun] += 1
            self._since_ms.setdefault(begun, self._clock())

    def now(self) -> str | None:
        """The highest step that lasts now; None where there is none."""
        return next((name for name in (AWAY, BOUND, PAUSE, VALVE) if name in self._since_ms), None)

    def told(self) -> LadderTold:
        """Everything so far; a step that still lasts is told up to now."""
        for name in list(self._since_ms):
            self._end(name)
        return LadderTold(
            steps=[
                Step(name=name, times=times, longest_s=self._longest_s.get(name)) for name, times in self._times.items()
            ],
            most_held_frames=self._held_frames,
            most_held_bytes=self._held_bytes,
        )

    def _end(self, name: str) -> None:
        since_ms = self._since_ms.pop(name, None)
        if since_ms is not None:
            lasted_s = (self._clock() - since_ms) / 1000
            self._longest_s[name] = max(self._longest_s.get(name, 0.0), lasted_s)
