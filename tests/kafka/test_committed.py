"""The positions of a group, asked of a coordinator that may not be there yet."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from bridge.adapters.kafka.clients import Clients, Options
from bridge.adapters.kafka.committed import committed_positions
from tests.broker import KafkaBroker
from tests.kafka.cluster import Cluster
from tests.kafka.relay import relayed_broker


@pytest.fixture
async def admin(cluster: Cluster) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = cluster.clients.admin()
    await admin.start()
    yield admin
    await admin.close()


@pytest.mark.broker
async def test_a_partition_without_a_position_is_left_out(cluster: Cluster, admin: AIOKafkaAdminClient) -> None:
    first, second = (TopicPartition(cluster.topics.raw_suggestions, number) for number in range(2))
    group = f"{cluster.options.prefix}g"
    await cluster.commit("g", {second: 7})
    assert await committed_positions(admin, group, [first, second], timeout_s=30) == {second: 7}


@pytest.mark.kafka
async def test_the_first_question_that_a_cluster_is_asked_waits_for_the_coordinator(tmp_path: Path) -> None:
    with KafkaBroker(tmp_path / "broker") as broker:
        admin = Clients(Options(bootstrap_servers=broker.bootstrap_servers)).admin()
        await admin.start()
        assert await committed_positions(admin, "g", [TopicPartition("t", 0)], timeout_s=60) == {}
        await admin.close()


@pytest.mark.kafka
async def test_a_connection_that_a_firewall_has_dropped_is_replaced_within_the_time(tmp_path: Path) -> None:
    """As after a quiet hour: nothing is refused, nothing is answered."""
    async with relayed_broker(tmp_path / "broker") as (broker, relay):
        cluster = Cluster(broker.bootstrap_servers, "")
        await cluster.create_topics()
        partition = TopicPartition(cluster.topics.raw_suggestions, 0)
        await cluster.commit("g", {partition: 7})
        admin = cluster.clients.admin(request_timeout_ms=1_000)
        await admin.start()
        assert await committed_positions(admin, "g", [partition], timeout_s=30) == {partition: 7}
        relay.cut_off()
        assert await committed_positions(admin, "g", [partition], timeout_s=30) == {partition: 7}
        await admin.close()
