"""What ingress tells of frames: their way to Kafka, the valve, pauses, sheds."""

from dataclasses import dataclass
from typing import ClassVar

from bridge.core.events.kinds import Counter, Event, Gauge, Histogram, Level

_PAUSED, _READ = (
    Gauge("bridge_ingress_paused", "1 while the sockets are not read", fixed=fixed, zero_in="ingress")
    for fixed in (1, 0)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FramesWritten(Event):
    """A batch is acknowledged by the brokers; `age_s` is that of its oldest record, from reading to here."""

    level: ClassVar[Level] = "debug"
    metrics: ClassVar = (
        Counter("bridge_ingress_records", "Records acknowledged by the brokers", labels=("topic",), by="records"),
        Counter("bridge_ingress_bytes", "Bytes of values acknowledged", labels=("topic",), by="value_bytes"),
        Histogram("bridge_ingress_age_seconds", "From reading to acknowledged", labels=("topic",), value="age_s"),
    )

    topic: str
    partition: int
    records: int
    value_bytes: int
    age_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldingSampled(Event):
    """What is held between the sockets and Kafka, as it is now and then."""

    level: ClassVar[Level] = "debug"
    metrics: ClassVar = (
        Gauge("bridge_ingress_held_frames", "Frames read and not acknowledged", value="frames", zero_in="ingress"),
        Gauge("bridge_ingress_held_bytes", "Bytes read and not acknowledged", value="held_bytes", zero_in="ingress"),
        Gauge(
            "bridge_ingress_subscriptions",
            "Interactions that this replica carries",
            value="subscriptions",
            zero_in="ingress",
        ),
    )

    frames: int
    held_bytes: int
    subscriptions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LagSampled(Event):
    """The lag that the valve is set by: the ranker's, or the largest of the groups that count.

    `age_s` is that of the oldest unread record: 0 where there is none, NaN where it could not be read.
    """

    level: ClassVar[Level] = "debug"
    metrics: ClassVar = (
        Gauge("bridge_valve_lag_records", "Raw records that are not ranked", value="lag_records"),
        Gauge("bridge_valve_lag_age_seconds", "Age of the oldest raw record that is not ranked", value="age_s"),
    )

    lag_records: int
    age_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LagUnknown(Event):
    """Nobody knows the ranker's lag at the moment; the valve keeps its decision for a while."""

    level: ClassVar[Level] = "debug"
    metrics: ClassVar = (Counter("bridge_valve_lag_unknown", "Samples in which nobody knew the lag"),)

    unknown_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ValveClosed(Event):
    """The ranker is too far behind, or nobody has known its lag for long: the sockets are not read."""

    level: ClassVar[Level] = "warning"
    metrics: ClassVar = (
        Counter("bridge_valve_closings", "How often the valve closed"),
        Gauge("bridge_valve_closed", "1 while the valve is closed", fixed=1, zero_in="ingress"),
    )

    lag_records: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ValveOpened(Event):
    """The ranker has caught up."""

    metrics: ClassVar = (Gauge("bridge_valve_closed", "1 while the valve is closed", fixed=0, zero_in="ingress"),)

    lag_records: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingPaused(Event):
    """The sockets are not read: TCP pushes back. `cause` is valve, queue, or bound (of what may never be shed)."""

    metrics: ClassVar = (
        Counter("bridge_ingress_pauses", "Pauses in reading", labels=("cause",)),
        _PAUSED,
    )

    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingResumed(Event):
    """What caused the pause is over."""

    metrics: ClassVar = (
        _READ,
        Histogram("bridge_ingress_pause_seconds", "How long its cause lasted", value="paused_s"),
    )

    paused_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ValveOverridden(Event):
    """The valve was closed for longer than a pause may last: frames are read and written on, so that none is lost."""

    level: ClassVar[Level] = "warning"
    metrics: ClassVar = (
        Counter("bridge_valve_overridden", "Pauses that outlasted their bound while the valve was closed"),
        _READ,
    )

    lag_records: int | None
    paused_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseOverrun(Event):
    """A pause reached its bound: frames are read on into the holding buffer, which sheds beyond its own bound."""

    level: ClassVar[Level] = "warning"
    metrics: ClassVar = (
        Counter("bridge_ingress_pause_overruns", "Pauses that reached their bound", labels=("cause",)),
        _READ,
    )

    cause: str
    paused_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseProlonged(Event):
    """A pause reached its bound and goes on: so `block` will have it, or what may never be shed fills the buffer."""

    level: ClassVar[Level] = "warning"
    metrics: ClassVar = (
        Counter("bridge_ingress_pauses_prolonged", "Pauses that went on beyond their bound", labels=("cause",)),
        _PAUSED,
    )

    cause: str
    paused_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WritingStalled(Event):
    """Kafka has acknowledged nothing of a batch for seconds: what is read is held, and nothing is lost that fits."""

    level: ClassVar[Level] = "warning"
    metrics: ClassVar = (
        Counter("bridge_ingress_stalls", "How often Kafka acknowledged nothing for seconds"),
        Gauge("bridge_ingress_stalled", "1 while Kafka acknowledges nothing", fixed=1, zero_in="ingress"),
    )

    stalled_s: float
    frames: int
    held_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WritingResumed(Event):
    """Kafka acknowledges again; what was held goes out first, in order."""

    metrics: ClassVar = (
        Gauge("bridge_ingress_stalled", "1 while Kafka acknowledges nothing", fixed=0, zero_in="ingress"),
        Histogram("bridge_ingress_stall_seconds", "How long Kafka acknowledged nothing", value="stalled_s"),
    )

    stalled_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FramesShed(Event):
    """The holding buffer was full: lists were dropped, counted, and told on the audit topic for each interaction."""

    level: ClassVar[Level] = "error"
    metrics: ClassVar = (Counter("bridge_ingress_frames_shed", "Frames shed", labels=("cause",), by="frames"),)

    cause: str
    frames: int
    interactions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FramesWaited(Event):
    """Frames waited in the kernel while the process stood still: a gap that opens now may begin there."""

    level: ClassVar[Level] = "debug"
    metrics: ClassVar = (Histogram("bridge_ingress_standstill_seconds", "How long", value="waited_s"),)

    waited_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameSetAside(Event):
    """A frame that cannot be used is a dead letter."""

    level: ClassVar[Level] = "warning"
    metrics: ClassVar = (Counter("bridge_ingress_dead_frames", "Frames set aside", labels=("dlq_class",)),)

    dlq_class: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteFailed(Event):
    """A batch was not written; it is sent again, before anything else of its partition."""

    level: ClassVar[Level] = "warning"
    metrics: ClassVar = (
        Counter("bridge_ingress_write_failures", "Batches that had to be sent again", labels=("topic", "reason")),
    )

    topic: str
    partition: int
    reason: str
    retry_in_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ProducerReplaced(Event):
    """A batch failed for good, so its producer is replaced; the old one finishes what it has under way."""

    level: ClassVar[Level] = "warning"
    metrics: ClassVar = (Counter("bridge_producers_replaced", "Producers replaced", labels=("topic", "reason")),)

    topic: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordsAbandoned(Event):
    """The stop's deadline came before Kafka took everything: these records are lost."""

    level: ClassVar[Level] = "error"
    metrics: ClassVar = (
        Counter("bridge_ingress_records_abandoned", "Records lost at a stop", labels=("topic",), by="records"),
    )

    topic: str
    records: int
