"""What ingress tells of subscriptions: the table, what begins and ends, and what may have been missed."""

from dataclasses import dataclass
from typing import ClassVar

from bridge.core.events.kinds import Counter, Event, Gauge, Level


@dataclass(frozen=True, slots=True, kw_only=True)
class GapsTold(Event):
    """Frames of so many interactions may have been missed; the audit topic is told from when to when for each."""

    level: ClassVar[Level] = "warning"
    metrics: ClassVar = (
        Counter("bridge_reception_gaps", "Gaps told, one for each interaction", labels=("cause",), by="interactions"),
    )

    cause: str
    interactions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionsStarted(Event):
    """Interactions were subscribed by this replica for the first time; `reason` is written or takeover."""

    metrics: ClassVar = (
        Counter("bridge_subscriptions_started", "Subscriptions started", labels=("reason",), by="interactions"),
    )

    reason: str
    interactions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionsEnded(Event):
    """Subscriptions are over: unsubscribed, expired, or as Genesys said."""

    metrics: ClassVar = (Counter("bridge_subscriptions_ended", "Subscriptions ended", by="interactions"),)

    reason: str
    interactions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionSetAside(Event):
    """A record of the subscription topic that is no subscription is a dead letter."""

    level: ClassVar[Level] = "warning"
    metrics: ClassVar = (
        Counter("bridge_ingress_dead_subscriptions", "Subscription records set aside", labels=("dlq_class",)),
    )

    partition: int
    offset: int
    dlq_class: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionsAssigned(Event):
    """A rebalance of the subscription topic has ended."""

    metrics: ClassVar = (
        Gauge("bridge_ingress_partitions", "Subscription partitions of this replica", value="owned", zero_in="ingress"),
    )

    owned: int
    gained: int
    lost: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TableReadFailed(Event):
    """The subscription topic could not be read: its consumer is made anew; what is subscribed stays subscribed."""

    level: ClassVar[Level] = "warning"
    metrics: ClassVar = (Counter("bridge_table_failures", "Failed consumers of the subscription topic"),)

    reason: str
    retry_in_s: float
