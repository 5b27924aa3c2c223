"""A transaction that its coordinator completes without all of its markers, as Kafka 4.4.0 does without leaders."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from bridge.adapters.kafka.clients import group_of
from bridge.adapters.kafka.start_stop import start_client, stop_client
from bridge.adapters.kafka.take_over import Endings, take_over
from bridge.adapters.kafka.transactions import TransactionalWriter
from bridge.core.errors import TransactionError
from bridge.core.records import NewRecord
from tests.broker import KafkaBroker
from tests.kafka.cluster import Cluster

pytestmark = [pytest.mark.kafka, pytest.mark.faults]

POSITION = 7


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """One that takes records of a transaction that its coordinator does not know of."""
    settings = {"transaction.partition.verification.enable": "false"}
    with KafkaBroker(tmp_path_factory.mktemp("own") / "broker", **settings) as broker:
        yield broker


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Number 1 of the ranker: what it writes, and what is there for everybody to see."""

    cluster: Cluster
    admin: AIOKafkaAdminClient
    endings: Endings

    @property
    def ranked(self) -> TopicPartition:
        return TopicPartition(self.cluster.topics.ranked_suggestions, 1)

    @property
    def audit(self) -> TopicPartition:
        return TopicPartition(self.cluster.topics.suggestion_audit, 1)

    @asynccontextmanager
    async def owner(self) -> AsyncIterator[TransactionalWriter]:
        """A writer that has taken over the number."""
        writer = self.new_writer()
        try:
            await take_over(writer, [self.ranked, self.audit], admin=self.admin, endings=self.endings)
            yield writer
        finally:
            await writer.close()

    def new_writer(self) -> TransactionalWriter:
        return TransactionalWriter(self.cluster.clients, group=group_of(self.cluster.options, "ranker"), number=1)

    async def write(self, writer: TransactionalWriter, value: bytes, position: int) -> None:
        """One list, its audit event and the position after it."""
        records = [NewRecord(topic=one.topic, key=b"i", value=value) for one in (self.ranked, self.audit)]
        await writer.write(records, {TopicPartition(self.cluster.topics.raw_suggestions, 1): position})

    async def shown(self) -> tuple[list[bytes], list[bytes], int | None]:
        """The lists and audit events that a transaction does not hide, and the group's position."""
        lists, events = [await self._values(one.topic) for one in (self.ranked, self.audit)]
        committed = await self.cluster.committed("ranker", self.cluster.topics.raw_suggestions)
        return lists, events, committed.get(1)

    async def _values(self, topic: str) -> list[bytes]:
        return [record.value or b"" for record in await self.cluster.read(topic)]


@pytest.fixture
async def world(broker: KafkaBroker, prefix: str) -> AsyncIterator[World]:
    cluster = Cluster(broker.bootstrap_servers, prefix)
    await cluster.create_topics()
    admin = cluster.clients.admin()
    await start_client(admin, timeout_s=30)
    yield World(cluster=cluster, admin=admin, endings=Endings())
    await stop_client(admin, timeout_s=5)


@contextmanager
def markers_left_out(world: World, writer: TransactionalWriter, *left_out: str) -> Iterator[None]:
    """In the block, the coordinator does not know of these, of `ranked`, `audit` and `positions`."""
    manager = writer._producer._txn_manager
    bystander = TopicPartition(world.cluster.topics.dlq_ranker, 1)
    ask, unmarked = manager.maybe_add_partition_to_txn, {getattr(world, one) for one in left_out if one != "positions"}

    def ask_unless_left_out(partition: TopicPartition) -> None:
        if partition in unmarked:
            manager._txn_partitions.add(partition)
            ask(bystander)
        else:
            ask(partition)

    manager.maybe_add_partition_to_txn = ask_unless_left_out
    if "positions" in left_out:
        manager._txn_consumer_group = group_of(world.cluster.options, "ranker")
    yield
    manager.maybe_add_partition_to_txn = ask


LEFT_OUT = pytest.mark.parametrize(
    "left_out",
    [("positions",), ("ranked",), ("ranked", "positions"), ("ranked", "audit"), ("ranked", "audit", "positions")],
    ids="+".join,
)


@LEFT_OUT
async def test_what_was_committed_counts_once_the_number_is_taken_over(world: World, left_out: tuple[str, ...]) -> None:
    """D2: its records would come twice, or never, by what the next owner does first."""
    async with world.owner() as former:
        with markers_left_out(world, former, *left_out):
            await world.write(former, b"list", POSITION)
    async with world.owner():
        assert await world.shown() == ([b"list"], [b"list"], POSITION)


@LEFT_OUT
async def test_the_next_transaction_of_the_same_producer_ends_it_too(world: World, left_out: tuple[str, ...]) -> None:
    """Though it has nothing to write where the markers are missing."""
    async with world.owner() as owner:
        with markers_left_out(world, owner, *left_out):
            await world.write(owner, b"list", POSITION)
        await owner.write([], {TopicPartition(world.cluster.topics.raw_suggestions, 1): POSITION + 1})
        assert await world.shown() == ([b"list"], [b"list"], POSITION + 1)


async def test_a_next_transaction_that_is_cut_off_takes_all_of_it_along(world: World) -> None:
    """Its position, too: so it is done again, and neither lost nor doubled."""
    async with world.owner() as former:
        with markers_left_out(world, former, "ranked", "audit", "positions"):
            await world.write(former, b"list", POSITION)
        former._producer.commit_transaction = _fail
        with pytest.raises(TransactionError):
            await former.write([], {TopicPartition(world.cluster.topics.raw_suggestions, 1): POSITION + 1})
    async with world.owner():
        assert await world.shown() == ([], [], None)


@LEFT_OUT
async def test_what_was_aborted_never_counts(world: World, left_out: tuple[str, ...]) -> None:
    async with world.owner() as former:
        former._producer.commit_transaction = former._producer.abort_transaction
        with markers_left_out(world, former, *left_out):
            await world.write(former, b"list", POSITION)
    async with world.owner() as owner:
        await world.write(owner, b"again", 1)
        assert await world.shown() == ([b"again"], [b"again"], 1)


async def test_a_producer_that_started_and_did_no_more_makes_nothing_forgotten(world: World) -> None:
    """A start wipes out how the transaction before it ended: so that is asked first, and kept in mind."""
    async with world.owner() as former:
        with markers_left_out(world, former, "ranked", "positions"):
            await world.write(former, b"list", POSITION)
    halfway = world.new_writer()
    mark = halfway.mark
    halfway.mark = _fail  # type: ignore[method-assign]
    with pytest.raises(InterruptedError):
        await take_over(halfway, [world.ranked, world.audit], admin=world.admin, endings=world.endings)
    halfway.mark = mark  # type: ignore[method-assign]
    await halfway.close()
    async with world.owner():
        assert await world.shown() == ([b"list"], [b"list"], POSITION)


async def test_what_nobody_knows_the_end_of_is_done_again(world: World) -> None:
    """Of a process that was killed in between."""
    async with world.owner() as former:
        with markers_left_out(world, former, "ranked", "audit", "positions"):
            await world.write(former, b"list", POSITION)
    forgetful = world.new_writer()
    await forgetful.start()
    await forgetful.close()
    async with world.owner():
        assert await world.shown() == ([], [], None)


async def _fail(*_: object, **__: object) -> None:
    raise InterruptedError
