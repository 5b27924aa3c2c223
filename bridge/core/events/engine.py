"""What the exactly-once engine tells: numbers, transactions, rebalances."""

from dataclasses import dataclass
from typing import ClassVar

from bridge.core.events.kinds import Counter, Event, Gauge, Histogram, Level


@dataclass(frozen=True, slots=True, kw_only=True)
class NumbersAssigned(Event):
    """A rebalance has ended: this process now owns these partition numbers."""

    metrics: ClassVar = (
        Counter("bridge_rebalances", "Rebalances seen by this process", labels=("group",)),
        Gauge("bridge_numbers_owned", "Partition numbers that this process owns", labels=("group",), value="owned"),
    )

    group: str
    owned: int
    gained: int
    kept: int
    lost: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberRestored(Event):
    """A number is running: its former owner is fenced, its state is read, its positions are known."""

    level: ClassVar[Level] = "debug"
    metrics: ClassVar = (
        Histogram(
            "bridge_restore_seconds",
            "From assignment to the first record of a number",
            labels=("group",),
            value="took_s",
        ),
    )

    group: str
    number: int
    state_records: int
    took_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberParked(Event):
    """A number is not worked for now; the reason says what would change that."""

    level: ClassVar[Level] = "warning"
    metrics: ClassVar = (Counter("bridge_numbers_parked", "How often a number was parked", labels=("group",)),)

    group: str
    number: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberAborted(Event):
    """A number did not drain in time before a rebalance or a stop; its open transaction is left to be fenced."""

    level: ClassVar[Level] = "warning"
    metrics: ClassVar = (Counter("bridge_numbers_aborted", "Numbers that did not drain in time", labels=("group",)),)

    group: str
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberFenced(Event):
    """Another process has started this number's producer, or the transaction outlived its timeout."""

    level: ClassVar[Level] = "warning"
    metrics: ClassVar = (Counter("bridge_fences", "Numbers whose producer was fenced", labels=("group",)),)

    group: str
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LagMeasured(Event):
    """How far this process is behind on the numbers that it owns: high watermarks minus committed positions.

    Those that are parked or restoring are among them. None while Kafka does not tell, or which numbers those are.
    """

    level: ClassVar[Level] = "debug"
    metrics: ClassVar = (
        Gauge(
            "bridge_lag_records",
            "Records not yet worked, on owned numbers, parked ones too; NaN where nobody knows",
            labels=("group",),
            value="lag_records",
        ),
    )

    group: str
    lag_records: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StableOffsetMeasured(Event):
    """How long the last stable offset of an owned input has stood below its high watermark: an open transaction.

    None while Kafka does not tell.
    """

    level: ClassVar[Level] = "debug"
    metrics: ClassVar = (
        Gauge(
            "bridge_lso_age_seconds",
            "The longest time for which an open transaction holds up readers of an owned input; NaN where nobody knows",
            labels=("group",),
            value="age_s",
        ),
    )

    group: str
    age_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStuck(Event):
    """There is something to do, nothing is waited for on purpose, nothing was finished: the consumer is made anew."""

    level: ClassVar[Level] = "error"
    metrics: ClassVar = (
        Counter("bridge_workers_stuck", "How often nothing was finished for kafka.stuck_after_s", labels=("group",)),
    )

    group: str
    what: str
    stuck_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionCommitted(Event):
    """A batch, its results and its positions are visible."""

    level: ClassVar[Level] = "debug"
    metrics: ClassVar = (
        Histogram("bridge_transaction_seconds", "From begin to committed", labels=("group",), value="took_s"),
        Counter("bridge_records_written", "Records written in transactions", labels=("group",), by="records"),
    )

    group: str
    number: int
    records: int
    took_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionFailed(Event):
    """A transaction did not commit; the number is restored, and nothing of it is visible."""

    level: ClassVar[Level] = "warning"
    metrics: ClassVar = (
        Counter("bridge_transactions_failed", "Transactions that did not commit", labels=("group", "cause")),
    )

    group: str
    number: int
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InputLost(Event):
    """Records that this group had not read are no longer on the topic: retention has passed them."""

    level: ClassVar[Level] = "error"
    metrics: ClassVar = (Counter("bridge_input_lost", "Offsets that were lost before they were read", by="offsets"),)

    topic: str
    partition: int
    offsets: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerRebuilt(Event):
    """The group consumer failed and is made anew."""

    level: ClassVar[Level] = "warning"
    metrics: ClassVar = (Counter("bridge_consumers_rebuilt", "Group consumers made anew", labels=("group",)),)

    group: str
    reason: str
    retry_in_s: float
