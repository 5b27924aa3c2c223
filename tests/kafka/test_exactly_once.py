"""Exactly once where something goes wrong in the middle, on a real broker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from bridge.adapters.kafka.clients import transactional_id_of
from bridge.adapters.kafka.engine import Engine
from bridge.adapters.kafka.restore import Plan
from bridge.core.events.engine import (
    InputLost,
    NumberFenced,
    NumberRestored,
    TransactionFailed,
)
from bridge.core.events.hops import BatchRanked
from bridge.core.records import NewRecord, Record, header_of, positions_header
from bridge.ports import Batch, Number
from tests.kafka.cluster import Cluster
from tests.kafka.working import Told, working

pytestmark = [pytest.mark.broker, pytest.mark.faults]


class Copies(Told):
    """An engine whose hop copies raw records to the ranked topic, and counts them in its state; with one fault.

    The first batch in which a record's value is `poison` is written with `extra` beside it; where `extra` cannot be
    written, all of the transaction fails.
    """

    def __init__(self, cluster: Cluster, *, poison: bytes = b"", extra: NewRecord | None = None) -> None:
        super().__init__()
        self.extra = extra
        self.poison = poison
        self.topics = cluster.topics
        self.may_work = asyncio.Event()
        self.may_work.set()
        self.counts: dict[int, int] = {}
        plan = Plan(
            group=cluster.options.prefix + "ranker",
            topics=[cluster.topics.raw_suggestions],
            state_topic=cluster.topics.interaction_acceptance,
            audit_topic=cluster.topics.suggestion_audit,
            make_hop=lambda number: Copier(self, number),
        )
        self.engine = Engine(cluster.clients, plan, clock=lambda: 0, chance=lambda: 0.5, emit=self.emit)


class Copier:
    """The hop of one number."""

    def __init__(self, copies: Copies, number: int) -> None:
        self._copies = copies
        self._number = number
        copies.counts[number] = 0

    def restore(self, record: Record) -> None:
        self._copies.counts[self._number] = int(record.value or b"0")

    async def work(self, number: Number) -> None:
        while (batch := await number.take()) is not None:
            await self._copies.may_work.wait()
            await number.commit(self._written(batch) if batch.records else [], batch.positions)

    def _written(self, batch: Batch) -> list[NewRecord]:
        copies = self._copies
        ranked = copies.topics.ranked_suggestions
        copies.counts[self._number] += len(batch.records)
        written = [NewRecord(topic=ranked, key=record.key, value=record.value) for record in batch.records]
        if copies.extra is not None and any(record.value == copies.poison for record in batch.records):
            written.append(copies.extra)
            copies.extra = None
        count = b"%d" % copies.counts[self._number]
        headers = (positions_header(batch.positions),)
        state = NewRecord(topic=copies.topics.interaction_acceptance, key=b"count", value=count, headers=headers)
        return [*written, state]


@asynccontextmanager
async def copying(cluster: Cluster, **fault: Any) -> AsyncIterator[Copies]:
    """Runs an engine until the block ends; then it drains."""
    copies = Copies(cluster, **fault)
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        tasks.create_task(copies.engine.run())
        try:
            yield copies
        finally:
            copies.may_work.set()
            copies.engine.stop()


async def until_worked(cluster: Cluster) -> None:
    await cluster.until_at_rest(("ranker", cluster.topics.raw_suggestions))


async def values_on(cluster: Cluster, topic: str) -> list[bytes]:
    return [record.value or b"" for record in await cluster.read(topic)]


def raw(serial: int, *, interaction_id: str = "i-1") -> bytes:
    suggestions = [{"id": f"s-{serial}", "confidence": 0.9, "relevanceScore": 0.5}]
    return msgspec.json.encode({"interactionId": interaction_id, "suggestions": suggestions, "serial": serial})


def ranked_serials(records: list[Record]) -> list[str]:
    return [msgspec.json.decode(record.value or b"")["rankedSuggestions"][0]["id"] for record in records]


# -- a transaction that fails ------------------------------------------------------------------------------------------


@pytest.mark.kafka
async def test_a_transaction_that_fails_in_the_middle_is_done_again_and_leaves_nothing_behind(cluster: Cluster) -> None:
    """One of its records is refused by the broker, after others of it were written."""
    topics = cluster.topics
    await cluster.set_up(topics.dlq_ranker, max_message_bytes="2000")
    sent = [b"%03d" % serial for serial in range(50)]
    too_large = NewRecord(topic=topics.dlq_ranker, key=None, value=b"x" * 10_000)
    async with copying(cluster, poison=b"025", extra=too_large) as copies:
        await copies.until(NumberRestored)
        await cluster.send(topics.raw_suggestions, *sent)
        failed = await copies.until(TransactionFailed)
        after = copies.events.index(failed)
        assert (failed.number, failed.cause) == (0, "MessageSizeTooLargeError")
        await copies.until(NumberRestored, lambda event: event.number == 0, after=after)
        await until_worked(cluster)
    assert await values_on(cluster, topics.ranked_suggestions) == sent
    assert copies.counts[0] == 50
    assert await values_on(cluster, topics.dlq_ranker) == []
    hidden = await cluster.read(topics.ranked_suggestions, isolation="read_uncommitted")
    assert len(hidden) > 50, "the failed transaction had written records"


async def test_a_number_whose_producer_was_fenced_waits_and_is_restored(cluster: Cluster) -> None:
    """Somebody else starts the number's producer, as another owner would: the other number is not concerned."""
    topics = cluster.topics
    async with copying(cluster) as copies:
        await cluster.send(topics.raw_suggestions, b"0-before")
        await cluster.send(topics.raw_suggestions, b"1-before", number=1)
        await until_worked(cluster)
        stranger = cluster.clients.transactional_producer(transactional_id_of(f"{cluster.options.prefix}ranker", 0))
        await stranger.start()
        await stranger.stop()
        after = len(copies.events)
        await cluster.send(topics.raw_suggestions, b"0-after")
        await cluster.send(topics.raw_suggestions, b"1-after", number=1)
        fenced = await copies.until(NumberFenced)
        await copies.until(NumberRestored, lambda event: event.number == 0, after=after)
        await until_worked(cluster)
    assert fenced.number == 0
    assert {event.number for event in copies.all(NumberFenced)} == {0}
    assert sorted(await values_on(cluster, topics.ranked_suggestions)) == [
        b"0-after",
        b"0-before",
        b"1-after",
        b"1-before",
    ]
    assert copies.counts == {0: 2, 1: 2}


# -- input that retention has taken ------------------------------------------------------------------------------------


async def lost_told(cluster: Cluster) -> list[dict[str, Any]]:
    audit = [msgspec.json.decode(value) for value in await values_on(cluster, cluster.topics.suggestion_audit)]
    return [{name: one[name] for name in one if name != "timestamp"} for one in audit if one["event"] == "input_lost"]


async def test_input_that_retention_took_while_the_ranker_was_away_is_told_and_the_rest_is_ranked(
    cluster: Cluster,
) -> None:
    topics = cluster.topics
    async with working(cluster, "ranker"):
        await cluster.send(topics.raw_suggestions, *(raw(serial) for serial in range(10)))
        await until_worked(cluster)
    await cluster.send(topics.raw_suggestions, *(raw(serial) for serial in range(10, 30)))
    await cluster.delete_records(topics.raw_suggestions, number=0, before=25)
    async with working(cluster, "ranker") as ranker:
        told = await ranker.until(InputLost)
        await cluster.send(topics.raw_suggestions, raw(30))
        await until_worked(cluster)
    assert (told.topic, told.partition, told.offsets) == (topics.raw_suggestions, 0, 15)
    lost = {"event": "input_lost", "topic": topics.raw_suggestions, "partition": 0, "from": 10, "to": 25}
    assert await lost_told(cluster) == [lost]
    ranked = ranked_serials(await cluster.read(topics.ranked_suggestions))
    assert ranked == [f"s-{serial}" for serial in (*range(10), *range(25, 31))]


async def test_input_that_retention_took_while_it_waited_to_be_read_is_told(cluster: Cluster) -> None:
    """The number reads on at an offset that is gone: it is restored, and starts at what is there."""
    topics = cluster.topics
    async with copying(cluster) as copies:
        await cluster.send(topics.raw_suggestions, b"000")
        await until_worked(cluster)
        copies.may_work.clear()
        # More than is read ahead, so that fetching pauses in the middle.
        sent = [b"%03d" % serial + b"x" * 1_000_000 for serial in range(1, 60)]
        await cluster.send(topics.raw_suggestions, *sent)
        await cluster.delete_records(topics.raw_suggestions, number=0, before=59)
        copies.may_work.set()
        await copies.until(InputLost)
        await until_worked(cluster)
    (lost,) = await lost_told(cluster)
    copied = [int(value[:3]) for value in await values_on(cluster, topics.ranked_suggestions)]
    assert lost["to"] == 59
    assert copied == [*range(lost["from"]), 59]
    assert copies.counts[0] == len(copied)


# -- records that are too large ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("length", "compression"),
    # Just below the topic's bound, above which the headers of a list take it; far above, in a batch that is small.
    [(1_047_900, "none"), (3_000_000, "gzip")],
)
async def test_a_record_that_is_too_large_to_be_ranked_becomes_a_dead_letter(
    cluster: Cluster, length: int, compression: str
) -> None:
    topics = cluster.topics
    suggestion = {"id": "s-0", "confidence": 0.9, "relevanceScore": 0.5, "snippet": ""}
    bare = msgspec.json.encode({"interactionId": "i-1", "suggestions": [suggestion]})
    suggestion["snippet"] = "x" * (length - len(bare))
    large = msgspec.json.encode({"interactionId": "i-1", "suggestions": [suggestion]})
    producer = cluster.clients.idempotent_producer(compression=compression)
    await producer.start()
    async with working(cluster, "ranker") as ranker:
        try:
            await producer.send_and_wait(topics.raw_suggestions, large, key=b"i-1", partition=0)
            await producer.send_and_wait(topics.raw_suggestions, raw(1), key=b"i-1", partition=0)
        finally:
            await producer.stop()
        await until_worked(cluster)
        assert sum(event.dead for event in ranker.all(BatchRanked)) == 1
    (letter,) = await cluster.read(topics.dlq_ranker)
    assert header_of(letter, "x-dlq-class") == b"oversize"
    assert header_of(letter, "x-dlq-size") == b"%d" % length
    assert letter.key == b"i-1"
    assert letter.value == (large if length < 2_000_000 else large[: 512 * 1024])
    assert ranked_serials(await cluster.read(topics.ranked_suggestions)) == ["s-1"]


async def test_a_frame_of_the_largest_size_is_ranked(cluster: Cluster) -> None:
    topics = cluster.topics
    suggestion = {"id": "s-0", "confidence": 0.9, "snippet": "x" * (512 * 1024 - 200)}
    async with working(cluster, "ranker"):
        value = msgspec.json.encode({"interactionId": "i-1", "suggestions": [suggestion]})
        await cluster.send(topics.raw_suggestions, *[value] * 5)
        await until_worked(cluster)
    assert len(await cluster.read(topics.ranked_suggestions)) == 5
    assert await cluster.read(topics.dlq_ranker) == []
