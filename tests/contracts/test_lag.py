"""What every `LagProbe` does: the one in memory and the one on Kafka."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator

import pytest
from aiokafka import TopicPartition

from bridge.adapters.kafka.lag import KafkaLag
from bridge.core.valve import Lag
from bridge.ports import LagProbe
from bridge.simulator.times import now_ms
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

    async def sample(self) -> Lag:
        """What the probe sees, once it sees anything: a group's first coordinator takes a moment to be there."""
        async with asyncio.timeout(10):
            while (lag := await self.probe.sample()) is None:
                pass
        return lag


class InMemory(Setting):
    def __init__(self) -> None:
        self.probe = self._fake = FakeLag()
        self._written: list[int] = []
        self._positions = {0: 0, 1: 0}

    async def write(self, count: int) -> None:
        self._written += [now_ms()] * count
        self._sum()

    async def commit(self, *positions: int) -> None:
        self._positions |= dict(enumerate(positions))
        self._sum()

    def _sum(self) -> None:
        unread = [at_ms for position in self._positions.values() for at_ms in self._written[position:]]
        self._fake.records, self._fake.oldest_ms = len(unread), min(unread, default=None)


class OnKafka(Setting):
    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._topic = cluster.topics.raw_suggestions
        group = f"{cluster.options.prefix}ranker"
        self.probe = self.kafka_probe = KafkaLag(cluster.clients, topic=self._topic, groups=[group])

    async def write(self, count: int) -> None:
        for number in range(2):
            await self.cluster.send(self._topic, *([b"v"] * count), number=number)

    async def commit(self, *positions: int) -> None:
        await self.commit_for("ranker", *positions)

    async def commit_for(self, group: str, *positions: int) -> None:
        await self.cluster.commit(group, {TopicPartition(self._topic, at): one for at, one in enumerate(positions)})


class LagContract:
    async def test_what_was_never_committed_counts_from_its_beginning(self, setting: Setting) -> None:
        """Never committed is known, and everything is unread: it is neither unknown nor zero."""
        await setting.write(3)
        assert (await setting.sample()).records == 6
        await setting.commit(3)
        assert (await setting.sample()).records == 3
        await setting.commit(3, 0)
        assert (await setting.sample()).records == 3

    async def test_counts_what_is_not_committed(self, setting: Setting) -> None:
        """D1: the backlog is counted in records."""
        await setting.write(5)
        await setting.commit(5, 2)
        assert (await setting.sample()).records == 3
        await setting.write(1)
        assert (await setting.sample()).records == 5
        await setting.commit(6, 6)
        assert (await setting.sample()).records == 0

    async def test_tells_the_time_of_the_oldest_record_that_is_unread(self, setting: Setting) -> None:
        before = now_ms()
        await setting.write(2)
        between = now_ms()
        await setting.write(1)
        after = now_ms()
        for positions, low, high in [((1, 3), before, between), ((2, 2), between, after), ((0, 2), before, between)]:
            await setting.commit(*positions)
            for _ in range(2):  # It does not move while the position does not.
                lag = await setting.sample()
                assert lag.oldest_ms is not None
                assert low <= lag.oldest_ms <= high
        await setting.commit(3, 3)
        assert await setting.sample() == Lag(records=0, oldest_ms=None)


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
        producer = setting.cluster.clients.transactional_producer(f"{setting.cluster.options.prefix}writer")
        await producer.start()
        try:
            await producer.begin_transaction()
            await producer.send_and_wait(setting._topic, b"v", partition=0)
            assert (await setting.sample()).records == 0
            await producer.commit_transaction()
            async with asyncio.timeout(10):
                while (await setting.sample()).records != 2:  # The record and the commit marker, once that is written.
                    pass
        finally:
            await producer.stop()
        await setting.commit(1, 0)
        assert await setting.sample() == Lag(records=1, oldest_ms=None), "only a marker is left: it has no age"

    async def test_of_several_groups_the_largest_lag_counts(self, setting: OnKafka) -> None:
        cluster = setting.cluster
        await setting.write(10)
        await setting.commit(8, 10)
        await setting.commit_for("theirs", 10, 7)
        both = [f"{cluster.options.prefix}{name}" for name in ("ranker", "theirs")]
        for groups, records in [(both[:1], 2), (both[1:], 3), (both, 3)]:
            probe = KafkaLag(cluster.clients, topic=cluster.topics.raw_suggestions, groups=groups)
            async with asyncio.timeout(10):
                while (found := await probe.lag()) is None:
                    pass
            assert found == records
            await probe.stop()

    async def test_large_records_have_an_age_too(self, setting: OnKafka) -> None:
        """A batch that is larger than what is asked for comes all the same, one partition after the other."""
        for number in range(2):
            await setting.cluster.send(setting.cluster.topics.raw_suggestions, b"v" * 200_000, number=number)
        lag = await setting.sample()
        assert lag.oldest_ms is not None
