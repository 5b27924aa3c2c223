"""The running demo as a person sees it: events and simulators in, a snapshot out."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic

from bridge.core.events.exporter import ExportDelivered, ExportRefused
from bridge.core.events.hops import BatchRanked, BatchTallied
from bridge.core.events.ingress import FrameSetAside, FramesWritten, LagSampled, ValveClosed, ValveOpened
from bridge.core.events.kinds import Event
from bridge.demo.ladder import Ladder
from bridge.demo.timeline import PlannedFault
from bridge.ports import Clock

_RATE_OVER_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """A hop: how many so far, and how many a second lately."""

    name: str
    total: int
    per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultSeen:
    """A fault as far as it has come: not yet, going on, or over after so many seconds."""

    name: str
    at_s: float
    has_begun: bool
    over_after_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What there is to see at one moment."""

    elapsed_s: float
    seconds: float
    counts: Sequence[Count]
    lag_records: int | None
    is_valve_open: bool
    backpressure: str | None
    latency_ms: tuple[float, float] | None
    last_list: str
    last_click: str
    faults: Sequence[FaultSeen]
    phase: str


class Watch:
    """Takes the workers' events (`emit`) and what the simulators tell; `snapshot` is what a view shows."""

    def __init__(self, faults: Sequence[PlannedFault], *, seconds: float, clock: Clock) -> None:
        self.phase = "starting"
        self.last_list = ""
        self.last_click = ""
        self.latencies_ms: deque[int] = deque(maxlen=200)
        self.valve: list[tuple[int, bool]] = []
        self.ladder = Ladder(clock=clock)
        self._faults = faults
        self._seconds = seconds
        self._clock = clock
        self._started_s: float | None = None
        self._totals: dict[str, int] = {
            "frames sent": 0,
            "raw": 0,
            "ranked": 0,
            "withheld": 0,
            "clicks": 0,
            "exports delivered": 0,
            "dead letters": 0,
        }
        self._history: deque[tuple[float, dict[str, int]]] = deque()
        self._lag_records: int | None = None
        self._felt: set[str] = set()
        self._over: dict[str, float] = {}

    def start(self) -> None:
        """The time of the faults begins now."""
        self._started_s = monotonic()
        self.phase = "running"

    @property
    def elapsed_s(self) -> float:
        """Seconds since `start`."""
        return 0.0 if self._started_s is None else monotonic() - self._started_s

    def emit(self, event: Event) -> None:
        """Takes an event of a worker."""
        self._count(event)
        self.ladder.emit(event)
        if isinstance(event, LagSampled):
            self._lag_records = event.lag_records
        elif isinstance(event, ValveClosed | ValveOpened):
            self.valve.append((self._clock(), isinstance(event, ValveOpened)))
        for fault in self._faults:
            if self.elapsed_s > fault.at_s:
                self._follow(fault, event)

    def sent(self, frames: int) -> None:
        """Genesys has sent so many frames so far."""
        self._totals["frames sent"] = frames

    def snapshot(self) -> Snapshot:
        """What there is to see now."""
        return Snapshot(
            elapsed_s=min(self.elapsed_s, self._seconds),
            seconds=self._seconds,
            counts=self._counts(),
            lag_records=self._lag_records,
            is_valve_open=not self.valve or self.valve[-1][1],
            backpressure=self.ladder.now(),
            latency_ms=_percentiles(self.latencies_ms),
            last_list=self.last_list,
            last_click=self.last_click,
            faults=[self._seen(fault) for fault in self._faults],
            phase=self.phase,
        )

    def _follow(self, fault: PlannedFault, event: Event) -> None:
        if fault.felt_with is None or isinstance(event, fault.felt_with):
            self._felt.add(fault.name)
        if isinstance(event, fault.over_with) and fault.name in self._felt:
            self._over.setdefault(fault.name, self.elapsed_s - fault.at_s)

    def _count(self, event: Event) -> None:
        match event:
            case FramesWritten(topic=topic, records=records) if topic.endswith("raw-suggestions"):
                self._totals["raw"] += records
            case FrameSetAside():
                self._totals["dead letters"] += 1
            case BatchRanked():
                self._totals["ranked"] += event.ranked
                self._totals["withheld"] += event.withheld
                self._totals["dead letters"] += event.dead
            case BatchTallied():
                self._totals["clicks"] += event.clicks
                self._totals["dead letters"] += event.dead
            case ExportDelivered():
                self._totals["exports delivered"] += 1
            case ExportRefused():
                self._totals["dead letters"] += 1

    def _counts(self) -> list[Count]:
        now_s = monotonic()
        self._history.append((now_s, dict(self._totals)))
        while len(self._history) > 2 and now_s - self._history[0][0] > _RATE_OVER_S:
            self._history.popleft()
        then_s, then = self._history[0]
        over_s = max(now_s - then_s, 0.001)
        return [
            Count(name=name, total=total, per_s=(total - then[name]) / over_s) for name, total in self._totals.items()
        ]

    def _seen(self, fault: PlannedFault) -> FaultSeen:
        return FaultSeen(
            name=fault.name,
            at_s=fault.at_s,
            has_begun=self.elapsed_s >= fault.at_s,
            over_after_s=self._over.get(fault.name),
        )


def _percentiles(values: Sequence[int] | deque[int]) -> tuple[float, float] | None:
    """p50 and p99."""
    return None if not values else (percentile(values, 50), percentile(values, 99))


def percentile(values: Sequence[int] | deque[int], of_100: int) -> float:
    """The nearest-rank percentile; values must not be empty."""
    ranked = sorted(values)
    return float(ranked[max(0, -(-len(ranked) * of_100 // 100) - 1)])


Show = Callable[[Snapshot], None]
