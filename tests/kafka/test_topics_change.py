"""Topics that grow and positions that are lost while the bridge is in use, on real Kafka under load."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from typing import Any

import pytest

from bridge.adapters.kafka.clients import Clients
from bridge.core.events.engine import NumberParked
from bridge.core.records import header_of
from bridge.demo.accounts import position_of
from tests.kafka.cluster import Cluster
from tests.kafka.stream import assert_in_order, books_of
from tests.kafka.traffic import HOPS, PARTITIONS, Traffic, hops_at_work, traffic_on

pytestmark = [pytest.mark.kafka, pytest.mark.faults]


@pytest.fixture
async def traffic(bootstrap_servers: str, prefix: str) -> AsyncIterator[Traffic]:
    async with traffic_on(Cluster(bootstrap_servers, prefix, partitions=PARTITIONS)) as traffic:
        yield traffic


@pytest.mark.parametrize(
    ("topic", "worker"),
    [("raw_suggestions", "ranker"), ("suggestion_clicks", "tally"), ("acceptance_exports", "exporter")],
)
async def test_the_numbers_of_a_topic_that_gains_partitions_are_parked_and_told(
    traffic: Traffic, monkeypatch: pytest.MonkeyPatch, topic: str, worker: str
) -> None:
    """Keys would go to other partitions than those of the other topics. What was worked before is right, and once."""
    _look_often_at_topics(monkeypatch)
    cluster, group = traffic.cluster, traffic.cluster.options.prefix + worker
    name: str = getattr(cluster.topics, topic)
    reason = f"{name} has {PARTITIONS + 2}"
    async with hops_at_work(traffic) as hops:
        await traffic.until_posts(20)
        await cluster.add_partitions(name, total=PARTITIONS + 2)
        for number in range(PARTITIONS + 2):
            # A transaction that was under way may fail first.
            await hops.until(NumberParked, partial(_is_parked_for, reason, group, number))
        await hops.until_condition(group, lambda condition: not condition.is_ready and reason in condition.reason)
    traffic.stream.end()
    assert await traffic.agents.stop_clicking()
    await _assert_that_what_was_worked_is_right(traffic)


async def _assert_that_what_was_worked_is_right(traffic: Traffic) -> None:
    """The books where work is left: nothing on the right that is not on the left, in order, and every rate right.

    What is missing on the right waits on its topic. `bridge verify` keeps no books of topics that differ in partitions.
    """
    cluster, topics, posts = traffic.cluster, traffic.cluster.topics, traffic.kmp.posts
    # A transaction may still hide what another one has committed behind it.
    stands = {topic: await cluster.read(topic) for topic in topics.names()}
    for written in (topics.ranked_suggestions, topics.acceptance_exports, topics.suggestion_audit):
        ids = [header_of(one, "ce_id") for one in stands[written]]
        assert len(set(ids)) == len(ids) > 0
    clicks = map(position_of, traffic.agents.clicks)
    books = {one.line: one for one in await books_of(cluster, frames=traffic.stream.frames, clicks=clicks, posts=posts)}
    # A recount is of all lists and clicks, an acceptance of those that were counted.
    del books["acceptance = a recount"]
    assert [line for line in books.values() if line.doubled] == []
    assert [line.line for line in books.values() if not line.right] == []
    for one_transaction in ("ranked = suggestions_retrieved", "exports = suggestion_accepted"):
        assert books[one_transaction].missing == ()
    assert_in_order(posts)


def _is_parked_for(reason: str, group: str, number: int, event: NumberParked) -> bool:
    return event.group == group and event.number == number and reason in event.reason


def _look_often_at_topics(monkeypatch: pytest.MonkeyPatch) -> None:
    make = Clients.__init__

    def make_curious(clients: Clients, *arguments: Any, **options: Any) -> None:
        make(clients, *arguments, **options)
        clients._common["metadata_max_age_ms"] = 2_000

    monkeypatch.setattr(Clients, "__init__", make_curious)


@pytest.mark.parametrize("workers", [("ranker",), ("tally",), ("exporter",), HOPS], ids="+".join)
async def test_lost_positions_do_nothing_twice(bootstrap_servers: str, prefix: str, workers: tuple[str, ...]) -> None:
    """D6: the group is deleted while it is away, as an operator, or time, may do. What it wrote says where it was."""
    cluster = Cluster(bootstrap_servers, prefix, partitions=PARTITIONS)
    others = [worker for worker in HOPS if worker not in workers]
    async with traffic_on(cluster) as traffic, _beside(traffic, others):
        async with hops_at_work(traffic, *workers):
            await traffic.until_posts(100)
        for worker in workers:
            await cluster.delete_group(worker)
        async with hops_at_work(traffic, *workers):
            await traffic.until_posts(50)
            await traffic.end()
        await traffic.check()


@asynccontextmanager
async def _beside(traffic: Traffic, workers: Sequence[str]) -> AsyncIterator[None]:
    async with hops_at_work(traffic, *workers) if workers else nullcontext():
        yield
