"""The exactly-once engine on a real broker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.cluster import ClusterMetadata

from bridge.adapters.kafka.engine import Engine
from bridge.adapters.kafka.restore import Plan
from bridge.core.events.engine import NumberRestored
from bridge.core.events.kinds import Event
from bridge.core.records import NewRecord, Record, positions_header
from bridge.ports import Number
from bridge.simulator.times import Changes
from tests.kafka.cluster import Cluster

pytestmark = pytest.mark.broker


class Copy:
    """A hop that copies raw records to the ranked topic, and counts them in the state topic."""

    def __init__(self, cluster: Cluster) -> None:
        self._topics = cluster.topics
        self.count = 0

    def restore(self, record: Record) -> None:
        self.count = int(record.value or b"0")

    async def work(self, number: Number) -> None:
        while (batch := await number.take()) is not None:
            written = [
                NewRecord(topic=self._topics.ranked_suggestions, key=record.key, value=record.value)
                for record in batch.records
            ]
            self.count += len(written)
            state = NewRecord(
                topic=self._topics.interaction_acceptance,
                key=b"count",
                value=b"%d" % self.count,
                headers=(positions_header(batch.positions),),
            )
            await number.commit([*written, state] if written else [], batch.positions)


class Running:
    """A running engine, and what it told."""

    def __init__(self, cluster: Cluster, *, group: str) -> None:
        self.cluster = cluster
        self.events: list[Event] = []
        self.hops: dict[int, Copy] = {}
        self._restored = asyncio.Event()
        self.engine = Engine(
            cluster.clients,
            Plan(
                group=cluster.options.prefix + group,
                topics=[cluster.topics.raw_suggestions],
                state_topic=cluster.topics.interaction_acceptance,
                audit_topic=cluster.topics.suggestion_audit,
                make_hop=self._make_hop,
            ),
            clock=lambda: 0,
            chance=lambda: 0.5,
            emit=self._emit,
        )

    async def until_restored(self) -> None:
        """Waits until a number is running."""
        await self._restored.wait()

    def _emit(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, NumberRestored):
            self._restored.set()

    def _make_hop(self, number: int) -> Copy:
        self.hops[number] = Copy(self.cluster)
        return self.hops[number]


@asynccontextmanager
async def running(cluster: Cluster, *, group: str = "ranker") -> AsyncIterator[Running]:
    """Runs an engine until the block ends; then it drains."""
    run = Running(cluster, group=group)
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        tasks.create_task(run.engine.run())
        try:
            yield run
        finally:
            run.engine.stop()


def values(records: list[Record]) -> list[bytes]:
    return sorted(record.value or b"" for record in records)


async def test_every_record_comes_out_once_and_the_position_is_committed(cluster: Cluster) -> None:
    sent = [b"%03d" % serial for serial in range(100)]
    await cluster.send(cluster.topics.raw_suggestions, *sent)
    async with running(cluster) as run:
        copied = await cluster.read(cluster.topics.ranked_suggestions, until=lambda read: len(read) >= 100)
        assert values(copied) == sent
    assert run.hops[0].count == 100
    assert (await cluster.committed("ranker", cluster.topics.raw_suggestions))[0] == 100


async def test_an_idle_hop_asks_for_the_metadata_of_its_own_topics_alone(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of a big cluster are so many that reading them, once a minute and client, leaves no time for anything."""
    cluster.clients._common["metadata_max_age_ms"] = 100
    asked = list[set[str]]()
    have_asked, update = Changes(), AIOKafkaClient._metadata_update

    async def look_and_update(client: AIOKafkaClient, metadata: ClusterMetadata, topics: Any) -> Any:
        asked.append(set(topics or ()))
        have_asked.tell()
        return await update(client, metadata, topics)

    monkeypatch.setattr(AIOKafkaClient, "_metadata_update", look_and_update)
    async with running(cluster) as run:
        await run.until_restored()
        await have_asked.until(lambda: len(asked) >= 100, timeout_s=30)
    assert set() not in asked
    assert set().union(*asked) <= set(cluster.topics.names())


async def test_a_lone_record_is_worked_at_once(cluster: Cluster) -> None:
    async with running(cluster):
        await cluster.send(cluster.topics.raw_suggestions, b"one", number=1)
        copied = await cluster.read(cluster.topics.ranked_suggestions, until=bool)
        assert values(copied) == [b"one"]


async def test_a_second_start_goes_on_where_the_first_stopped(cluster: Cluster) -> None:
    await cluster.send(cluster.topics.raw_suggestions, b"1", b"2")
    async with running(cluster):
        await cluster.read(cluster.topics.ranked_suggestions, until=lambda read: len(read) >= 2)
    await cluster.send(cluster.topics.raw_suggestions, b"3")
    async with running(cluster) as run:
        copied = await cluster.read(cluster.topics.ranked_suggestions, until=lambda read: len(read) >= 3)
    assert values(copied) == [b"1", b"2", b"3"]
    assert run.hops[0].count == 3, "the state was restored"


async def test_two_members_share_the_numbers_and_hand_over_without_loss_or_double(cluster: Cluster) -> None:
    sent: list[bytes] = []
    is_enough = asyncio.Event()

    async def feed() -> None:
        async with cluster.producer() as producer:
            while not is_enough.is_set():
                sent.append(b"%05d" % len(sent))
                raw, number = cluster.topics.raw_suggestions, len(sent) % 2
                await producer.send_and_wait(raw, sent[-1], key=b"k", partition=number)

    async with running(cluster), asyncio.TaskGroup() as tasks:
        tasks.create_task(feed())
        await cluster.read(cluster.topics.ranked_suggestions, until=bool)
        async with running(cluster) as second:
            await second.until_restored()
            read_before = len(await cluster.read(cluster.topics.ranked_suggestions))
            await cluster.read(cluster.topics.ranked_suggestions, until=lambda read: len(read) > read_before)
        is_enough.set()
    async with running(cluster):
        copied = await cluster.read(cluster.topics.ranked_suggestions, until=lambda read: len(read) >= len(sent))
    assert values(copied) == sent


async def test_a_lost_group_position_is_made_up_for_by_the_state(cluster: Cluster) -> None:
    await cluster.send(cluster.topics.raw_suggestions, b"1", b"2")
    async with running(cluster):
        await cluster.read(cluster.topics.ranked_suggestions, until=lambda read: len(read) >= 2)
    await cluster.send(cluster.topics.raw_suggestions, b"3")
    async with running(cluster, group="another") as run:
        copied = await cluster.read(cluster.topics.ranked_suggestions, until=lambda read: len(read) >= 3)
    assert values(copied) == [b"1", b"2", b"3"]
    assert run.hops[0].count == 3
