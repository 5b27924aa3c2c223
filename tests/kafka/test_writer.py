"""The writer of ingress where brokers go away or refuse."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import LeaderNotAvailableError

from bridge.adapters.kafka.clients import Clients, Options
from bridge.adapters.kafka.topics import apply
from bridge.adapters.kafka.writer import KafkaWriter
from bridge.core.errors import UnavailableError
from bridge.core.events.ingress import ProducerReplaced, WriteFailed
from bridge.core.events.kinds import Event
from bridge.core.records import NewRecord
from bridge.core.topics import TopicPlan
from tests.broker import KafkaBroker
from tests.kafka.cluster import Cluster

# A broker that was killed may come back once its former session is over.
QUICK = {"broker.session.timeout.ms": "1000", "broker.heartbeat.interval.ms": "200"}


class Written:
    """A writer and what it told."""

    def __init__(self, clients: Clients, raw_topic: str) -> None:
        self.events: list[Event] = []
        self._emitted = asyncio.Event()
        self.writer = KafkaWriter(clients, raw_topic=raw_topic, emit=self._emit, chance=lambda: 0.5)

    def told(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]

    async def until_told(self, kind: type[Event]) -> None:
        async with asyncio.timeout(60):
            while not self.told(kind):
                self._emitted.clear()
                await self._emitted.wait()

    async def write_all(self, topic: str, partition: int, texts: list[str]) -> None:
        records = [_record(topic, partition, text) for text in texts]
        while records:
            records = records[await self.writer.write(topic, partition, records) :]

    def _emit(self, event: Event) -> None:
        self.events.append(event)
        self._emitted.set()


@asynccontextmanager
async def _writing(cluster: Cluster) -> AsyncIterator[Written]:
    written = Written(cluster.clients, cluster.topics.raw_suggestions)
    await written.writer.start(timeout_s=30)
    try:
        yield written
    finally:
        await written.writer.stop()


async def test_a_start_without_kafka_fails_within_its_time() -> None:
    writer = Written(Clients(Options(bootstrap_servers="127.0.0.1:1")), "raw").writer
    with pytest.raises(UnavailableError, match="no answer"):
        await writer.start(timeout_s=5)
    await writer.stop()


@pytest.mark.kafka
async def test_a_broker_that_dies_in_mid_batch_and_comes_back_loses_and_doubles_nothing(
    tmp_path: Path, prefix: str
) -> None:
    """The idempotent producer is kept: it goes on by itself, in order."""
    with KafkaBroker(tmp_path / "broker", **QUICK) as broker:
        cluster = Cluster(broker.bootstrap_servers, prefix)
        await cluster.create_topics()
        raw = cluster.topics.raw_suggestions
        async with _writing(cluster) as written, asyncio.TaskGroup() as tasks:
            await written.write_all(raw, 0, ["first"])
            broker.kill()
            lanes = [
                tasks.create_task(written.write_all(raw, number, [f"{number}-{at}" for at in range(2_000)]))
                for number in range(2)
            ]
            await asyncio.to_thread(broker.start)
            async with asyncio.timeout(60):
                await asyncio.wait(lanes)
            assert not written.told(ProducerReplaced)
        stored = await cluster.read(raw)
    for number in range(2):
        values = [(record.value or b"").decode() for record in stored if record.partition == number]
        assert values == ["first"] * (number == 0) + [f"{number}-{at}" for at in range(2_000)]


class ImpatientClients(Clients):
    """A request may take a second."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._common["request_timeout_ms"] = 1_000


@pytest.mark.kafka
async def test_a_broker_that_is_away_for_longer_than_a_request_may_take_loses_and_doubles_nothing(
    tmp_path: Path, prefix: str
) -> None:
    """When it comes back, nobody leads the partitions for a moment; the batch that waits is older than its request."""
    with KafkaBroker(tmp_path / "broker", **QUICK) as broker:
        cluster = Cluster(broker.bootstrap_servers, prefix)
        await cluster.create_topics()
        cluster.clients = ImpatientClients(cluster.options)
        raw = cluster.topics.raw_suggestions
        async with _writing(cluster) as written, asyncio.TaskGroup() as tasks:
            await written.write_all(raw, 0, ["first"])
            is_back = asyncio.Event()
            lane = tasks.create_task(_write_until(is_back, written, raw))
            await asyncio.to_thread(broker.stop)
            await asyncio.to_thread(broker.start)
            is_back.set()
            async with asyncio.timeout(60):
                count = await lane
            assert not written.events
        stored = await cluster.read(raw)
    assert [(record.value or b"").decode() for record in stored] == ["first", *(f"{at}" for at in range(count))]


async def _write_until(enough: asyncio.Event, written: Written, topic: str) -> int:
    """Writes one record after the other; returns how many."""
    for at in itertools.count():
        if enough.is_set():
            return at
        await written.write_all(topic, 0, [f"{at}"])
    raise AssertionError


@pytest.mark.kafka
async def test_a_refused_batch_replaces_the_producer_and_is_sent_again_before_anything_else(
    bootstrap_servers: str, prefix: str
) -> None:
    cluster = Cluster(bootstrap_servers, prefix)
    await cluster.create_topics()
    audit = cluster.topics.suggestion_audit
    small = TopicPlan(name=f"{prefix}small", configs={"max.message.bytes": "2000"})
    await apply(cluster.clients, [small], partitions=2, replication_factor=1, dry_run=False)
    async with _writing(cluster) as written, asyncio.TaskGroup() as tasks:
        await written.write_all(small.name, 0, ["before"])
        too_large = ["x" * 10_000, "after"]
        waiting = tasks.create_task(written.write_all(small.name, 0, too_large))
        await written.until_told(ProducerReplaced)
        await written.write_all(small.name, 1, ["beside"])
        await written.write_all(audit, 0, [f"{at}" for at in range(100)])
        assert not waiting.done()
        assert written.told(WriteFailed)
        await _raise_limit(cluster, small.name)
        async with asyncio.timeout(60):
            await waiting
    stored = await cluster.read(small.name)
    assert [(record.value or b"").decode() for record in stored if record.partition == 0] == ["before", *too_large]
    assert [record.value for record in stored if record.partition == 1] == [b"beside"]
    assert [record.value for record in await cluster.read(audit)] == [b"%d" % at for at in range(100)]


class LeaderlessClients(Clients):
    """The first batch meets a partition that nobody leads."""

    def idempotent_producer(self, *, compression: str) -> AIOKafkaProducer:
        producer = super().idempotent_producer(compression=compression)
        send_batch = producer.send_batch

        async def fail_once(*_: object, **__: object) -> None:
            producer.send_batch = send_batch
            raise LeaderNotAvailableError

        producer.send_batch = fail_once
        return producer


@pytest.mark.broker
async def test_a_batch_that_was_not_taken_is_sent_again_by_the_same_producer(
    bootstrap_servers: str, prefix: str
) -> None:
    cluster = Cluster(bootstrap_servers, prefix)
    await cluster.create_topics()
    cluster.clients = LeaderlessClients(cluster.options)
    async with _writing(cluster) as written:
        await written.write_all(cluster.topics.raw_suggestions, 0, ["1", "2"])
        assert [type(event) for event in written.events] == [WriteFailed]
    assert [record.value for record in await cluster.read(cluster.topics.raw_suggestions)] == [b"1", b"2"]


@pytest.mark.kafka
async def test_a_stop_while_the_broker_is_away_is_bounded(tmp_path: Path, prefix: str) -> None:
    with KafkaBroker(tmp_path / "broker", **QUICK) as broker:
        cluster = Cluster(broker.bootstrap_servers, prefix)
        await cluster.create_topics()
        raw = cluster.topics.raw_suggestions
        async with _writing(cluster) as written:
            await written.write_all(raw, 0, ["first"])
            broker.kill()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await written.write_all(raw, 0, ["lost"])
            async with asyncio.timeout(15):
                await written.writer.stop()


def _record(topic: str, partition: int, text: str) -> NewRecord:
    return NewRecord(topic=topic, key=b"i", value=text.encode(), partition=partition)


async def _raise_limit(cluster: Cluster, topic: str) -> None:
    admin = cluster.clients.admin()
    await admin.start()
    try:
        configs = {"max.message.bytes": "1000000"}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=configs)])
    finally:
        await admin.close()
