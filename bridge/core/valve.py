"""Lag in -> open or closed: whether the sockets may be read."""

from dataclasses import dataclass
from math import nan
from typing import Annotated, ClassVar, Literal

from bridge.core.options import Within

Turn = Literal["paused", "overridden", "prolonged", "resumed"]
Cause = Literal["valve", "queue", "bound"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The section `valve`."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    # Ten seconds of a busy tenant (500 frames/s): behind by more, an agent reads suggestions to what was said long ago.
    close_above_records: Annotated[int, Within(1, 100_000_000)] = 5_000
    # Well below, but above the sawtooth of one ranker transaction a partition, so that it is reached under load.
    reopen_at_records: Annotated[int, Within(0, 100_000_000)] = 1_000
    # Four samples: what the last decision did to the lag has arrived.
    min_dwell_s: Annotated[float, Within(0, 3_600)] = 2.0
    # Three small requests to Kafka each time.
    sample_every_s: Annotated[float, Within(0.05, 60)] = 0.5
    # The ranker's group may take a rebalance (its session timeout) before anybody knows its positions again.
    unknown_after_s: Annotated[float, Within(0, 86_400)] = 45.0
    # Whose lag counts, full names; the largest of several. Empty is the ranker's own group.
    groups: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.reopen_at_records > self.close_above_records:
            raise ValueError("reopen_at_records must not be above close_above_records")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """How far behind: unread records, and the time of the oldest of them (epoch milliseconds).

    `oldest_ms` is None where nothing is unread, or where the oldest could not be read.
    """

    records: int
    oldest_ms: int | None = None

    def age_s(self, at_ms: int) -> float:
        """Seconds since the oldest unread record was written; 0 where nothing is unread, NaN where nobody knows."""
        if self.oldest_ms is None:
            return nan if self.records else 0.0
        return max(0, at_ms - self.oldest_ms) / 1000


class Valve:
    """Closed above one lag, open again at a lower one, each for a minimum time; between the two nothing changes.

    A lag that nobody knows is never zero: the last decision is kept, and after `unknown_after_s` it acts as closed, so
    that the pause's own bound decides. Times are monotonic seconds.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._changed_at_s: float | None = None
        self._unknown_since_s: float | None = None
        self.is_open = True
        self.lag_records: int | None = None

    def sample(self, lag_records: int | None, *, now_s: float) -> bool:
        """Takes what the probe saw (None where nobody knows); True if that opened or closed the valve."""
        self.lag_records = lag_records
        wants_open = self._wants_open(lag_records, now_s)
        if wants_open == self.is_open or self._dwells(now_s):
            return False
        self.is_open = wants_open
        self._changed_at_s = now_s
        return True

    def unknown_s(self, now_s: float) -> float:
        """For how long nobody has known the lag; 0 while it is known."""
        return 0.0 if self._unknown_since_s is None else now_s - self._unknown_since_s

    def _wants_open(self, lag_records: int | None, now_s: float) -> bool:
        if lag_records is None:
            if self._unknown_since_s is None:
                self._unknown_since_s = now_s
            return self.is_open and now_s - self._unknown_since_s < self._options.unknown_after_s
        self._unknown_since_s = None
        if self.is_open:
            return lag_records <= self._options.close_above_records
        return lag_records <= self._options.reopen_at_records

    def _dwells(self, now_s: float) -> bool:
        return self._changed_at_s is not None and now_s - self._changed_at_s < self._options.min_dwell_s


class Gate:
    """The thing that ingress waits at before it reads: a full queue or a closed valve closes it, for a bounded time.

    After `pause_max_s` the overflow decides: `write` and `shed` read on; `block` does so only where Kafka has
    acknowledged nothing for as long, because then the holding buffer is what there is. A pause ends when the valve is
    open and the queue has fallen to half its bound. Times are monotonic seconds.
    """

    def __init__(self, *, max_queue_frames: int, pause_max_s: float, overflow: str) -> None:
        self._max_queue_frames = max_queue_frames
        self._pause_max_s = pause_max_s
        self._paused_at_s: float | None = None
        self._turn: Turn = "resumed"
        self.overflow = overflow
        self.is_open = True
        self.cause: Cause | None = None
        """Why there is a pause, whether or not it has reached its bound."""
        self.lasted_s = 0.0
        """How long the pause has lasted, or the last one did; what was read on after its bound included."""

    def look(
        self, *, queue_frames: int, valve_is_open: bool, stalled_s: float, is_full: bool, now_s: float
    ) -> Turn | None:
        """Decides again; returns what has turned, if anything has.

        From its bound on a pause is "overridden" while frames are read, "prolonged" while they must not be.
        `stalled_s`: for so long nothing was acknowledged though something waits. `is_full`: what may never be shed
        fills the buffer by itself; then nothing is read, whatever the overflow, because memory is bounded and nothing
        may go missing untold.
        """
        if self._paused_at_s is not None:
            self.lasted_s = now_s - self._paused_at_s
        self.cause = self._cause(queue_frames, valve_is_open=valve_is_open, is_full=is_full)
        if self.cause is None:
            return self._resume()
        if self._paused_at_s is None:
            self._paused_at_s, self.lasted_s, self.is_open, self._turn = now_s, 0.0, False, "paused"
            return self._turn
        may_overrun = self.overflow != "block" or stalled_s >= self._pause_max_s
        is_over = self.lasted_s >= self._pause_max_s
        self.is_open = is_over and may_overrun and not is_full
        former, self._turn = self._turn, ("overridden" if self.is_open else "prolonged") if is_over else "paused"
        return self._turn if self._turn != former else None

    def _cause(self, queue_frames: int, *, valve_is_open: bool, is_full: bool) -> Cause | None:
        if is_full:
            return "bound"
        if not valve_is_open:
            return "valve"
        is_paused = self._paused_at_s is not None
        # Half: at a single limit each frame would pause and resume.
        is_long = queue_frames * 2 > self._max_queue_frames if is_paused else queue_frames >= self._max_queue_frames
        return "queue" if is_long else None

    def _resume(self) -> Turn | None:
        if self._paused_at_s is None:
            return None
        self._paused_at_s, self.is_open, self._turn = None, True, "resumed"
        return self._turn
