"""The ends of logs, with what no consumer may see yet."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from bridge.adapters.kafka.log_ends import known_log_ends, log_ends
from bridge.adapters.kafka.start_stop import start_client, stop_client
from tests.kafka.cluster import Cluster
from tests.kafka.relay import relayed_broker

pytestmark = pytest.mark.broker


@pytest.fixture
async def probe(cluster: Cluster) -> AsyncIterator[AIOKafkaConsumer]:
    probe = cluster.clients.reader()
    await probe.start()
    try:
        yield probe
    finally:
        await probe.stop()


async def test_the_ends_are_those_of_each_partition(cluster: Cluster, probe: AIOKafkaConsumer) -> None:
    topics = cluster.topics
    await cluster.send(topics.ranked_suggestions, b"1", b"2", b"3", number=1)
    await cluster.send(topics.suggestion_clicks, b"1", number=0)
    asked = [TopicPartition(topic, number) for topic in _inputs(cluster) for number in range(2)]
    ends = await log_ends(probe, asked)
    assert ends == {
        TopicPartition(topics.ranked_suggestions, 0): 0,
        TopicPartition(topics.ranked_suggestions, 1): 3,
        TopicPartition(topics.suggestion_clicks, 0): 1,
        TopicPartition(topics.suggestion_clicks, 1): 0,
    }


async def test_an_open_transaction_counts(cluster: Cluster, probe: AIOKafkaConsumer) -> None:
    topic = cluster.topics.ranked_suggestions
    producer = cluster.clients.transactional_producer(f"{cluster.options.prefix}open")
    await producer.start()
    try:
        async with producer.transaction():
            await (await producer.send(topic, b"1", partition=0))
            assert await log_ends(probe, [TopicPartition(topic, 0)]) == {TopicPartition(topic, 0): 1}
            assert (await probe.end_offsets([TopicPartition(topic, 0)])) == {TopicPartition(topic, 0): 0}
    finally:
        await producer.stop()


@pytest.mark.kafka
async def test_where_a_connection_was_cut_off_another_one_tells_them(tmp_path: Path, prefix: str) -> None:
    """As by a firewall, without a word: TCP gives it up after 15 minutes, and no number would be sampled until then."""
    async with relayed_broker(tmp_path / "broker") as (broker, relay):
        cluster = Cluster(broker.bootstrap_servers, prefix)
        await cluster.create_topics()
        probe, asked = cluster.clients.reader(), TopicPartition(cluster.topics.ranked_suggestions, 0)
        await start_client(probe, timeout_s=30, topics=[asked.topic])
        await _until_told(probe, asked)
        relay.cut_off()
        # aiokafka itself would never give it up: each question is called off before its own timeout.
        assert await _until_told(probe, asked) >= 3
        await stop_client(probe, timeout_s=5)


@pytest.mark.kafka  # The embedded broker makes every topic that it is asked about.
async def test_a_topic_that_is_not_there_is_an_error(cluster: Cluster, probe: AIOKafkaConsumer) -> None:
    with pytest.raises(KafkaError):
        await log_ends(probe, [TopicPartition(f"{cluster.options.prefix}nothing", 0)])


async def _until_told(probe: AIOKafkaConsumer, asked: TopicPartition) -> int:
    """How often the end was asked for in vain before it was told."""
    in_vain = 0
    async with asyncio.timeout(30):
        while not await known_log_ends(probe, [asked]):
            in_vain += 1
    return in_vain


def _inputs(cluster: Cluster) -> tuple[str, str]:
    return cluster.topics.ranked_suggestions, cluster.topics.suggestion_clicks
