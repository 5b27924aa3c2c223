"""What happens to the process as a whole: its start, its HTTP port, its event loop, its stop."""

from dataclasses import dataclass
from typing import ClassVar

from bridge.core.events.kinds import Counter, Event, Gauge, Histogram, Level


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessStarted(Event):
    """Every worker of this process was started."""

    metrics: ClassVar = (Gauge("bridge_process_up", "1 from the start of the workers to their end", fixed=1),)

    workers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpListening(Event):
    """Health and metrics are served on this address."""

    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StartDelayed(Event):
    """What the start needs does not answer yet; it is asked again for `run.start_timeout_s`, longer if told to."""

    level: ClassVar[Level] = "warning"
    metrics: ClassVar = (
        Counter("bridge_start_retries", "attempts to start that failed, by what did not answer", labels=("what",)),
    )

    what: str
    reason: str
    again_in_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LatenessMeasured(Event):
    """The event loop was looked at: it came so late to it."""

    level: ClassVar[Level] = "debug"
    metrics: ClassVar = (
        Gauge("bridge_event_loop_lag_seconds", "How late the event loop came to the latest look", value="late_s"),
    )

    late_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StoodStill(Event):
    """The process did nothing for a second or more: frozen, starved of CPU, or kept by work that does not let go.

    While it stands still there are no heartbeats: beyond `kafka.session_timeout_ms` its partitions are others'.
    """

    level: ClassVar[Level] = "warning"
    metrics: ClassVar = (Counter("bridge_standstills", "Times that the process did nothing for a second or more"),)

    stood_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainStarted(Event):
    """A stop was asked for: nothing new is taken, what was taken is finished and committed."""

    signal: str
    deadline_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainCutShort(Event):
    """The drain did not end within `run.drain_timeout_s`: what is open was dropped, and comes again."""

    level: ClassVar[Level] = "error"
    metrics: ClassVar = (Counter("bridge_drains_cut_short", "stops that their deadline ended"),)

    workers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerFailed(Event):
    """A worker ended with an error; the process stops. `reason` is the kind of the error, never its text."""

    level: ClassVar[Level] = "error"
    metrics: ClassVar = (Counter("bridge_worker_failures", "workers that ended with an error", labels=("worker",)),)

    worker: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessStopped(Event):
    """Every worker has ended."""

    metrics: ClassVar = (
        Gauge("bridge_process_up", "1 from the start of the workers to their end", fixed=0),
        Histogram("bridge_drain_duration_seconds", "time from the signal to the end of all workers", value="drained_s"),
    )

    exit_code: int
    drained_s: float
