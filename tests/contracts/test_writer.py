"""What every `Writer` does: the one in memory and the one on Kafka."""

import asyncio
import itertools
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import pytest

from bridge.adapters.kafka.writer import KafkaWriter
from bridge.core.records import NewRecord, Record
from bridge.ports import Writer
from tests.fakes.writer import FakeWriter
from tests.kafka.cluster import Cluster


class Setting(ABC):
    """A writer, two topics with two partitions, and a look at what stands on them."""

    writer: Writer
    raw = "raw"
    other = "other"

    @abstractmethod
    async def stored(self, topic: str, partition: int) -> Sequence[NewRecord | Record]:
        """What stands there, in order."""


class InMemory(Setting):
    def __init__(self) -> None:
        self._fake = FakeWriter(at_most=300)
        self.writer = self._fake

    async def stored(self, topic: str, partition: int) -> Sequence[NewRecord | Record]:
        return self._fake.written[topic, partition]


@dataclass
class OnKafka(Setting):
    cluster: Cluster
    writer: Writer
    raw: str
    other: str

    async def stored(self, topic: str, partition: int) -> Sequence[NewRecord | Record]:
        return [record for record in await self.cluster.read(topic) if record.partition == partition]


class WriterContract:
    async def test_writes_everything_in_order(self, setting: Setting) -> None:
        await _write_all(setting, setting.raw, 0, [_record(setting.raw, f"{at}") for at in range(1_000)])
        stored = await setting.stored(setting.raw, 0)
        assert [record.value for record in stored] == [b"%d" % at for at in range(1_000)]

    async def test_a_batch_that_is_too_large_is_a_prefix(self, setting: Setting) -> None:
        records = [_record(setting.raw, "x" * 10_000) for _ in range(1_000)]
        count = await setting.writer.write(setting.raw, 0, records)
        assert 1 <= count < 1_000
        assert len(await setting.stored(setting.raw, 0)) == count

    async def test_keeps_key_headers_and_time(self, setting: Setting) -> None:
        record = NewRecord(
            topic=setting.raw,
            key=b"i",
            value="\u00fc".encode(),
            headers=(("a", b"1"), ("b", b"")),
            partition=1,
            timestamp=1_700_000_000_123,
        )
        await setting.writer.write(setting.raw, 1, [record])
        (stored,) = await setting.stored(setting.raw, 1)
        assert (stored.key, stored.value, tuple(stored.headers), stored.timestamp) == (
            record.key,
            record.value,
            record.headers,
            record.timestamp,
        )

    async def test_writes_null_values_and_records_without_a_key(self, setting: Setting) -> None:
        records = [
            NewRecord(topic=setting.other, key=b"i", value=None, partition=0),
            NewRecord(topic=setting.other, key=None, value=b"v", partition=0),
        ]
        await _write_all(setting, setting.other, 0, records)
        stored = await setting.stored(setting.other, 0)
        assert [(record.key, record.value) for record in stored] == [(b"i", None), (None, b"v")]

    async def test_a_record_above_the_batch_size_is_a_batch_of_its_own(self, setting: Setting) -> None:
        large = _record(setting.other, "x" * 700_000)
        assert await setting.writer.write(setting.other, 0, [large]) == 1
        assert len(await setting.stored(setting.other, 0)) == 1

    async def test_partitions_are_written_side_by_side(self, setting: Setting) -> None:
        async with asyncio.timeout(30):
            await asyncio.gather(
                *(
                    _write_all(setting, topic, partition, [_record(topic, f"{at}") for at in range(500)])
                    for topic, partition in itertools.product((setting.raw, setting.other), (0, 1))
                )
            )
        for topic, partition in itertools.product((setting.raw, setting.other), (0, 1)):
            stored = await setting.stored(topic, partition)
            assert [record.value for record in stored] == [b"%d" % at for at in range(500)]


class TestInMemory(WriterContract):
    @pytest.fixture
    def setting(self) -> Setting:
        return InMemory()


@pytest.mark.broker
class TestOnKafka(WriterContract):
    @pytest.fixture
    async def setting(self, bootstrap_servers: str, prefix: str) -> AsyncIterator[Setting]:
        cluster = Cluster(bootstrap_servers, prefix)
        await cluster.create_topics()
        raw, other = cluster.topics.raw_suggestions, cluster.topics.dlq_ingress
        writer = KafkaWriter(cluster.clients, raw_topic=raw, emit=lambda _: None, chance=lambda: 0.5)
        await writer.start(timeout_s=30)
        yield OnKafka(cluster=cluster, writer=writer, raw=raw, other=other)
        await writer.stop()


def _record(topic: str, text: str) -> NewRecord:
    return NewRecord(topic=topic, key=b"i", value=text.encode(), partition=0)


async def _write_all(setting: Setting, topic: str, partition: int, records: Sequence[NewRecord]) -> None:
    while records:
        count = await setting.writer.write(topic, partition, records)
        assert 1 <= count <= len(records)
        records = records[count:]
