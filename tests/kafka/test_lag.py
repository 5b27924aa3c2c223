"""The lag probe where brokers or topics are away: nobody knows, and nothing is raised."""

import asyncio
from pathlib import Path

import pytest
from aiokafka import TopicPartition

from bridge.adapters.kafka.clients import Clients, Options
from bridge.adapters.kafka.lag import KafkaLag
from tests.broker import KafkaBroker
from tests.kafka.cluster import Cluster

# A broker that was killed may come back once its former session is over.
QUICK = {"broker.session.timeout.ms": "1000", "broker.heartbeat.interval.ms": "200"}


async def test_without_kafka_nobody_knows() -> None:
    probe = KafkaLag(Clients(Options(bootstrap_servers="127.0.0.1:1")), topic="t", groups=["g"])
    assert await probe.lag() is None
    assert await probe.sample() is None
    await probe.stop()


@pytest.mark.broker
async def test_without_the_topic_nobody_knows(bootstrap_servers: str, prefix: str) -> None:
    probe = KafkaLag(Cluster(bootstrap_servers, prefix).clients, topic=f"{prefix}nowhere", groups=["g"])
    assert await probe.lag() is None
    await probe.stop()


@pytest.mark.kafka
async def test_a_broker_that_goes_away_is_unknown_until_it_is_back(tmp_path: Path, prefix: str) -> None:
    with KafkaBroker(tmp_path / "broker", **QUICK) as broker:
        cluster = Cluster(broker.bootstrap_servers, prefix)
        await cluster.create_topics()
        topic = cluster.topics.raw_suggestions
        await cluster.send(topic, b"1", b"2")
        await cluster.commit("ranker", {TopicPartition(topic, 0): 1, TopicPartition(topic, 1): 0})
        probe = KafkaLag(cluster.clients, topic=topic, groups=[f"{prefix}ranker"])
        assert await probe.lag() == 1
        broker.kill()
        async with asyncio.timeout(10):
            assert await probe.lag() is None
        await asyncio.to_thread(broker.start)
        async with asyncio.timeout(60):
            while (lag := await probe.lag()) is None:
                pass
        assert lag == 1
        await probe.stop()
