"""What every `SubscriptionTable` does: the one in memory and the one on Kafka."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete

from bridge.adapters.kafka.subscriptions import KafkaTable
from bridge.core.records import Record, StoredRecord
from bridge.ports import SubscriptionTable, TableChange
from tests.fakes.table import FakeTable
from tests.kafka.cluster import Cluster


class Setting(ABC):
    """A table of a topic with two partitions."""

    table: SubscriptionTable

    @abstractmethod
    async def write(self, partition: int, *pairs: tuple[str, str | None]) -> None:
        """Keys and values are written to the topic, in order."""

    @abstractmethod
    def own_all(self) -> None:
        """The table becomes the only member of its group."""


class InMemory(Setting):
    def __init__(self) -> None:
        self.table = self._fake = FakeTable()

    async def write(self, partition: int, *pairs: tuple[str, str | None]) -> None:
        for key, value in pairs:
            encoded = None if value is None else value.encode()
            self._fake.write(StoredRecord(topic="t", partition=partition, key=key.encode(), value=encoded))

    def own_all(self) -> None:
        self._fake.own(0, 1)


class OnKafka(Setting):
    def __init__(self, cluster: Cluster, topic: str) -> None:
        self.cluster = cluster
        self.topic = topic
        self.table = self.new_table()

    def new_table(self) -> KafkaTable:
        return KafkaTable(
            self.cluster.clients,
            topic=self.topic,
            group=f"{self.cluster.options.prefix}ingress",
            emit=lambda event: pytest.fail(f"{event}"),
        )

    async def write(self, partition: int, *pairs: tuple[str, str | None]) -> None:
        async with self.cluster.producer() as producer:
            for key, value in pairs:
                encoded = None if value is None else value.encode()
                await producer.send_and_wait(self.topic, encoded, key=key.encode(), partition=partition)

    def own_all(self) -> None:
        """It joins at the first call of `changes`."""

    async def delete_before(self, partition: int, *, offset: int) -> None:
        admin = self.cluster.clients.admin()
        await admin.start()
        try:
            await admin.delete_records({TopicPartition(self.topic, partition): RecordsToDelete(before_offset=offset)})
        finally:
            await admin.close()


class Seen:
    """What a table has said so far."""

    def __init__(self, table: SubscriptionTable) -> None:
        self.table = table
        self.owned: frozenset[int] = frozenset()
        self.records: list[Record] = []
        self.loaded: set[int] = set()

    async def until(self, is_so: Callable[["Seen"], bool]) -> None:
        async with asyncio.timeout(60):
            while not is_so(self):
                change = await self.table.changes()
                assert change is not None
                self._take(change)

    def _take(self, change: TableChange) -> None:
        self.owned = change.owned
        self.records += change.records
        self.loaded |= change.loaded
        assert change.loaded <= change.owned

    def of(self, partition: int) -> list[tuple[bytes | None, bytes | None]]:
        return [(record.key, record.value) for record in self.records if record.partition == partition]


class TableContract:
    async def test_reads_what_stands_there_and_then_what_comes(self, setting: Setting) -> None:
        await setting.write(0, ("a", "1"), ("b", "2"), ("a", None))
        seen = Seen(setting.table)
        setting.own_all()
        await seen.until(lambda seen: seen.loaded == {0, 1})
        assert seen.owned == {0, 1}
        assert seen.of(0) == [(b"a", b"1"), (b"b", b"2"), (b"a", None)]
        await setting.write(1, ("c", "3"))
        await setting.write(0, ("b", None))
        await seen.until(lambda seen: len(seen.records) == 5)
        assert seen.of(0)[3:] == [(b"b", None)]
        assert seen.of(1) == [(b"c", b"3")]

    async def test_a_partition_is_loaded_only_once_its_records_are_read(self, setting: Setting) -> None:
        await setting.write(0, *((f"k{at}", "v") for at in range(200)))
        seen = Seen(setting.table)
        setting.own_all()
        await seen.until(lambda seen: 0 in seen.loaded)
        assert len(seen.of(0)) == 200

    async def test_while_it_can_be_read_it_has_no_fault(self, setting: Setting) -> None:
        seen = Seen(setting.table)
        setting.own_all()
        await seen.until(lambda seen: seen.loaded == {0, 1})
        assert setting.table.fault() == ""

    async def test_an_empty_topic_is_loaded_too(self, setting: Setting) -> None:
        seen = Seen(setting.table)
        setting.own_all()
        await seen.until(lambda seen: seen.loaded == {0, 1})
        assert seen.records == []

    async def test_after_the_stop_there_is_nothing_more(self, setting: Setting) -> None:
        seen = Seen(setting.table)
        setting.own_all()
        await seen.until(lambda seen: seen.loaded == {0, 1})
        async with asyncio.timeout(30):
            waiting = asyncio.ensure_future(setting.table.changes())
            await setting.table.stop()
            assert await waiting is None
            assert await setting.table.changes() is None


class TestInMemory(TableContract):
    @pytest.fixture
    def setting(self) -> Setting:
        return InMemory()


@pytest.mark.broker
class TestOnKafka(TableContract):
    @pytest.fixture
    async def setting(self, bootstrap_servers: str, prefix: str) -> AsyncIterator[Setting]:
        cluster = Cluster(bootstrap_servers, prefix)
        await cluster.create_topics()
        setting = OnKafka(cluster, cluster.topics.interaction_subscriptions)
        yield setting
        await setting.table.stop()

    async def test_replicas_share_the_partitions_and_keep_what_they_keep(self, setting: OnKafka) -> None:
        await setting.write(0, ("a", "1"))
        await setting.write(1, ("b", "2"))
        first = Seen(setting.table)
        await first.until(lambda seen: seen.loaded == {0, 1})
        second = Seen(setting.new_table())
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(first.until(lambda seen: len(seen.owned) == 1))
            tasks.create_task(second.until(lambda seen: len(seen.loaded) == 1))
        assert first.owned | second.owned == {0, 1}
        assert len(first.records) == 2, "what is kept is not read again"
        assert len(second.records) == 1
        await second.table.stop()
        await first.until(lambda seen: len(seen.owned) == 2 and len(seen.records) == 3)
        assert first.records[2].partition in second.owned, "what is gained is read from its start"

    async def test_a_partition_that_no_longer_begins_at_its_start_is_read(self, setting: OnKafka) -> None:
        # Kafka deletes from no topic that is only compacted, so this one is another.
        cut = OnKafka(setting.cluster, setting.cluster.topics.raw_suggestions)
        await cut.write(0, *((f"k{at}", "v") for at in range(10)))
        await cut.delete_before(0, offset=7)
        seen = Seen(cut.table)
        await seen.until(lambda seen: seen.loaded == {0, 1})
        assert [key for key, _ in seen.of(0)] == [b"k7", b"k8", b"k9"]
        await cut.table.stop()
