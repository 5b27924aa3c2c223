"""What every `Tails` does: the one in memory and the one on Kafka."""

import asyncio
from abc import ABC, abstractmethod

import pytest

from bridge.adapters.kafka import peek
from bridge.adapters.kafka.clients import Clients, Options
from bridge.adapters.kafka.peek import KafkaTails
from bridge.ports import Tails
from tests.fakes.tails import FakeTails
from tests.kafka.cluster import Cluster

AT_MS = 1_767_607_200_000


class Setting(ABC):
    """A topic with two partitions."""

    tails: Tails

    @abstractmethod
    async def write(self, number: int, *times_ms: int) -> None:
        """Records of these times are written to a partition."""


class InMemory(Setting):
    def __init__(self) -> None:
        self.tails = self._fake = FakeTails()

    async def write(self, number: int, *times_ms: int) -> None:
        self._fake.last[number] = times_ms[-1]


class OnKafka(Setting):
    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.topic = cluster.topics.raw_suggestions
        self.tails = KafkaTails(cluster.clients, topic=self.topic)

    async def write(self, number: int, *times_ms: int) -> None:
        async with self.cluster.producer() as producer:
            for at_ms in times_ms:
                await producer.send_and_wait(self.topic, b"v", key=b"i", partition=number, timestamp_ms=at_ms)


class TailsContract:
    async def test_tells_the_time_of_the_last_record_of_each_partition(self, setting: Setting) -> None:
        await setting.write(0, AT_MS, AT_MS + 5)
        await setting.write(1, AT_MS + 3)
        assert await setting.tails.last_ms({0, 1}) == {0: AT_MS + 5, 1: AT_MS + 3}
        assert await setting.tails.last_ms({1}) == {1: AT_MS + 3}

    async def test_a_partition_without_records_is_left_out(self, setting: Setting) -> None:
        await setting.write(1, AT_MS)
        assert await setting.tails.last_ms({0, 1}) == {1: AT_MS}
        assert await setting.tails.last_ms({0}) == {}


class TestInMemory(TailsContract):
    @pytest.fixture
    def setting(self) -> Setting:
        return InMemory()


@pytest.mark.broker
class TestOnKafka(TailsContract):
    @pytest.fixture
    async def setting(self, bootstrap_servers: str, prefix: str) -> OnKafka:
        cluster = Cluster(bootstrap_servers, prefix)
        await cluster.create_topics()
        return OnKafka(cluster)

    async def test_a_cancellation_that_nobody_asked_for_is_no_answer(
        self, setting: OnKafka, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """aiokafka lets those of its own tasks through: whoever asked would end by it, and nobody be told."""

        async def cancel(*_: object, **__: object) -> None:
            raise asyncio.CancelledError

        monkeypatch.setattr(peek, "read_on", cancel)
        assert await setting.tails.last_ms({0}) == {}

    async def test_the_last_of_a_large_batch_counts(self, setting: OnKafka) -> None:
        async with setting.cluster.producer() as producer:
            batch = producer.create_batch()
            for number in range(100):
                batch.append(key=b"i", value=b"v" * 3_000, timestamp=AT_MS + number)
            await (await producer.send_batch(batch, setting.topic, partition=0))
        assert await setting.tails.last_ms({0, 1}) == {0: AT_MS + 99}

    @pytest.mark.parametrize("records", [1, 30])
    @pytest.mark.parametrize("is_committed", [True, False])
    async def test_what_a_transaction_leaves_behind_the_last_record_is_passed_over(
        self, setting: OnKafka, records: int, is_committed: bool
    ) -> None:
        """A replay's last offset is a marker; behind one that was aborted there are records that do not count."""
        await setting.write(0, AT_MS)
        producer = setting.cluster.clients.transactional_producer(f"{setting.topic}-replay")
        await producer.start()
        try:
            await producer.begin_transaction()
            for _ in range(records):
                await producer.send_and_wait(setting.topic, b"v", key=b"i", partition=0, timestamp_ms=AT_MS + 7)
            await (producer.commit_transaction() if is_committed else producer.abort_transaction())
            async with asyncio.timeout(10):
                while await setting.cluster.has_open_transaction(setting.topic):
                    pass  # Markers are written after the answer.
        finally:
            await producer.stop()
        assert await setting.tails.last_ms({0}) == {0: AT_MS + 7 * is_committed}

    @pytest.mark.kafka
    async def test_a_partition_whose_records_were_all_deleted_is_left_out(self, setting: OnKafka) -> None:
        await setting.write(0, AT_MS)
        await setting.cluster.delete_records(setting.topic, number=0, before=1)
        assert await setting.tails.last_ms({0}) == {}


async def test_without_kafka_nobody_knows() -> None:
    tails = KafkaTails(Clients(Options(bootstrap_servers="127.0.0.1:1")), topic="t")
    assert await tails.last_ms({0}) == {}
