"""Reading a topic without a group."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from bridge.adapters.kafka.clients import Clients, Options
from bridge.adapters.kafka.reader import read
from bridge.adapters.kafka.topics import apply
from bridge.core.errors import StartError, UnavailableError
from bridge.core.records import Record
from bridge.core.topics import TopicPlan


async def test_a_kafka_that_is_away_is_unavailable_within_the_deadline() -> None:
    clients = Clients(Options(bootstrap_servers="127.0.0.1:1"))
    with pytest.raises(UnavailableError, match="no answer"):
        await _all(clients, "any", timeout_s=5)


@pytest.mark.broker
class TestOnABroker:
    async def test_reads_all_partitions_to_the_end_as_it_was(self, bootstrap_servers: str, prefix: str) -> None:
        clients, topic = await _topic(bootstrap_servers, prefix)
        await _write(clients, topic, b"a", b"b", b"c")
        records = await _all(clients, topic)
        assert sorted((record.partition, record.value) for record in records) == [(0, b"a"), (0, b"c"), (1, b"b")]

    async def test_an_empty_topic_ends_at_once(self, bootstrap_servers: str, prefix: str) -> None:
        clients, topic = await _topic(bootstrap_servers, prefix)
        assert await _all(clients, topic) == []

    async def test_reads_only_what_comes_after_the_begin(self, bootstrap_servers: str, prefix: str) -> None:
        clients, topic = await _topic(bootstrap_servers, prefix)
        await _write(clients, topic, b"before")
        async with asyncio.timeout(30), aclosing(read(clients, topic, from_start=False, until_end=False)) as records:
            async with asyncio.TaskGroup() as tasks:
                first = tasks.create_task(_next(records))
                # The reader begins some time after it was asked to: what is written first may be before its begin.
                tasks.create_task(_write_until(first, clients, topic))
            assert first.result().value == b"after"

    async def test_aborted_records_are_not_read_and_the_end_is_reached(
        self, bootstrap_servers: str, prefix: str
    ) -> None:
        clients, topic = await _topic(bootstrap_servers, prefix)
        producer = clients.transactional_producer(f"{prefix}writer-0")
        await producer.start()
        try:
            async with producer.transaction():
                await producer.send(topic, b"committed", partition=0)
            await producer.begin_transaction()
            await producer.send_and_wait(topic, b"aborted", partition=0)
            await producer.abort_transaction()
        finally:
            await producer.stop()
        assert [record.value for record in await _all(clients, topic)] == [b"committed"]

    async def test_a_topic_that_does_not_exist_is_told_and_not_made(self, bootstrap_servers: str, prefix: str) -> None:
        clients = Clients(Options(bootstrap_servers=bootstrap_servers))
        for _ in range(2):
            with pytest.raises(StartError, match="does not exist"):
                await _all(clients, f"{prefix}nowhere")


async def _next(records: AsyncIterator[Record]) -> Record:
    return await anext(records)


async def _all(clients: Clients, topic: str, *, timeout_s: float = 30) -> list[Record]:
    async with aclosing(read(clients, topic, from_start=True, until_end=True, timeout_s=timeout_s)) as records:
        return [record async for record in records]


async def _topic(bootstrap_servers: str, prefix: str) -> tuple[Clients, str]:
    clients = Clients(Options(bootstrap_servers=bootstrap_servers))
    plan = TopicPlan(name=f"{prefix}read", configs={})
    await apply(clients, [plan], partitions=2, replication_factor=1, dry_run=False)
    return clients, plan.name


async def _write(clients: Clients, topic: str, *values: bytes) -> None:
    producer = clients.idempotent_producer(compression="none")
    await producer.start()
    try:
        for at, value in enumerate(values):
            await producer.send_and_wait(topic, value, partition=at % 2)
    finally:
        await producer.stop()


async def _write_until(first: asyncio.Task[Record], clients: Clients, topic: str) -> None:
    while not first.done():
        await _write(clients, topic, b"after")
