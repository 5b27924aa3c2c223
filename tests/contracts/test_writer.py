"""What every `Writer` does: the one in memory and the one on Kafka."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass

import pytest

from bridge.adapters.kafka.clients import Clients, Options
from bridge.adapters.kafka.reader import read
from bridge.adapters.kafka.topics import apply
from bridge.adapters.kafka.writer import KafkaWriter
from bridge.core.records import NewRecord
from bridge.core.topics import TopicPlan
from bridge.ports import Writer
from tests.fakes.writer import FakeWriter

Stored = tuple[int, bytes | None, bytes | None, tuple[tuple[str, bytes], ...], int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A writer, the topic `raw` that it writes to, and a look at what stands there, partition by partition."""

    writer: Writer
    raw: str
    other: str
    stored: Callable[[str], Awaitable[list[Stored]]]


@pytest.fixture
async def in_memory() -> Setting:
    writer = FakeWriter(at_most=300)

    async def stored(topic: str) -> list[Stored]:
        return [_stored(record, record.partition or 0) for record in writer.on(topic)]

    return Setting(writer=writer, raw="raw", other="other", stored=stored)


@pytest.fixture
async def on_kafka(bootstrap_servers: str, prefix: str) -> AsyncIterator[Setting]:
    clients = Clients(Options(bootstrap_servers=bootstrap_servers))
    raw, other = f"{prefix}raw", f"{prefix}other"
    plans = [TopicPlan(name=raw, configs={}), TopicPlan(name=other, configs={})]
    await apply(clients, plans, partitions=2, replication_factor=1, dry_run=False)
    writer = KafkaWriter(clients, raw_topic=raw, emit=lambda _: None, chance=lambda: 0.5)
    await writer.start(timeout_s=30)

    async def stored(topic: str) -> list[Stored]:
        async with aclosing(read(clients, topic, from_start=True, until_end=True)) as records:
            found = [record async for record in records]
        return [_stored(record, record.partition) for record in sorted(found, key=lambda one: (one.partition, one.offset))]

    yield Setting(writer=writer, raw=raw, other=other, stored=stored)
    await writer.stop()


@pytest.fixture(params=["in_memory", pytest.param("on_kafka", marks=pytest.mark.broker)])
def setting(request: pytest.FixtureRequest) -> Setting:
    found: Setting = request.getfixturevalue(request.param)
    return found


def _stored(record: object, partition: int) -> Stored:
    return (
        partition,
        record.key,  # type: ignore[attr-defined] # written and read records have these alike
        record.value,  # type: ignore[attr-defined]
        tuple(record.headers),  # type: ignore[attr-defined]
        record.timestamp,  # type: ignore[attr-defined]
    )
