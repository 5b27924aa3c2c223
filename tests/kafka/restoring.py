"""Restoring numbers of a hop that does nothing."""

from typing import Any

from aiokafka.admin import AIOKafkaAdminClient

from bridge.adapters.kafka.clients import group_of
from bridge.adapters.kafka.restore import Plan, Restorer
from bridge.adapters.kafka.take_over import Endings
from bridge.core.records import Record
from bridge.ports import Number
from tests.kafka.cluster import Cluster


class Idle:
    """A hop that does nothing."""

    def restore(self, record: Record) -> None: ...

    async def work(self, number: Number) -> None: ...


def restorer_of(cluster: Cluster, admin: AIOKafkaAdminClient, **plan: Any) -> Restorer:
    """Restores numbers of the ranker's group; `plan` are more fields of `Plan`."""
    return Restorer(
        cluster.clients,
        Plan(
            group=group_of(cluster.options, "ranker"),
            topics=[cluster.topics.raw_suggestions],
            state_topic=None,
            audit_topic=cluster.topics.suggestion_audit,
            make_hop=lambda _: Idle(),
            **plan,
        ),
        admin=admin,
        endings=Endings(),
        clock=lambda: 0,
        emit=lambda _: None,
    )
