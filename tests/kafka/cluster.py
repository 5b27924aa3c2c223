"""What tests on a broker need: topics, records in, records out."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import asynccontextmanager
from typing import AsyncIterator

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import NewTopic

from bridge.adapters.kafka.clients import Clients, Options
from bridge.core.records import Header, Record
from bridge.core.topics import Options as TopicOptions
from bridge.core.topics import Topics, plans_of, topics_of


class Cluster:
    """The test's own corner of the broker: everything in it begins with `prefix`."""

    def __init__(self, bootstrap_servers: str, prefix: str, *, partitions: int = 2, **options: object) -> None:
        # Short enough for a test to wait for a dead member, long enough for a busy machine.
        quick = {"session_timeout_ms": 6_000, "heartbeat_interval_ms": 500, "rebalance_timeout_ms": 10_000}
        self.options = Options(bootstrap_servers=bootstrap_servers, prefix=prefix, **(quick | options))  # type: ignore[arg-type]
        self.clients = Clients(self.options)
        self.topics: Topics = topics_of(TopicOptions(partitions=partitions), prefix=prefix)

    async def create_topics(self) -> None:
        """Makes all topics of the bridge."""
        admin = self.clients.admin()
        await admin.start()
        try:
            plans = [
                NewTopic(plan.name, self.topics.partitions, 1, topic_configs=plan.configs)
                for plan in plans_of(self.topics)
            ]
            response = await admin.create_topics(plans)
            assert all(error[1] == 0 for error in response.topic_errors), response.topic_errors
        finally:
            await admin.close()

    @asynccontextmanager
    async def producer(self) -> AsyncIterator[AIOKafkaProducer]:
        """A plain idempotent producer."""
        producer = self.clients.idempotent_producer(compression="none")
        await producer.start()
        try:
            yield producer
        finally:
            await producer.stop()

    async def send(
        self, topic: str, *values: bytes, key: bytes = b"i-1", number: int = 0, headers: Sequence[Header] = ()
    ) -> None:
        """Writes values to one partition, in order, and returns once the broker has them."""
        async with self.producer() as producer:
            futures = [
                await producer.send(topic, value, key=key, partition=number, headers=list(headers)) for value in values
            ]
            await asyncio.gather(*futures)

    async def read(
        self, topic: str, *, until: Callable[[list[Record]], bool] | None = None, isolation: str = "read_committed"
    ) -> list[Record]:
        """Everything on a topic up to its end, or until the records read so far are enough (at most 60 s)."""
        consumer = self.clients.reader(isolation_level=isolation)
        await consumer.start()
        try:
            partitions = [TopicPartition(topic, number) for number in range(self.topics.partitions)]
            consumer.assign(partitions)
            ends = await consumer.end_offsets(partitions)
            read: list[Record] = []
            async with asyncio.timeout(60):
                while True:
                    for records in (await consumer.getmany(timeout_ms=100)).values():
                        read.extend(records)
                    if until is not None:
                        if until(read):
                            return read
                    elif all([await consumer.position(one) >= ends[one] for one in partitions]):
                        return read
        finally:
            await consumer.stop()

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        """The committed position of each number of a topic that has one."""
        admin = self.clients.admin()
        await admin.start()
        try:
            found = await admin.list_consumer_group_offsets(self.options.prefix + group)
            return {partition.partition: at.offset for partition, at in found.items() if partition.topic == topic}
        finally:
            await admin.close()
