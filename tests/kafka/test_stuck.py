"""A worker that knows when it is stuck, on a real broker."""

import asyncio
import signal
from pathlib import Path

import pytest
from aiokafka import TopicPartition

from bridge.adapters.kafka.clients import transactional_id_of
from bridge.core.events.engine import ConsumerRebuilt, NumberRestored, StableOffsetMeasured, WorkerStuck
from bridge.core.events.kinds import Event
from bridge.ports import Condition
from tests.broker import KafkaBroker
from tests.kafka.cluster import Cluster
from tests.kafka.test_exactly_once import Copies, copying, until_worked, values_on

pytestmark = [pytest.mark.broker, pytest.mark.faults]

_SENT = [b"%03d" % serial for serial in range(50)]


@pytest.fixture
async def cluster(bootstrap_servers: str, prefix: str) -> Cluster:
    """Stuck is what has finished nothing for a second."""
    cluster = Cluster(bootstrap_servers, prefix, stuck_after_s=1.0)
    await cluster.create_topics()
    return cluster


def stop_fetching(copies: Copies, number: int) -> None:
    """What clients were seen to do: the member heartbeats, polls, and gets nothing more of a partition."""
    membership = copies.engine._membership
    assert membership is not None
    membership._consumer.pause(TopicPartition(copies.topics.raw_suggestions, number))


def conditions_at(copies: Copies, kind: type[Event]) -> list[Condition]:
    """What the engine says of itself at the moments in which it tells of such an event."""
    conditions: list[Condition] = []
    emit = copies.engine._emit

    def look(event: Event) -> None:
        if isinstance(event, kind):
            conditions.extend(copies.engine.conditions())
        emit(event)

    copies.engine._emit = look
    return conditions


async def test_a_consumer_that_fetches_nothing_more_is_made_anew_and_nothing_is_lost_or_doubled(
    cluster: Cluster,
) -> None:
    topics = cluster.topics
    async with copying(cluster) as copies:
        conditions = conditions_at(copies, ConsumerRebuilt)
        await cluster.send(topics.raw_suggestions, *_SENT[:20])
        await until_worked(cluster)
        stop_fetching(copies, 0)
        await cluster.send(topics.raw_suggestions, *_SENT[20:])
        stuck = await copies.until(WorkerStuck)
        rebuilt = await copies.until(ConsumerRebuilt)
        await until_worked(cluster)
        assert copies.engine.stalled_s() == 0
    assert stuck.what == "number 0"
    assert "number 0" in rebuilt.reason
    assert [(one.is_ready, one.reason) for one in conditions] == [(False, "its consumer has stopped")]
    assert len(copies.all(WorkerStuck)) == 1
    assert await values_on(cluster, topics.ranked_suggestions) == _SENT


async def test_where_a_new_consumer_does_not_help_liveness_is_told(cluster: Cluster) -> None:
    async with copying(cluster) as copies:
        copies.may_work.clear()
        await cluster.send(cluster.topics.raw_suggestions, *_SENT)
        first = await copies.until(WorkerStuck)
        assert copies.engine.stalled_s() == 0
        await copies.until(WorkerStuck, after=copies.events.index(first) + 1)
        assert copies.engine.stalled_s() >= 2
        copies.may_work.set()
        await until_worked(cluster)
    assert await values_on(cluster, cluster.topics.ranked_suggestions) == _SENT


async def test_an_open_transaction_of_somebody_else_is_told_and_is_no_reason_for_a_new_consumer(
    cluster: Cluster,
) -> None:
    topics = cluster.topics
    stranger = cluster.clients.transactional_producer(transactional_id_of(f"{cluster.options.prefix}stranger", 0))
    await stranger.start()
    try:
        async with copying(cluster) as copies:
            await stranger.begin_transaction()
            await stranger.send_and_wait(topics.raw_suggestions, b"theirs", partition=0)
            await cluster.send(topics.raw_suggestions, *_SENT)
            held_up = await copies.until(StableOffsetMeasured, lambda event: (event.age_s or 0) > 6)
            assert copies.all(WorkerStuck) == []
            await stranger.commit_transaction()
            await until_worked(cluster)
            after = copies.events.index(held_up)
            await copies.until(StableOffsetMeasured, lambda event: event.age_s == 0, after=after)
    finally:
        await stranger.stop()
    assert await values_on(cluster, topics.ranked_suggestions) == [b"theirs", *_SENT]


@pytest.mark.kafka
async def test_a_broker_that_is_silent_is_waited_for_and_worked_with_once_it_is_back(
    tmp_path: Path, prefix: str
) -> None:
    """Nobody knows whether there is work, and a new consumer would find the broker no better."""
    with KafkaBroker(tmp_path / "broker") as broker:
        # Stuck later than after a rebalance or a transaction, as options must have it, and than a look takes (5 s).
        cluster = Cluster(
            broker.bootstrap_servers,
            prefix,
            rebalance_timeout_ms=3_000,
            transaction_timeout_ms=3_000,
            stuck_after_s=6.0,
        )
        await cluster.create_topics()
        async with copying(cluster) as copies:
            await copies.until(NumberRestored)
            await cluster.send(cluster.topics.raw_suggestions, *_SENT[:20])
            await until_worked(cluster)
            broker.process.send_signal(signal.SIGSTOP)
            try:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(15):
                        await copies.until(WorkerStuck)
                assert [one.reason for one in copies.engine.conditions()] == ["Kafka does not answer"]
            finally:
                broker.process.send_signal(signal.SIGCONT)
            await cluster.send(cluster.topics.raw_suggestions, *_SENT[20:])
            await until_worked(cluster)
        assert await values_on(cluster, cluster.topics.ranked_suggestions) == _SENT
