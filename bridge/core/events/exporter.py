"""What the exporter tells: each POST's outcome, and whether the KMP is there."""

from dataclasses import dataclass
from typing import ClassVar

from bridge.core.events.kinds import Counter, Event, Gauge, Histogram, Level, Metric

_IN_FLIGHT = Gauge("bridge_kmp_in_flight", "POSTs under way", value="in_flight", zero_in="exporter")
_OF_EACH_POST: tuple[Metric, ...] = (
    Counter("bridge_kmp_posts", "answers to POSTs, or what kept them from coming, by what they meant", ("outcome",)),
    Histogram("bridge_kmp_post_duration_seconds", "from a POST to its answer", value="took_s", labels=("outcome",)),
    _IN_FLIGHT,
)
_DOWN, _UP = (
    Gauge("bridge_kmp_down", "1 while the KMP gives no good answer", fixed=fixed, zero_in="exporter")
    for fixed in (1, 0)
)
_TRIPPED, _RESET = (
    Gauge("bridge_breaker_tripped", "1 while POSTs rest, or go one at a time", fixed=fixed, zero_in="exporter")
    for fixed in (1, 0)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportPosted(Event):
    """An export is on its way to the KMP."""

    level: ClassVar[Level] = "debug"
    metrics: ClassVar[tuple[Metric, ...]] = (_IN_FLIGHT,)

    in_flight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportCut(Event):
    """A POST was cut off before its answer. If nobody has told what became of it, it is made again, under its key."""

    level: ClassVar[Level] = "warning"
    metrics: ClassVar[tuple[Metric, ...]] = (_IN_FLIGHT,)

    export_id: str
    in_flight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportDelivered(Event):
    """The KMP has an export."""

    level: ClassVar[Level] = "debug"
    metrics: ClassVar[tuple[Metric, ...]] = _OF_EACH_POST

    export_id: str
    status: int
    attempts: int
    took_s: float
    in_flight: int
    outcome: str = "delivered"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRefused(Event):
    """The KMP will never take an export: it becomes a dead letter."""

    level: ClassVar[Level] = "warning"
    metrics: ClassVar[tuple[Metric, ...]] = _OF_EACH_POST

    export_id: str
    status: int
    attempts: int
    took_s: float
    in_flight: int
    outcome: str = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRetried(Event):
    """An export was not taken this time; it is posted again after the delay. `cause` is a status, or what failed."""

    level: ClassVar[Level] = "warning"
    metrics: ClassVar[tuple[Metric, ...]] = (
        *_OF_EACH_POST,
        Counter("bridge_kmp_retries", "POSTs that have to be made again", ("cause",)),
    )

    export_id: str
    cause: str
    detail: str
    delay_s: float
    attempts: int
    took_s: float
    in_flight: int
    outcome: str = "retried"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportUnusable(Event):
    """A record of the exports' topic can't be posted: it becomes a dead letter."""

    level: ClassVar[Level] = "error"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Counter("bridge_exports_unusable", "records that can't be posted", ("dlq_class",)),
    )

    dlq_class: str
    reason: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerTripped(Event):
    """The KMP asked for a rest, or five exports in a row failed: POSTs rest, then go singly until it is well."""

    level: ClassVar[Level] = "warning"
    metrics: ClassVar[tuple[Metric, ...]] = (_TRIPPED,)

    cause: str
    rest_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerReset(Event):
    """POSTs go side by side again (`reason` is answered), or nothing is left to post here (unasked)."""

    metrics: ClassVar[tuple[Metric, ...]] = (_RESET,)

    reason: str
    tripped_for_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class KmpDown(Event):
    """The KMP has given no good answer for half a minute: exports wait, and nothing is lost."""

    level: ClassVar[Level] = "error"
    metrics: ClassVar[tuple[Metric, ...]] = (_DOWN,)

    cause: str
    failing_for_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class KmpBack(Event):
    """The KMP answers again."""

    metrics: ClassVar[tuple[Metric, ...]] = (_UP,)

    failed_for_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class KmpUnasked(Event):
    """Nothing is left to post here while the KMP is down, as after a rebalance: others learn whether it is back."""

    metrics: ClassVar[tuple[Metric, ...]] = (_UP,)

    failed_for_s: float
