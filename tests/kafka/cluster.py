"""What tests on a broker need: topics, records in, records out."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.protocol.admin import DeleteGroupsRequest

from bridge.adapters.kafka import topics as kafka_topics
from bridge.adapters.kafka.clients import Clients, Options, group_of, transactional_id_of
from bridge.adapters.kafka.committed import committed_positions
from bridge.adapters.kafka.coordinators import patiently
from bridge.adapters.kafka.start_stop import start_client
from bridge.core.errors import UnavailableError
from bridge.core.records import Header, Record
from bridge.core.topics import Options as TopicOptions
from bridge.core.topics import Topics, plans_of, topics_of
from tests.kafka.elections import elect, leaders_of, reassign, replicas_of

_Client = TypeVar("_Client", AIOKafkaConsumer, AIOKafkaAdminClient)


class Cluster:
    """The test's own corner of the broker: everything in it begins with `prefix`."""

    def __init__(
        self, bootstrap_servers: str, prefix: str, *, partitions: int = 2, replicas: int = 1, **options: object
    ) -> None:
        # Short enough for a test to wait for a dead member, long enough for a busy machine.
        quick = {"session_timeout_ms": 6_000, "heartbeat_interval_ms": 500, "rebalance_timeout_ms": 10_000}
        self.options = Options(bootstrap_servers=bootstrap_servers, prefix=prefix, **(quick | options))  # type: ignore[arg-type]
        self.clients = Clients(self.options)
        self._replicas = replicas
        self.topics: Topics = topics_of(TopicOptions(partitions=partitions), prefix=prefix)

    async def create_topics(self) -> None:
        """Makes all topics of the bridge, and waits until the broker knows them."""
        await kafka_topics.apply(
            self.clients,
            plans_of(self.topics),
            partitions=self.topics.partitions,
            replication_factor=self._replicas,
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
        """Everything on a topic up to its end, or until the records read so far are enough (at most 60 s).

        The end is the one that open transactions do not hide: a producer's commit returns before the broker has shown
        it on every partition, so the records of one that has just returned are waited for.
        """
        ends = {} if until else await self._ends(topic, isolation="read_uncommitted")
        consumer = self.clients.reader(isolation_level=isolation)
        await consumer.start()
        try:
            consumer.assign(self._partitions(topic))
            read: list[Record] = []
            async with asyncio.timeout(60):
                while True:
                    for records in (await consumer.getmany(timeout_ms=100)).values():
                        read.extend(records)
                    if until is not None:
                        if until(read):
                            return read
                    elif all([await consumer.position(one) >= end for one, end in ends.items()]):
                        return read
        finally:
            await consumer.stop()

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        """The committed position of each number of a topic that has one."""
        async with self._admin() as admin:
            found = await self._committed(admin, group, topic)
            return {partition.partition: position for partition, position in found.items()}

    async def _committed(self, admin: AIOKafkaAdminClient, group: str, topic: str) -> dict[TopicPartition, int]:
        return await committed_positions(admin, self.options.prefix + group, self._partitions(topic), timeout_s=30)

    async def commit(self, group: str, positions: dict[TopicPartition, int]) -> None:
        """Commits positions for a group that has no members."""
        consumer = self.clients.group_consumer(self.options.prefix + group)
        await consumer.start()
        try:
            # Assigned by hand it needs no membership.
            consumer.assign(list(positions))
            async with asyncio.timeout(30):
                await consumer.commit(positions)
        finally:
            await consumer.stop()

    async def until_at_rest(self, *hops: tuple[str, str]) -> None:
        """Returns once the groups have no lag on their topics, each a pair like `("ranker", topic)` (at most 60 s).

        Name them in the order of the data: where one is at rest, it has written all that the next one is to read. They
        are looked at twice, because a tally may move clicks to its own input. What they wrote can be read then: it is
        hidden for a moment after a group's position has moved.
        """
        async with asyncio.timeout(60), self._admin() as admin, self._reader(isolation="read_uncommitted") as probe:
            for group, topic in hops * 2:
                while not await self._is_at_rest(admin, probe, group=group, topic=topic):
                    await asyncio.sleep(0.05)  # Kafka tells nobody.
            ends = await probe.end_offsets([one for topic in self.topics.names() for one in self._partitions(topic)])
            async with self._reader() as reader:
                while any(shown < ends[one] for one, shown in (await reader.end_offsets(list(ends))).items()):
                    await asyncio.sleep(0.05)

    async def _is_at_rest(self, admin: AIOKafkaAdminClient, probe: AIOKafkaConsumer, *, group: str, topic: str) -> bool:
        committed = await self._committed(admin, group, topic)
        ends = await probe.end_offsets(self._partitions(topic))
        return all(partition in committed and committed[partition] >= ends[partition] for partition in ends)

    async def has_open_transaction(self, topic: str) -> bool:
        """True while a transaction that has written to the topic is neither committed nor aborted."""
        # In this order: what is written or committed between the two questions is no open transaction.
        ends = await self._ends(topic, isolation="read_uncommitted")
        stable = await self._ends(topic, isolation="read_committed")
        return any(stable[one] < end for one, end in ends.items())

    async def leaders(self, topic: str) -> dict[int, int]:
        """The node that leads each partition; -1 where none does."""
        async with self._admin() as admin:
            return {place.partition: node for place, node in (await leaders_of(admin, [topic])).items()}

    async def move_leaders(self, order: Callable[[list[int]], list[int]], *topics: str) -> None:
        """Gives each partition its replicas in the `order` of those it has; the first one leads when this returns.

        All of the bridge's partitions, unless topics are named. `order` may name other nodes, too (at most 60 s).
        """
        async with asyncio.timeout(60), self._admin() as admin:
            names = topics or tuple(self.topics.names())
            wanted = {place: order(nodes) for place, nodes in (await replicas_of(admin, names)).items()}
            await reassign(admin, wanted)
            firsts = {place: nodes[0] for place, nodes in wanted.items()}
            while await leaders_of(admin, names) != firsts:
                await elect(admin, wanted)
                await asyncio.sleep(0.1)  # Kafka tells nobody.

    async def coordinators(self, *groups: str) -> set[int]:
        """The nodes that have the groups' positions, and the transactions of all their numbers (at most 60 s)."""
        names = [group_of(self.options, group) for group in groups]
        ids = [transactional_id_of(name, number) for name in names for number in range(self.topics.partitions)]
        async with asyncio.timeout(60), self._admin() as admin:
            of_positions = {await _coordinator_of(admin, name, kind=0) for name in names}
            return of_positions | {await _coordinator_of(admin, one, kind=1) for one in ids}

    async def in_sync(self, topic: str) -> set[int]:
        """How many replicas of its partitions are in sync: one number where all are alike."""
        async with self._admin() as admin:
            (found,) = await admin.describe_topics([topic])
            return {len(one["isr"]) for one in found["partitions"]}

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
        # Kafka forgets what is not named again: without its other settings the topic would lose its append times.
        planned = {plan.name: plan.configs for plan in plans_of(self.topics)}
        configs = planned.get(topic, {}) | {name.replace("_", "."): value for name, value in settings.items()}
        async with self._admin() as admin:
            await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=configs)])

    async def _ends(self, topic: str, *, isolation: str) -> dict[TopicPartition, int]:
        async with self._reader(isolation=isolation) as reader:
            ends: dict[TopicPartition, int] = await reader.end_offsets(self._partitions(topic))
            return ends

    def _partitions(self, topic: str) -> list[TopicPartition]:
        return [TopicPartition(topic, number) for number in range(self.topics.partitions)]

    @asynccontextmanager
    async def _reader(self, *, isolation: str = "read_committed") -> AsyncIterator[AIOKafkaConsumer]:
        reader = await _started(lambda: self.clients.reader(isolation_level=isolation))
        try:
            yield reader
        finally:
            await reader.stop()

    @asynccontextmanager
    async def _admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        admin = await _started(self.clients.admin)
        try:
            yield admin
        finally:
            await admin.close()


async def _started(make: Callable[[], _Client]) -> _Client:
    async with asyncio.timeout(60):
        while True:
            client = make()
            with suppress(UnavailableError):  # A broker that was silent until a moment ago.
                await start_client(client, timeout_s=30)
                return client


async def _coordinator_of(admin: AIOKafkaAdminClient, name: str, *, kind: int) -> int:
    found: int = await patiently(lambda: admin.find_coordinator(name, kind), about="coordinator", timeout_s=60)
    return found
