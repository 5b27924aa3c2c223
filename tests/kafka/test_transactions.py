"""Transactions that fail, or stay open for longer than anybody expects, on real Kafka under load."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import msgspec
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition

from bridge.core.events.engine import NumberRestored, TransactionFailed
from bridge.core.records import Record, header_of, source_of
from tests.kafka.cluster import Cluster
from tests.kafka.traffic import PARTITIONS, Traffic, hops_at_work, traffic_on

pytestmark = [pytest.mark.kafka, pytest.mark.faults]


@pytest.fixture
async def traffic(bootstrap_servers: str, prefix: str) -> AsyncIterator[Traffic]:
    async with traffic_on(Cluster(bootstrap_servers, prefix, partitions=PARTITIONS)) as traffic:
        yield traffic


@pytest.mark.parametrize("topic", ["ranked_suggestions", "acceptance_exports", "suggestion_audit"])
async def test_a_produce_that_fails_inside_a_transaction_fails_all_of_it_and_it_is_done_again(
    traffic: Traffic, topic: str
) -> None:
    """The broker takes no batch of a topic for a while: in the ranker, the tally, all three."""
    cluster = traffic.cluster
    name: str = getattr(cluster.topics, topic)
    async with hops_at_work(traffic) as hops:
        await traffic.until_posts(10)
        await cluster.set_up(name, max_message_bytes="200")
        failed = await hops.until(TransactionFailed)
        await hops.until(TransactionFailed, after=hops.events.index(failed) + 1)
        await cluster.set_up(name, max_message_bytes="1048576")
        await hops.until(NumberRestored, lambda event: event.number == failed.number, after=len(hops.events))
        await traffic.until_posts(50)
        await traffic.end()
        assert {one.cause for one in hops.all(TransactionFailed)} == {"MessageSizeTooLargeError"}
    await traffic.check()


@contextmanager
def commits_held_up(monkeypatch: pytest.MonkeyPatch, transactional_id: str) -> Iterator[asyncio.Event]:
    """In the block, transactions of these producers stay open before their end, until the event is set."""
    commit, go_on = AIOKafkaProducer.commit_transaction, asyncio.Event()

    async def commit_later(producer: AIOKafkaProducer) -> None:
        if producer._txn_manager.transactional_id.startswith(transactional_id):
            await go_on.wait()
        await commit(producer)

    with monkeypatch.context() as patch:
        patch.setattr(AIOKafkaProducer, "commit_transaction", commit_later)
        yield go_on


async def test_a_click_that_comes_while_the_transaction_of_its_list_is_open_counts_after_it(
    traffic: Traffic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D3: lists that were appended before the click are in the rate that is exported, though nobody could read them."""
    cluster, topics = traffic.cluster, traffic.cluster.topics
    async with hops_at_work(traffic):
        await traffic.until_posts(20)
        with commits_held_up(monkeypatch, f"{cluster.options.prefix}ranker") as go_on:
            opened = await _open_lists(cluster)
            for number, ranked in opened.items():
                click = _click_on(ranked)
                await cluster.send(topics.suggestion_clicks, click, key=ranked.key or b"", number=number)
            stable = await cluster._ends(topics.ranked_suggestions, isolation="read_committed")
            assert {one.partition: end for one, end in stable.items() if one.partition in opened} == {
                number: ranked.offset for number, ranked in opened.items()
            }
            go_on.set()
            await traffic.until_posts(50)
            await traffic.end()
    ours = [one for one in await cluster.read(topics.suggestion_clicks) if _OURS in (one.value or b"")]
    await traffic.check(more_clicks=map(source_of, ours))
    lists = await cluster.read(topics.ranked_suggestions)
    exports = {header_of(one, "x-source"): one for one in await cluster.read(topics.acceptance_exports)}
    for one in ours:
        before = [ranked for ranked in lists if ranked.key == one.key and ranked.timestamp <= one.timestamp]
        export = msgspec.json.decode(exports[source_of(one).encode()].value or b"")
        accepted = round(export["acceptanceRate"] * len(before), 6)
        assert accepted == int(accepted) > 0, "the rate is of all lists that were appended before the click"
    assert len(ours) >= PARTITIONS // 2


async def _open_lists(cluster: Cluster) -> dict[int, Record]:
    """The first list that an open transaction hides, on every number that has one; half of them at least."""
    topic, before = cluster.topics.ranked_suggestions, dict[TopicPartition, int]()
    async with asyncio.timeout(10):  # Less than a transaction may take.
        while True:
            stable = await cluster._ends(topic, isolation="read_committed")
            ends = await cluster._ends(topic, isolation="read_uncommitted")
            # A transaction may hold nothing but audit events: of lists that were withheld.
            opened = [one for one in stable if ends[one] > stable[one]]
            if stable == before and len(opened) >= PARTITIONS // 2:
                break
            before = stable
    places = {(one.partition, stable[one]) for one in opened}
    lists = await cluster.read(topic, isolation="read_uncommitted")
    return {one.partition: one for one in lists if (one.partition, one.offset) in places}


_OURS = b"clicked-early"


def _click_on(ranked: Record) -> bytes:
    value = msgspec.json.decode(ranked.value or b"")
    return msgspec.json.encode(
        {
            "interactionId": value["interactionId"],
            "suggestionId": value["rankedSuggestions"][0]["id"],
            "articleId": "article-1",
            "clickId": f"{_OURS.decode()}-{ranked.partition}",
        }
    )
