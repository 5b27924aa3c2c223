"""Input that nobody expects, and input that is gone, on real Kafka under load."""

from collections import Counter
from collections.abc import AsyncIterator
from functools import partial

import pytest

from bridge.core.books import FrameSent
from bridge.core.events.engine import InputLost, LagMeasured, TransactionCommitted
from bridge.core.events.hops import BatchRanked, BatchTallied
from bridge.core.partitions import partition_of
from bridge.core.records import digest, source_of
from bridge.core.verify_findings import MOVED
from bridge.simulator.clicks import ClickMix
from bridge.simulator.times import now_ms
from tests.kafka.cluster import Cluster
from tests.kafka.stream import assert_in_order, assert_verified, streaming
from tests.kafka.traffic import HOPS, PARTITIONS, Traffic, hops_at_work, traffic_on

pytestmark = [pytest.mark.kafka, pytest.mark.faults]


@pytest.fixture
def cluster(bootstrap_servers: str, prefix: str) -> Cluster:
    return Cluster(bootstrap_servers, prefix, partitions=PARTITIONS)


@pytest.fixture
async def traffic(cluster: Cluster) -> AsyncIterator[Traffic]:
    async with traffic_on(cluster) as traffic:
        yield traffic


async def test_polls_that_bring_nothing_write_nothing_and_what_comes_after_them_is_worked(traffic: Traffic) -> None:
    cluster = traffic.cluster
    async with hops_at_work(traffic) as hops:
        await traffic.until_posts(20)
        await traffic.end()
        at_rest, before = len(hops.events), await _ends(cluster)
        for hop in HOPS:
            for _ in range(3):  # Once a second.
                is_ours = partial(_is_of, cluster.options.prefix + hop)
                await hops.until(LagMeasured, is_ours, after=len(hops.events))
        assert [one for one in hops.events[at_rest:] if isinstance(one, TransactionCommitted)] == []
        assert await _ends(cluster) == before
        async with streaming(cluster, seed=2) as more:
            await traffic.until_lists(100)
        await cluster.until_at_rest(
            ("ranker", cluster.topics.raw_suggestions), ("tally", cluster.topics.ranked_suggestions)
        )
    await traffic.check(more_frames=more.frames)


async def _ends(cluster: Cluster) -> dict[str, int]:
    return {
        topic: sum((await cluster._ends(topic, isolation="read_uncommitted")).values())
        for topic in cluster.topics.names()
    }


async def test_batches_of_which_every_record_is_dead_are_set_aside_and_the_rest_is_worked(cluster: Cluster) -> None:
    """In the ranker and in the tally, on every number; fewer in a row than the budget allows."""
    topics = cluster.topics
    garbage = [b'{"garbage":%d' % serial for serial in range(40)]
    # Numbers that have nothing else.
    quiet = set(range(PARTITIONS)) - {partition_of(b"interaction-%02d" % one, PARTITIONS) for one in range(8)}
    async with traffic_on(cluster, interactions=8) as traffic, hops_at_work(traffic) as hops:
        await traffic.until_posts(20)
        for number in range(PARTITIONS):
            await cluster.send(topics.raw_suggestions, *garbage, number=number)
            await cluster.send(topics.suggestion_clicks, *garbage, number=number)
        for number in quiet:
            await hops.until(BatchRanked, partial(_is_dead_batch, number))
            await hops.until(BatchTallied, partial(_is_dead_tally, number))
        await traffic.until_posts(50)
        await traffic.end()
    at_ms = now_ms()
    sent = [
        FrameSent(serial=0, digest=digest(value), interaction_id=None, at_ms=at_ms) for value in garbage * PARTITIONS
    ]
    clicks = [one for one in await cluster.read(topics.suggestion_clicks) if (one.value or b"") in garbage]
    await traffic.check(more_frames=sent, more_clicks=map(source_of, clicks))
    assert len(await cluster.read(topics.dlq_ranker)) >= len(sent)


def _is_dead_batch(number: int, event: BatchRanked) -> bool:
    return event.number == number and event.records == event.dead > 1


def _is_dead_tally(number: int, event: BatchTallied) -> bool:
    return event.number == number and event.dead > 1 and event.lists == event.clicks == 0


def _is_of(group: str, event: LagMeasured) -> bool:
    return event.group == group


async def test_clicks_on_wrong_partitions_are_moved_and_counted_once(cluster: Cluster) -> None:
    """Half of all clicks."""
    async with traffic_on(cluster, mix=ClickMix(click_share=0.5, misplaced_share=0.5)) as traffic:
        async with hops_at_work(traffic):
            await traffic.until_posts(200)
            await traffic.end()
        report = await traffic.check()
    misplaced = sum(click.is_misplaced for click in traffic.agents.clicks)
    assert {line.left for line in report.lines if line.line == MOVED} == {misplaced}
    assert misplaced > 50


async def test_input_that_retention_took_is_told_in_every_hop_and_the_rest_is_worked(traffic: Traffic) -> None:
    """Each hop stands still while those before it work, then some of what waits for it is gone, on every number."""
    cluster, topics = traffic.cluster, traffic.cluster.topics
    inputs = {
        topics.raw_suggestions: "ranker",
        topics.ranked_suggestions: "tally",
        topics.suggestion_clicks: "tally",
        topics.acceptance_exports: "exporter",
    }
    async with hops_at_work(traffic, "ranker"):
        async with hops_at_work(traffic, "tally"):
            async with hops_at_work(traffic, "exporter"):
                await traffic.until_posts(50)
            await traffic.until_lists(200)
        await traffic.until_lists(200)
    await cluster.read(topics.raw_suggestions, until=lambda read: len(read) >= len(traffic.stream.frames))
    lost = Counter[str]()
    for topic, hop in inputs.items():
        ends = await cluster._ends(topic, isolation="read_committed")
        committed = await cluster.committed(hop, topic)
        for partition, end in ends.items():
            before = committed[partition.partition] + (end - committed[partition.partition]) // 2
            await cluster.delete_records(topic, number=partition.partition, before=before)
            lost[topic] += before - committed[partition.partition]
    async with hops_at_work(traffic) as hops:
        await traffic.until_posts(50)
        await traffic.end()
        told = Counter[str]()
        for event in hops.all(InputLost):
            told[event.topic] += event.offsets
    assert told == lost
    assert min(lost.values()) > 0
    report = await assert_verified(cluster)
    assert report.lost_offsets == lost.total()
    assert_in_order(traffic.kmp.posts)
