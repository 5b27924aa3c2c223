"""What tests on a broker need: topics, records in, records out."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.protocol.admin import DeleteGroupsRequest

from bridge.adapters.kafka import topics as kafka_topics
from bridge.adapters.kafka.clients import Clients, Options
from bridge.adapters.kafka.lag import KafkaLag
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
        """Makes all topics of the bridge, and waits until the broker knows them."""
        await kafka_topics.apply(
            self.clients,
            plans_of(self.topics),
            partitions=self.topics.partitions,
            replication_factor=1,
            dry_run=False,
        )

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
        async with self._admin() as admin:
            found = await admin.list_consumer_group_offsets(self.options.prefix + group)
            return {partition.partition: at.offset for partition, at in found.items() if partition.topic == topic}

    async def until_at_rest(self, *hops: tuple[str, str]) -> None:
        """Returns once the groups have no lag on their topics, each a pair like `("ranker", topic)` (at most 60 s).

        Name them in the order of the data: where one is at rest, it has written all that the next one is to read. They
        are looked at twice, because a tally may move clicks to its own input.
        """
        async with AsyncExitStack() as stack, asyncio.timeout(60):
            probes = []
            for group, topic in hops:
                probes.append(KafkaLag(self.clients, topic=topic, groups=[self.options.prefix + group]))
                stack.push_async_callback(probes[-1].stop)
            for probe in probes * 2:
                while await probe.lag() != 0:
                    await asyncio.sleep(0.05)  # Kafka tells nobody.

    async def has_open_transaction(self, topic: str) -> bool:
        """True while a transaction that has written to the topic is neither committed nor aborted."""
        stable = await self._ends(topic, isolation="read_committed")
        return stable != await self._ends(topic, isolation="read_uncommitted")

    async def delete_group(self, group: str) -> None:
        """Forgets a group and its committed positions; it must have no members."""
        name = self.options.prefix + group
        async with self._admin() as admin:
            coordinator = await admin.find_coordinator(name)
            response = await admin._send_request(DeleteGroupsRequest([name]), coordinator)
            assert [error for _, error in response.results] == [0], response

    async def delete_records(self, topic: str, *, number: int, before: int) -> None:
        """Does what retention does: the partition begins at `before` from now on."""
        async with self._admin() as admin:
            begins = await admin.delete_records({TopicPartition(topic, number): RecordsToDelete(before)})
            assert begins == {TopicPartition(topic, number): before}

    async def add_partitions(self, topic: str, *, total: int) -> None:
        """Gives a topic more partitions, as an operator may do."""
        async with self._admin() as admin:
            await admin.create_partitions({topic: NewPartitions(total)})

    async def set_up(self, topic: str, **settings: str) -> None:
        """Changes settings of a topic; an underscore stands for a dot in their names."""
        configs = {name.replace("_", "."): value for name, value in settings.items()}
        async with self._admin() as admin:
            await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=configs)])

    async def _ends(self, topic: str, *, isolation: str) -> dict[TopicPartition, int]:
        consumer = self.clients.reader(isolation_level=isolation)
        await consumer.start()
        try:
            partitions = [TopicPartition(topic, number) for number in range(self.topics.partitions)]
            ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
            return ends
        finally:
            await consumer.stop()

    @asynccontextmanager
    async def _admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        admin = self.clients.admin()
        await admin.start()
        try:
            yield admin
        finally:
            await admin.close()
