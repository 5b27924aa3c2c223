"""One topic from now on, and single records out."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer

from bridge.adapters.kafka.clients import Clients, Options
from bridge.adapters.kafka.live import LiveReader, Publisher
from bridge.adapters.kafka.topics import apply
from bridge.core.errors import StartError, UnavailableError
from bridge.core.partitions import partition_of
from bridge.core.records import NewRecord
from bridge.core.topics import plans_of
from tests.broker import KafkaBroker
from tests.kafka.cluster import Cluster

_NOWHERE = Clients(Options(bootstrap_servers="127.0.0.1:1"))


async def test_a_kafka_that_is_away_is_unavailable() -> None:
    with pytest.raises(UnavailableError):
        await LiveReader(_NOWHERE, "any").start()
    with pytest.raises(UnavailableError):
        await Publisher(_NOWHERE).start()


async def test_nothing_is_read_or_written_before_the_start_or_after_the_end() -> None:
    reader, publisher = LiveReader(_NOWHERE, "any"), Publisher(_NOWHERE)
    with pytest.raises(RuntimeError, match="not started"):
        await reader.next()
    with pytest.raises(RuntimeError, match="not started"):
        await publisher.publish(NewRecord(topic="any", key=b"k", value=b""))
    await reader.close()
    await publisher.close()
    assert await reader.next() is None
    with pytest.raises(RuntimeError, match="started once"):
        await reader.start()


@pytest.fixture
async def cluster(bootstrap_servers: str, prefix: str) -> Cluster:
    cluster = Cluster(bootstrap_servers, prefix)
    await apply(cluster.clients, plans_of(cluster.topics), partitions=2, replication_factor=1, dry_run=False)
    return cluster


@asynccontextmanager
async def _reading(cluster: Cluster, *, key: bytes | None = None) -> AsyncIterator[LiveReader]:
    reader = await LiveReader(cluster.clients, cluster.topics.ranked_suggestions, key=key).start()
    try:
        async with asyncio.timeout(60):
            yield reader
    finally:
        await reader.close()


async def _next(reader: LiveReader) -> bytes | None:
    record = await reader.next()
    assert record is not None
    return record.value


@pytest.mark.broker
class TestReading:
    async def test_begins_with_what_is_written_after_its_start(self, cluster: Cluster) -> None:
        topic = cluster.topics.ranked_suggestions
        await cluster.send(topic, b"before")
        async with _reading(cluster) as reader:
            await cluster.send(topic, b"after")
            await cluster.send(topic, b"on the other partition", number=1)
            assert {await _next(reader), await _next(reader)} == {b"after", b"on the other partition"}

    async def test_gives_one_key_alone_where_one_is_asked_for(self, cluster: Cluster) -> None:
        topic, number = cluster.topics.ranked_suggestions, partition_of(b"i-1", 2)
        async with _reading(cluster, key=b"i-1") as reader:
            await cluster.send(topic, b"another's", key=b"i-2", number=number)
            await cluster.send(topic, b"its own", key=b"i-1", number=number)
            assert await _next(reader) == b"its own"

    async def test_does_not_see_what_was_aborted(self, cluster: Cluster) -> None:
        topic = cluster.topics.ranked_suggestions
        # Two writers: the embedded broker goes on hiding what comes from one that has aborted.
        aborting, committing = (cluster.clients.transactional_producer(f"{topic}-{name}") for name in "ab")
        async with _reading(cluster) as reader, aborting, committing:
            await aborting.begin_transaction()
            await aborting.send_and_wait(topic, b"aborted", partition=0)
            await aborting.abort_transaction()
            async with committing.transaction():
                await committing.send(topic, b"committed", partition=0)
            assert await _next(reader) == b"committed"

    async def test_a_wait_that_is_cancelled_loses_nothing(self, cluster: Cluster) -> None:
        async with _reading(cluster) as reader:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await reader.next()
            await cluster.send(cluster.topics.ranked_suggestions, b"1", b"2")
            assert [await _next(reader), await _next(reader)] == [b"1", b"2"]

    async def test_closing_ends_the_wait(self, cluster: Cluster) -> None:
        async with _reading(cluster) as reader, asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(reader.next())
            await reader.close()
            assert await waiting is None

    async def test_a_topic_that_does_not_exist_is_told_and_leaves_nothing_open(self, cluster: Cluster) -> None:
        reader = LiveReader(cluster.clients, f"{cluster.options.prefix}nowhere")
        with pytest.raises(StartError, match="does not exist"):
            await reader.start()
        # A client that was left open says so when it is collected, and a warning is an error here.
        del reader
        gc.collect()

    async def test_a_start_that_is_cancelled_leaves_nothing_open(
        self, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        connecting = asyncio.Event()

        def reader_of(clients: Clients) -> AIOKafkaConsumer:
            connecting.set()
            return new_reader(clients)

        new_reader = Clients.reader
        monkeypatch.setattr(Clients, "reader", reader_of)
        starting = asyncio.create_task(LiveReader(cluster.clients, cluster.topics.ranked_suggestions).start())
        async with asyncio.timeout(10):
            await connecting.wait()
        starting.cancel()
        await asyncio.wait([starting])
        assert starting.cancelled()
        del starting
        gc.collect()


@pytest.mark.broker
class TestPublishing:
    async def test_a_record_stands_on_the_partition_of_its_key(self, cluster: Cluster) -> None:
        publisher = await Publisher(cluster.clients).start()
        topic = cluster.topics.suggestion_clicks
        for key in (b"i-1", b"i-2", b"i-3"):
            written = await publisher.publish(NewRecord(topic=topic, key=key, value=b"x", headers=(("h", b"v"),)))
            assert (written.topic, written.partition) == (topic, partition_of(key, 2))
        await publisher.close()
        records = await cluster.read(topic)
        assert {record.key for record in records} == {b"i-1", b"i-2", b"i-3"}
        assert all(dict(record.headers) == {"h": b"v"} for record in records)

    @pytest.mark.kafka
    async def test_a_record_that_is_refused_does_not_spoil_the_next_one(self, cluster: Cluster) -> None:
        publisher = await Publisher(cluster.clients).start()
        topic = cluster.topics.suggestion_clicks
        await publisher.publish(NewRecord(topic=topic, key=b"i-1", value=b"1"))
        with pytest.raises(UnavailableError, match="MessageSizeTooLarge"):
            await publisher.publish(NewRecord(topic=topic, key=b"i-1", value=b"x" * 2_000_000))
        await publisher.publish(NewRecord(topic=topic, key=b"i-1", value=b"2"))
        await publisher.close()
        assert [record.value for record in await cluster.read(topic)] == [b"1", b"2"]


@pytest.mark.kafka
async def test_both_go_on_after_the_broker_was_away(tmp_path: Path, prefix: str) -> None:
    with KafkaBroker(tmp_path / "broker") as broker:
        cluster = Cluster(broker.bootstrap_servers, prefix)
        await apply(cluster.clients, plans_of(cluster.topics), partitions=2, replication_factor=1, dry_run=False)
        topic = cluster.topics.ranked_suggestions
        publisher = await Publisher(cluster.clients).start()
        async with _reading(cluster) as reader:
            await publisher.publish(NewRecord(topic=topic, key=b"i-1", value=b"1"))
            assert await _next(reader) == b"1"
            await asyncio.to_thread(broker.stop)
            async with asyncio.TaskGroup() as tasks:
                reading = tasks.create_task(_next(reader))
                writing = tasks.create_task(publisher.publish(NewRecord(topic=topic, key=b"i-1", value=b"2")))
                await asyncio.to_thread(broker.start)
                assert (await writing).offset == 1
                assert await reading == b"2"
        await publisher.close()
