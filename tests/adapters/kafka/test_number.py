"""One number as this process owns it, with a writer that only remembers."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import cast

import pytest
from aiokafka import TopicPartition

from bridge.adapters.kafka.number import OwnedNumber
from bridge.adapters.kafka.transactions import TransactionalWriter
from bridge.core.budget import Budget, Options
from bridge.core.dead_letters import REPLAY_COUNT, malformed_letter
from bridge.core.errors import BudgetError, FencedError, MalformedError, TransactionError
from bridge.core.events.dead_letters import BudgetSpent, DeadLettersWritten
from bridge.core.events.engine import TransactionCommitted, TransactionFailed
from bridge.core.events.kinds import Event
from bridge.core.records import NewRecord, StoredRecord

LISTS, CLICKS = "lists", "clicks"


class RememberingWriter:
    """Stands in for a transactional producer; `fails_with` makes the next write fail."""

    def __init__(self) -> None:
        self.writes: list[tuple[list[NewRecord], dict[TopicPartition, int]]] = []
        self.fails_with: TransactionError | None = None

    async def write(self, records: Sequence[NewRecord], positions: Mapping[TopicPartition, int]) -> None:
        if self.fails_with is not None:
            raise self.fails_with
        self.writes.append((list(records), dict(positions)))


class World:
    """A number with what it was given."""

    def __init__(self, *topics: str, commit_interval_s: float = 0.0, max_consecutive: int = 100) -> None:
        self.writer = RememberingWriter()
        self.budget = Budget(Options(max_consecutive=max_consecutive))
        self.events: list[Event] = []
        self.takes = 0
        self.number = OwnedNumber(
            3,
            topics=topics,
            group="hop",
            writer=cast("TransactionalWriter", self.writer),
            positions=dict.fromkeys(topics, 0),
            commit_interval_s=commit_interval_s,
            budget=self.budget,
            emit=self.events.append,
            on_room=self.count_take,
        )
        self.number.open()

    def count_take(self) -> None:
        self.takes += 1

    def put(self, topic: str, *offsets: int, size: int = 1) -> None:
        records = [StoredRecord(topic=topic, partition=3, offset=offset, value=b"x" * size) for offset in offsets]
        self.number.put(topic, records)
        self.number.read_to(topic, offsets[-1] + 1)


async def test_gives_what_was_put_with_the_position_after_it() -> None:
    world = World(LISTS)
    world.put(LISTS, 4, 5)
    batch = await world.number.take()
    assert batch is not None
    assert [record.offset for record in batch.records] == [4, 5]
    assert batch.positions == {LISTS: 6}


async def test_the_position_of_a_part_is_the_first_record_that_was_not_taken() -> None:
    world = World(LISTS)
    world.put(LISTS, 4, 5, 9)
    batch = await world.number.take(max_records=2)
    assert batch is not None
    assert batch.positions == {LISTS: 9}


async def test_a_record_moves_the_position_before_anybody_has_asked_for_it() -> None:
    world = World(LISTS)
    world.number.put(LISTS, [StoredRecord(topic=LISTS, partition=3, offset=4)])
    batch = await world.number.take()
    assert batch is not None
    assert batch.positions == {LISTS: 5}


async def test_a_position_that_moves_without_a_record_is_told() -> None:
    """A transaction marker takes an offset, so that lag at rest can be 0."""
    world = World(LISTS)
    world.number.read_to(LISTS, 7)
    batch = await world.number.take()
    assert batch is not None
    assert (batch.records, batch.positions) == ([], {LISTS: 7})


async def test_of_two_topics_nothing_is_given_before_the_ends_were_sampled() -> None:
    world = World(LISTS, CLICKS)
    world.put(CLICKS, 0)
    assert world.number.is_unsampled
    async with asyncio.TaskGroup() as tasks:
        taking = tasks.create_task(world.number.take(topics=[CLICKS]))
        await asyncio.wait([taking], timeout=0.01)
        assert not taking.done()
        world.number.sampled({LISTS: 8, CLICKS: 1})
    batch = taking.result()
    assert batch is not None
    assert (len(batch.records), batch.ends) == (1, {LISTS: 8, CLICKS: 1})
    assert world.number.waits_for_an_end


async def test_what_arrives_after_a_sample_does_not_hold_up_what_came_before_it() -> None:
    world = World(LISTS, CLICKS)
    world.put(CLICKS, 0)
    world.number.sampled({LISTS: 0, CLICKS: 1})
    world.put(CLICKS, 1)
    batch = await world.number.take()
    assert batch is not None
    assert [record.offset for record in batch.records] == [0]
    assert batch.positions[CLICKS] == 1


async def test_only_the_topics_that_are_asked_for_are_given() -> None:
    world = World(LISTS, CLICKS)
    world.put(LISTS, 0)
    world.put(CLICKS, 0)
    world.number.sampled({LISTS: 1, CLICKS: 1})
    batch = await world.number.take(topics=[CLICKS])
    assert batch is not None
    assert [record.topic for record in batch.records] == [CLICKS]
    assert batch.positions == {LISTS: 0, CLICKS: 1}


async def test_a_topic_is_full_by_records_or_by_bytes_and_never_holds_up_the_other() -> None:
    world = World(LISTS, CLICKS)
    world.put(LISTS, *range(1_001))
    world.put(CLICKS, 0, size=9 * 1024 * 1024)
    assert list(world.number.topics_with_room()) == []
    world.number.sampled({LISTS: 0, CLICKS: 0})
    assert world.takes == 0
    await world.number.take(topics=[CLICKS])
    assert list(world.number.topics_with_room()) == [CLICKS]
    assert world.takes == 1


async def test_closing_the_intake_ends_a_take_that_waits() -> None:
    world = World(LISTS)
    async with asyncio.TaskGroup() as tasks:
        taking = tasks.create_task(world.number.take())
        draining = tasks.create_task(world.number.until_draining())
        world.number.close_intake()
    assert taking.result() is None
    assert draining.done()


async def test_opening_again_forgets_what_was_not_committed() -> None:
    world = World(LISTS)
    world.put(LISTS, 0, 1)
    world.number.close_intake()
    world.number.open()
    world.put(LISTS, 0)
    batch = await world.number.take()
    assert batch is not None
    assert batch.positions == {LISTS: 1}


async def test_a_commit_writes_records_and_moved_positions_at_once() -> None:
    world = World(LISTS, CLICKS)
    record = NewRecord(topic="out", key=b"k", value=b"v")
    await world.number.commit([record], {LISTS: 5, CLICKS: 0})
    assert world.writer.writes == [([record], {TopicPartition(LISTS, 3): 5})]
    assert world.number.committed == {LISTS: 5, CLICKS: 0}
    assert isinstance(world.events[-1], TransactionCommitted)


async def test_a_commit_of_nothing_costs_no_transaction() -> None:
    world = World(LISTS)
    await world.number.commit([], {LISTS: 0})
    assert world.writer.writes == []


@pytest.mark.parametrize(("error", "cause"), [(FencedError("no"), "fenced"), (TransactionError("no"), "NoneType")])
async def test_a_failed_commit_moves_nothing_and_is_told(error: TransactionError, cause: str) -> None:
    world = World(LISTS)
    world.writer.fails_with = error
    with pytest.raises(type(error)):
        await world.number.commit([], {LISTS: 5})
    assert world.number.committed == {LISTS: 0}
    assert world.events == [TransactionFailed(group="hop", number=3, cause=cause)]


async def test_a_transaction_gathers_for_an_interval_after_the_last_one() -> None:
    world = World(LISTS, commit_interval_s=60)
    await world.number.commit([], {LISTS: 1})
    world.put(LISTS, 1)
    async with asyncio.TaskGroup() as tasks:
        taking = tasks.create_task(world.number.take())
        await asyncio.wait([taking], timeout=0.01)
        assert not taking.done()
        world.put(LISTS, *range(2, 600))
    batch = taking.result()
    assert batch is not None
    assert len(batch.records) == 599


# -- the dead-letter budget --------------------------------------------------------------------------------------------


def dead(topic: str, offset: int, *, replays: int = 0) -> NewRecord:
    headers = ((REPLAY_COUNT, b"%d" % replays),) if replays else ()
    source = StoredRecord(topic=topic, partition=3, offset=offset, value=b"{", headers=headers)
    return malformed_letter(source, MalformedError("decode", "no JSON"), topic=f"dlq.{topic}", worker="hop")


async def test_dead_letters_are_told_by_topic_and_class_once_they_are_committed() -> None:
    world = World(LISTS)
    world.put(LISTS, 0, 1, 2)
    await world.number.take()
    await world.number.commit([dead(LISTS, 0), dead(LISTS, 2)], {LISTS: 3})
    assert world.events[-1] == DeadLettersWritten(topic="dlq.lists", class_="decode", letters=2)


async def test_a_batch_that_would_set_too_much_aside_is_not_written() -> None:
    world = World(LISTS, max_consecutive=1)
    world.put(LISTS, 0, 1, 2)
    await world.number.take()
    with pytest.raises(BudgetError, match="more than 1 records of lists in a row"):
        await world.number.commit([dead(LISTS, 1), dead(LISTS, 2)], {LISTS: 3})
    assert world.writer.writes == []
    assert world.events == [BudgetSpent(group="hop", number=3, topic=LISTS, offset=2, rule="consecutive")]


async def test_what_was_sent_back_and_dies_again_costs_no_budget() -> None:
    """A replay of a hundred bad clicks must not park those of today. It makes nothing good either."""
    world = World(LISTS, max_consecutive=2)
    world.put(LISTS, *range(9))
    await world.number.take()
    again = [dead(LISTS, offset, replays=1) for offset in range(1, 7)]
    await world.number.commit([dead(LISTS, 0), *again, dead(LISTS, 7)], {LISTS: 8})
    assert world.events[-1] == DeadLettersWritten(topic="dlq.lists", class_="decode", letters=8)
    with pytest.raises(BudgetError):
        await world.number.commit([dead(LISTS, 8)], {LISTS: 9})


async def test_a_failed_commit_costs_no_budget() -> None:
    world = World(LISTS, max_consecutive=1)
    world.put(LISTS, 0)
    await world.number.take()
    world.writer.fails_with = TransactionError("no")
    with pytest.raises(TransactionError):
        await world.number.commit([dead(LISTS, 0)], {LISTS: 1})
    world.writer.fails_with = None
    world.number.open()
    world.put(LISTS, 0)
    await world.number.take()
    await world.number.commit([dead(LISTS, 0)], {LISTS: 1})
    assert not world.budget.is_spent


async def spend(world: World) -> None:
    """A batch of two dead letters that is refused; its records come again."""
    world.put(LISTS, 0, 1)
    await world.number.take()
    with pytest.raises(BudgetError):
        await world.number.commit([dead(LISTS, 0), dead(LISTS, 1)], {LISTS: 2})
    world.number.open()
    world.put(LISTS, 0, 1, 2)


async def test_with_a_spent_budget_records_are_taken_one_at_a_time() -> None:
    """A thousand exports must not be posted again and again while the KMP refuses all of them."""
    world = World(LISTS, max_consecutive=1)
    await spend(world)
    first = await world.number.take()
    assert first is not None
    assert [record.offset for record in first.records] == [0]
    async with asyncio.TaskGroup() as tasks:
        second = tasks.create_task(world.number.take())
        await asyncio.wait([second], timeout=0.01)
        assert not second.done(), "the first is not committed yet"
        await world.number.commit([], {LISTS: 1})
    assert [record.offset for record in (second.result() or first).records] == [1]


async def test_once_the_record_that_was_too_much_is_committed_all_is_taken_again() -> None:
    world = World(LISTS, max_consecutive=1)
    await spend(world)
    for position in (1, 2):
        await world.number.take()
        await world.number.commit([], {LISTS: position})
    assert not world.budget.is_spent
    world.put(LISTS, 3, 4)
    batch = await world.number.take()
    assert batch is not None
    assert [record.offset for record in batch.records] == [2, 3, 4]


async def test_with_a_spent_budget_each_topic_has_one_record_out() -> None:
    """A merge needs the head of both."""
    world = World(LISTS, CLICKS, max_consecutive=1)
    world.put(LISTS, 0, 1)
    world.number.sampled({LISTS: 2, CLICKS: 0})
    await world.number.take()
    with pytest.raises(BudgetError):
        await world.number.commit([dead(LISTS, 0), dead(LISTS, 1)], {LISTS: 2, CLICKS: 0})
    world.number.open()
    world.put(LISTS, 0, 1)
    world.number.sampled({LISTS: 2, CLICKS: 0})
    first = await world.number.take()
    world.put(CLICKS, 0, 1)
    world.number.sampled({LISTS: 2, CLICKS: 2})
    second = await world.number.take()
    taken = [(record.topic, record.offset) for batch in (first, second) if batch for record in batch.records]
    assert taken == [(LISTS, 0), (CLICKS, 0)]
