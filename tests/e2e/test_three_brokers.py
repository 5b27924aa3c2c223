"""The whole bridge on three brokers, under load, while one of them dies, leaders move, and all are restarted in turn.

Each topic has three replicas, of which two must have a record before it counts: no error reaches the books.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from bridge.adapters.kafka.log_ends import log_ends
from tests.broker import KafkaBroker, KafkaCluster
from tests.e2e.processes import Bridge, running, stop_all
from tests.e2e.world import World, world
from tests.kafka.cluster import Cluster
from tests.kafka.traffic import HOPS, PARTITIONS

_ONE_COORDINATES = {
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "1",
}

pytestmark = [pytest.mark.kafka, pytest.mark.e2e, pytest.mark.faults, pytest.mark.cluster, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    with KafkaCluster(tmp_path_factory.mktemp("three")) as cluster:
        yield cluster


@pytest.fixture
def one_coordinates(tmp_path: Path) -> Iterator[KafkaCluster]:
    """Positions and transactions are on one broker only; everything else is on all three."""
    with KafkaCluster(tmp_path, **_ONE_COORDINATES) as cluster:
        yield cluster


@pytest.fixture
async def around(three: KafkaCluster, prefix: str) -> AsyncIterator[World]:
    async with world(
        three.bootstrap_servers, prefix, partitions=PARTITIONS, frames_per_s=200, replicas=3, session_timeout_ms=6_000
    ) as around:
        yield around


async def test_a_broker_that_is_killed_and_comes_back_loses_and_doubles_nothing(
    three: KafkaCluster, around: World
) -> None:
    """Its partitions, groups and transactions move to the other two, and back."""
    async with running("run", "all", **around.environment) as bridge:
        await around.until_posts(50)
        three.brokers[0].kill()
        await _until_leading(around, lambda leaders: 1 not in leaders)
        await around.until_posts(50)
        await asyncio.to_thread(three.brokers[0].start)
        await _until_leading(around, lambda leaders: 1 in leaders)
        await _finish(around, bridge)


async def test_leaders_that_move_lose_and_double_nothing(three: KafkaCluster, around: World) -> None:
    """An orderly stop hands over what a broker leads before it goes; the balance is restored once it is back."""
    async with running("run", "all", **around.environment) as bridge:
        await around.until_posts(50)
        await asyncio.to_thread(three.brokers[1].stop)
        await _until_leading(around, lambda leaders: 2 not in leaders)
        await around.until_posts(20)
        await asyncio.to_thread(three.brokers[1].start)
        await _until_leading(around, lambda leaders: leaders == {1, 2, 3})
        await _finish(around, bridge)


async def test_a_rolling_restart_loses_and_doubles_nothing(three: KafkaCluster, around: World) -> None:
    """One after the other, the next one only when all replicas are in sync again, as operators do it."""
    async with running("run", "all", **around.environment) as bridge:
        await around.until_posts(50)
        for broker in three.brokers:
            await _restart(broker)
            await _until_in_sync(around)
            await around.until_posts(20)
        await _finish(around, bridge)


async def test_leaders_that_move_while_nobody_is_away_lose_and_double_nothing(
    three: KafkaCluster, around: World
) -> None:
    """Each partition's next replica takes over from one that goes on, three times round."""
    async with running("run", "all", **around.environment) as bridge:
        await around.until_posts(50)
        for _ in range(3 * len(three.brokers)):
            await around.cluster.move_leaders(lambda replicas: [*replicas[1:], replicas[0]])
            await around.until_posts(20)
        await _finish(around, bridge)


async def test_a_coordinator_that_is_away_alone_is_waited_for_and_nothing_is_lost_or_doubled(
    one_coordinates: KafkaCluster, prefix: str
) -> None:
    """For 23 s no position can be committed and no transaction ended, though everything could be read and written."""
    async with world(
        one_coordinates.bootstrap_servers, prefix, partitions=PARTITIONS, frames_per_s=200, replicas=3
    ) as around:
        coordinator = await _the_only_coordinator(around.cluster)
        await around.cluster.move_leaders(lambda replicas: sorted(replicas, key=lambda node: node == coordinator))
        # Longer than a transaction may take: until then a number waits in it.
        environment = around.environment | {"BRIDGE_KAFKA__STUCK_AFTER_S": "18"}
        async with running("run", "all", **environment) as bridge:
            await around.until_posts(50)
            before = len(bridge.events)
            broker = one_coordinates.brokers[coordinator - 1]
            broker.process.send_signal(signal.SIGSTOP)
            try:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(23):
                        await bridge.until("worker_stuck", after=before)
            finally:
                broker.process.send_signal(signal.SIGCONT)
            await _finish(around, bridge)
            assert bridge.told("transaction_failed", cause="TimeoutError") != []
            assert bridge.told("worker_stuck") == []
        assert [event for event in bridge.events if "exception" in event] == []


async def test_the_end_of_a_log_counts_what_is_not_replicated_yet(three: KafkaCluster, prefix: str) -> None:
    """The tally waits for it: such a list was appended before the click, though nobody can read it yet."""
    cluster = Cluster(three.bootstrap_servers, prefix, partitions=1, replicas=3)
    await cluster.create_topics()
    topic = cluster.topics.ranked_suggestions
    leader = (await cluster.leaders(topic))[0]
    followers = [broker for number, broker in enumerate(three.brokers, start=1) if number != leader]
    probe = cluster.clients.reader(isolation_level="read_uncommitted")
    async with AIOKafkaProducer(bootstrap_servers=three.bootstrap_servers, acks=1) as producer:
        await probe.start()
        one = TopicPartition(topic, 0)
        assert await log_ends(probe, [one]) == await probe.end_offsets([one]) == {one: 0}
        for broker in followers:
            broker.process.send_signal(signal.SIGSTOP)
        try:
            await producer.send_and_wait(topic, b"{}", partition=0)
            assert await log_ends(probe, [one]) == {one: 1}
            assert await probe.end_offsets([one]) == {one: 0}
        finally:
            for broker in followers:
                broker.process.send_signal(signal.SIGCONT)
            await probe.stop()


async def _the_only_coordinator(cluster: Cluster) -> int:
    """A node that has all positions and all transactions, from now on."""
    node = min(await cluster.coordinators(*HOPS))
    await cluster.move_leaders(lambda _: [node], "__consumer_offsets", "__transaction_state")
    async with asyncio.timeout(60):
        while await cluster.coordinators(*HOPS) != {node}:
            await asyncio.sleep(0.1)  # Not every broker has heard of it.
    return node


async def _restart(broker: KafkaBroker) -> None:
    await asyncio.to_thread(broker.stop)
    await asyncio.to_thread(broker.start)


async def _until_leading(around: World, holds: Callable[[set[int]], bool]) -> None:
    """Returns when those who lead the partitions are such, and none is without a leader."""
    topic = around.cluster.topics.raw_suggestions
    async with asyncio.timeout(60):
        while True:
            with suppress(KafkaError):  # The one that was asked is away.
                leaders = set((await around.cluster.leaders(topic)).values())
                if -1 not in leaders and holds(leaders):
                    return
            await asyncio.sleep(0.2)  # Kafka tells nobody.


async def _until_in_sync(around: World) -> None:
    async with asyncio.timeout(60):
        for topic in around.cluster.topics.names():
            while not await _is_in_sync(around, topic):
                await asyncio.sleep(0.2)  # Kafka tells nobody.


async def _is_in_sync(around: World, topic: str) -> bool:
    with suppress(KafkaError):
        return await around.cluster.in_sync(topic) == {3}
    return False


async def _finish(around: World, bridge: Bridge) -> None:
    await around.until_posts(50)
    await around.end()
    await stop_all(bridge)
    await around.check()
