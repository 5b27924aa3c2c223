"""The lag probe where brokers or topics are away: nobody knows, and nothing is raised."""

import asyncio
from pathlib import Path
from unittest.mock import ANY

import pytest
from aiokafka import TopicPartition

from bridge.adapters.kafka.clients import Clients, Options
from bridge.adapters.kafka.lag import KafkaLag
from bridge.core.valve import Lag
from tests.broker import KafkaBroker
from tests.kafka.cluster import Cluster
from tests.kafka.relay import relayed_broker

# A broker that was killed may come back once its former session is over.
QUICK = {"broker.session.timeout.ms": "1000", "broker.heartbeat.interval.ms": "200"}


async def probe_of_one_unread(broker: KafkaBroker, prefix: str) -> KafkaLag:
    """The lag of a group that has read one of two records."""
    cluster = Cluster(broker.bootstrap_servers, prefix)
    await cluster.create_topics()
    topic = cluster.topics.raw_suggestions
    await cluster.send(topic, b"1", b"2")
    await cluster.commit("ranker", {TopicPartition(topic, 0): 1, TopicPartition(topic, 1): 0})
    return KafkaLag(cluster.clients, topic=topic, groups=[f"{prefix}ranker"])


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
        probe = await probe_of_one_unread(broker, prefix)
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


@pytest.mark.kafka
async def test_connections_on_which_nothing_is_answered_any_more_are_made_anew(tmp_path: Path, prefix: str) -> None:
    async with relayed_broker(tmp_path / "broker") as (broker, relay):
        probe = await probe_of_one_unread(broker, prefix)
        assert (await probe.lag(), await probe.sample()) == (1, Lag(records=1, oldest_ms=ANY))
        relay.cut_off()
        unknown = 0
        async with asyncio.timeout(30):  # aiokafka itself would take its request timeout, 40 s.
            while await probe.sample() is None:
                unknown += 1
        assert unknown >= 3
        await probe.stop()
