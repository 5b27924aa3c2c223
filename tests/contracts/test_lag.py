"""What every `LagProbe` does: the one in memory and the one on Kafka."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from bridge.adapters.kafka.lag import KafkaLag
from bridge.ports import LagProbe
from tests.fakes.lag import FakeLag
from tests.kafka.cluster import Cluster


class Setting(ABC):
    """A topic with two partitions, and a group that reads it."""

    probe: LagProbe

    @abstractmethod
    async def write(self, count: int) -> None:
        """So many records are written to each partition."""

    @abstractmethod
    async def commit(self, *positions: int) -> None:
        """The group commits these positions, of partition 0 and, where there is a second one, 1."""


class InMemory(Setting):
    def __init__(self) -> None:
        self.probe = self._fake = FakeLag(None)
        self._written = 0
        self._positions: dict[int, int] = {}

    async def write(self, count: int) -> None:
        self._written += count
        self._sum()

    async def commit(self, *positions: int) -> None:
        self._positions |= dict(enumerate(positions))
        self._sum()

    def _sum(self) -> None:
        is_known = len(self._positions) == 2
        self._fake.records = sum(self._written - one for one in self._positions.values()) if is_known else None


class OnKafka(Setting):
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._topic = cluster.topics.raw_suggestions
        self._group = f"{cluster.options.prefix}ranker"
        self.probe = self.kafka_probe = KafkaLag(cluster.clients, topic=self._topic, group=self._group)

    async def write(self, count: int) -> None:
        for number in range(2):
            await self._cluster.send(self._topic, *([b"v"] * count), number=number)

    async def commit(self, *positions: int) -> None:
        async with self._member() as consumer:
            await consumer.commit({TopicPartition(self._topic, at): one for at, one in enumerate(positions)})

    @asynccontextmanager
    async def _member(self) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = self._cluster.clients.group_consumer(self._group)
        await consumer.start()
        try:
            # Without a subscription it may commit for a group that has no members.
            consumer.assign([TopicPartition(self._topic, number) for number in range(2)])
            yield consumer
        finally:
            await consumer.stop()


class LagContract:
    async def test_is_unknown_until_every_position_is_committed(self, setting: Setting) -> None:
        await setting.write(3)
        assert await setting.probe.lag() is None
        await setting.commit(0)
        assert await setting.probe.lag() is None
        await setting.commit(0, 0)
        assert await setting.probe.lag() == 6

    async def test_counts_what_is_not_committed(self, setting: Setting) -> None:
        """D1: the backlog is counted in records."""
        await setting.write(5)
        await setting.commit(5, 2)
        assert await setting.probe.lag() == 3
        await setting.write(1)
        assert await setting.probe.lag() == 5
        await setting.commit(6, 6)
        assert await setting.probe.lag() == 0


class TestInMemory(LagContract):
    @pytest.fixture
    def setting(self) -> Setting:
        return InMemory()


@pytest.mark.broker
class TestOnKafka(LagContract):
    @pytest.fixture
    async def setting(self, bootstrap_servers: str, prefix: str) -> AsyncIterator[Setting]:
        cluster = Cluster(bootstrap_servers, prefix)
        await cluster.create_topics()
        setting = OnKafka(cluster)
        yield setting
        await setting.kafka_probe.stop()

    async def test_records_of_an_open_transaction_are_not_behind_yet(self, setting: OnKafka) -> None:
        await setting.commit(0, 0)
        producer = setting._cluster.clients.transactional_producer(f"{setting._group}-writer")
        await producer.start()
        try:
            await producer.begin_transaction()
            await producer.send_and_wait(setting._topic, b"v", partition=0)
            assert await setting.probe.lag() == 0
            await producer.commit_transaction()
            async with asyncio.timeout(10):
                while await setting.probe.lag() != 2:  # The record and the commit marker, once that is written.
                    pass
        finally:
            await producer.stop()
