"""The lag of numbers that are not running, on a real broker."""

from collections.abc import AsyncIterator

import pytest
from aiokafka import TopicPartition

from bridge.adapters.kafka.idle import IdleLag
from bridge.adapters.kafka.start_stop import start_client, stop_client
from tests.kafka.cluster import Cluster

pytestmark = pytest.mark.broker


@pytest.fixture
async def lag(cluster: Cluster) -> AsyncIterator[IdleLag]:
    probe, admin = cluster.clients.reader(isolation_level="read_uncommitted"), cluster.clients.admin()
    for client in (probe, admin):
        await start_client(client, timeout_s=30, topics=[*cluster.topics.names()])
    yield IdleLag(f"{cluster.options.prefix}ranker", probe=probe, admin=admin)
    for client in (probe, admin):
        await stop_client(client, timeout_s=10)


async def test_counts_from_what_is_known_else_committed_else_from_the_beginning(cluster: Cluster, lag: IdleLag) -> None:
    topic = cluster.topics.raw_suggestions
    first, second = TopicPartition(topic, 0), TopicPartition(topic, 1)
    for partition in (first, second):
        await cluster.send(topic, *[b"v"] * 5, number=partition.partition)
    await cluster.commit("ranker", {first: 2})
    assert await lag.records({first: 4}) == 1
    assert await lag.records({first: None}) == 3
    assert await lag.records({first: None, second: None}) == 3 + 5
