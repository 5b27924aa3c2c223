"""The topics: their names on the cluster, and how each must be set up (`bridge topics apply`)."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Annotated, ClassVar

from bridge.core.options import Within

_DAY_MS = 24 * 60 * 60 * 1000
_MIB = 1024 * 1024
# The largest record that the bridge writes to a data topic: `max.message.bytes` limits the batch around it, too.
MAX_RECORD_BYTES = _MIB - 1024
# The same for `dlq.*`.
MAX_DEAD_LETTER_BYTES = 2 * _MIB - 1024
# From three replicas on, what was acknowledged is on two of them, so that losing any one broker loses nothing. Kafka's
# own default is 1. With fewer replicas, a broker that is away would stop the writing.
_ENOUGH_REPLICAS = 3
_SAFE = {"min.insync.replicas": "2"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The section `topics`: a name for each topic, and the size of them all."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    interaction_subscriptions: str = "interaction-subscriptions"
    raw_suggestions: str = "raw-suggestions"
    ranked_suggestions: str = "ranked-suggestions"
    suggestion_clicks: str = "suggestion-clicks"
    interaction_acceptance: str = "interaction-acceptance"
    acceptance_exports: str = "acceptance-exports"
    suggestion_audit: str = "suggestion-audit"
    dlq_ingress: str = "dlq.ingress"
    dlq_ranker: str = "dlq.ranker"
    dlq_clicks: str = "dlq.clicks"
    dlq_exports: str = "dlq.exports"
    partitions: Annotated[int, Within(1, 10_000)] = 12
    replication_factor: Annotated[int, Within(1, 32)] = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Topics:
    """The topics' full names (prefix included), one field each, and their common number of partitions."""

    interaction_subscriptions: str
    raw_suggestions: str
    ranked_suggestions: str
    suggestion_clicks: str
    interaction_acceptance: str
    acceptance_exports: str
    suggestion_audit: str
    dlq_ingress: str
    dlq_ranker: str
    dlq_clicks: str
    dlq_exports: str
    partitions: int

    def names(self) -> Iterator[str]:
        """Every full name, in the order of the data."""
        for field in fields(self):
            if field.name != "partitions":
                yield getattr(self, field.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicPlan:
    """How one topic must be: its full name and its settings in Kafka's words."""

    name: str
    configs: dict[str, str]


def topics_of(options: Options, *, prefix: str = "") -> Topics:
    """The full names that follow from the options and `kafka.prefix`."""
    names = {
        field.name: prefix + getattr(options, field.name) for field in fields(Topics) if field.name != "partitions"
    }
    return Topics(**names, partitions=options.partitions)


def plans_of(topics: Topics, *, replication_factor: int = 1) -> list[TopicPlan]:
    """How each topic must be set up."""
    plans = _plans(topics)
    if replication_factor < _ENOUGH_REPLICAS:
        return plans
    return [TopicPlan(name=plan.name, configs=plan.configs | _SAFE) for plan in plans]


def _plans(topics: Topics) -> list[TopicPlan]:
    compact = {"cleanup.policy": "compact", "max.message.bytes": str(_MIB)}
    dlq = _kept(days=30) | {"max.message.bytes": str(2 * _MIB)}
    by_append_time = {"message.timestamp.type": "LogAppendTime"}
    return [
        TopicPlan(name=topics.interaction_subscriptions, configs=compact),
        TopicPlan(name=topics.raw_suggestions, configs=_kept(days=7)),
        TopicPlan(name=topics.ranked_suggestions, configs=_kept(days=7) | by_append_time),
        TopicPlan(name=topics.suggestion_clicks, configs=_kept(days=30) | by_append_time),
        TopicPlan(name=topics.interaction_acceptance, configs=compact),
        TopicPlan(name=topics.acceptance_exports, configs=_kept(days=30)),
        TopicPlan(name=topics.suggestion_audit, configs=_kept(days=90)),
        TopicPlan(name=topics.dlq_ingress, configs=dlq),
        TopicPlan(name=topics.dlq_ranker, configs=dlq),
        TopicPlan(name=topics.dlq_clicks, configs=dlq),
        TopicPlan(name=topics.dlq_exports, configs=dlq),
    ]


def _kept(*, days: int) -> dict[str, str]:
    return {
        "cleanup.policy": "delete",
        "retention.ms": str(days * _DAY_MS),
        "max.message.bytes": str(_MIB),
    }
