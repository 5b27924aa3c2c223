"""A transaction that its coordinator completes without all of its markers, as Kafka 4.4.0 does without leaders."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.conn import AIOKafkaConnection

from bridge.adapters.kafka.clients import group_of
from bridge.adapters.kafka.start_stop import start_client, stop_client
from bridge.adapters.kafka.take_over import Endings, take_over
from bridge.adapters.kafka.transactions import TransactionalWriter
from bridge.core.errors import TransactionError
from bridge.core.records import NewRecord
from tests.broker import KafkaBroker
from tests.kafka.cluster import Cluster
from tests.kafka.restoring import restorer_of

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
    reader: AIOKafkaConsumer
    admin: AIOKafkaAdminClient
    endings: Endings

    @property
    def ranked(self) -> TopicPartition:
        return TopicPartition(self.cluster.topics.ranked_suggestions, 1)

    @property
    def audit(self) -> TopicPartition:
        return TopicPartition(self.cluster.topics.suggestion_audit, 1)

    @property
    def elsewhere(self) -> TopicPartition:
        return TopicPartition(self.cluster.topics.suggestion_clicks, 0)

    @asynccontextmanager
    async def owner(self, *left_out: str) -> AsyncIterator[TransactionalWriter]:
        """A writer that has taken over the number, with some of its own markers left out."""
        writer = self.new_writer()
        try:
            with markers_left_out(self, writer, *left_out):
                await self.take_over(writer)
            yield writer
        finally:
            await writer.close()

    async def take_over(self, writer: TransactionalWriter) -> None:
        written = [self.ranked, self.audit]
        await take_over(writer, written, reader=self.reader, admin=self.admin, endings=self.endings)

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
    reader = cluster.clients.reader()
    for client in (admin, reader):
        await start_client(client, timeout_s=30)
    yield World(cluster=cluster, reader=reader, admin=admin, endings=Endings())
    for client in (admin, reader):
        await stop_client(client, timeout_s=5)


@contextmanager
def markers_left_out(world: World, writer: TransactionalWriter, *left_out: str) -> Iterator[None]:
    """In the block, the coordinator does not know of these, of `ranked`, `audit`, `elsewhere` and `positions`."""
    manager = writer._producer._txn_manager
    bystander = TopicPartition(world.cluster.topics.dlq_ranker, 1)
    ask, unmarked = manager.maybe_add_partition_to_txn, {getattr(world, one) for one in left_out if one != "positions"}

    def ask_unless_left_out(partition: TopicPartition) -> None:
        if partition in unmarked:
            manager._txn_partitions.add(partition)
            ask(bystander)
        else:
            ask(partition)

    async def pretend(group: str) -> bool:
        manager.consumer_group_added(group)
        ask(bystander)
        return True

    sender = writer._producer._sender
    manager.maybe_add_partition_to_txn, add_group = ask_unless_left_out, sender._do_add_offsets_to_txn
    if "positions" in left_out:
        sender._do_add_offsets_to_txn = pretend
    yield
    manager.maybe_add_partition_to_txn, sender._do_add_offsets_to_txn = ask, add_group


_RECORDS = [("ranked",), ("ranked", "positions"), ("ranked", "audit"), ("ranked", "audit", "positions")]
LEFT_OUT = pytest.mark.parametrize("left_out", [("positions",), *_RECORDS], ids="+".join)
# Positions alone show nothing: those of the next transaction take their place.
LEFT_OUT_OF_ABORTED = pytest.mark.parametrize("left_out", _RECORDS, ids="+".join)


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
async def test_after_a_restart_of_its_coordinator_a_producer_ends_it_before_it_begins_the_next(
    world: World, left_out: tuple[str, ...]
) -> None:
    """Some markers were written, some not: a next transaction that is cut off would take along half of it."""
    async with world.owner() as former:
        with markers_left_out(world, former, *left_out):
            await world.write(former, b"list", POSITION)
        disconnect(former)
        former._producer.send_offsets_to_transaction = _fail
        with pytest.raises(TransactionError):
            await world.write(former, b"next", POSITION + 1)
    async with world.owner():
        assert await world.shown() == ([b"list"], [b"list"], POSITION)


async def test_a_producer_that_is_cut_off_while_it_ends_it_once_more_ends_it_all_the_same(world: World) -> None:
    """The next start would abort what was begun for it, and what was committed with it."""
    ending, cancelled = asyncio.Event(), asyncio.Event()
    async with world.owner() as former:
        with markers_left_out(world, former, "ranked", "positions"):
            await world.write(former, b"list", POSITION)
        disconnect(former)
        end = former._end

        async def tell_and_end(*arguments: Any, **options: Any) -> None:
            ending.set()
            await cancelled.wait()
            await end(*arguments, **options)

        former._end = tell_and_end  # type: ignore[method-assign]
        writing = asyncio.create_task(world.write(former, b"next", POSITION + 1))
        await ending.wait()
        writing.cancel()
        asyncio.get_running_loop().call_soon(cancelled.set)
        with pytest.raises(asyncio.CancelledError):
            await writing
    async with world.owner():
        assert await world.shown() == ([b"list"], [b"list"], POSITION)


@LEFT_OUT_OF_ABORTED
async def test_after_a_restart_of_its_coordinator_a_new_owner_aborts_once_more_what_it_has_aborted(
    world: World, left_out: tuple[str, ...]
) -> None:
    await abort(world, *left_out)
    async with world.owner(*left_out) as owner:
        disconnect(owner)
        await world.write(owner, b"again", 1)
        assert await world.shown() == ([b"again"], [b"again"], 1)


@LEFT_OUT_OF_ABORTED
async def test_what_was_aborted_never_counts(world: World, left_out: tuple[str, ...]) -> None:
    await abort(world, *left_out)
    async with world.owner() as owner:
        await world.write(owner, b"again", 1)
        assert await world.shown() == ([b"again"], [b"again"], 1)


async def test_clicks_that_were_moved_to_other_numbers_are_aborted_there_too(world: World) -> None:
    """They would come twice: hidden until this number moves the next click there, then shown with those moved anew."""
    clicks = world.cluster.topics.suggestion_clicks
    moved = NewRecord(topic=clicks, key=b"i", value=b"click", partition=0)
    positions = {TopicPartition(world.cluster.topics.raw_suggestions, 1): POSITION}
    former = world.new_writer()
    await former.start()
    former._producer.commit_transaction = former._producer.abort_transaction
    with markers_left_out(world, former, "elsewhere"):
        await former.write([moved], positions)
    await former.close()
    partitions = world.cluster.topics.partitions
    restored = await restorer_of(world.cluster, world.admin, moves_on=[clicks], partitions=partitions).restore(1)
    await restored.writer.write([moved], positions)
    await restored.writer.close()
    assert [record.value for record in await world.cluster.read(clicks)] == [b"click"]


async def test_a_producer_that_started_and_did_no_more_makes_nothing_forgotten(world: World) -> None:
    """A start wipes out how the transaction before it ended: so that is asked first, and kept in mind."""
    async with world.owner() as former:
        with markers_left_out(world, former, "ranked", "positions"):
            await world.write(former, b"list", POSITION)
    halfway = world.new_writer()
    halfway.mark = _fail  # type: ignore[method-assign]
    with pytest.raises(InterruptedError):
        await world.take_over(halfway)
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


async def abort(world: World, *left_out: str) -> None:
    """A list that is written and aborted, with some of the markers left out."""
    async with world.owner() as former:
        former._producer.commit_transaction = former._producer.abort_transaction
        with markers_left_out(world, former, *left_out):
            await world.write(former, b"list", POSITION)


def disconnect(writer: TransactionalWriter) -> None:
    """From its coordinator, as its restart does."""
    connection = writer._connection()
    assert isinstance(connection, AIOKafkaConnection)
    connection.close()


async def _fail(*_: object, **__: object) -> None:
    raise InterruptedError
