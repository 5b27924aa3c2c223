"""Numbers that move, and numbers whose topics are not all ours, on a real broker."""

from contextlib import AsyncExitStack

import msgspec
import pytest

from bridge.core.events.engine import NumberAborted, NumberParked, NumberRestored, NumbersAssigned, WorkerStuck
from bridge.core.partitions import partition_of
from bridge.demo.accounts import position_of
from bridge.ports import Condition
from bridge.simulator.agents import AgentsSimulator
from bridge.simulator.kmp import KmpSimulator
from tests.kafka.cluster import Cluster
from tests.kafka.stream import assert_in_order, assert_that_all_is_there, streaming, until_all_is_done
from tests.kafka.traffic import PARTITIONS, hops_at_work, traffic_on
from tests.kafka.working import Workers, kmp_options, working

pytestmark = [pytest.mark.broker, pytest.mark.faults]

_COME_AND_GO_S = 2
_ROUNDS = 7
# An eighth of what comes meanwhile.
_LISTS_A_ROUND = 100


async def test_numbers_of_which_a_stranger_holds_a_topic_are_parked_told_and_worked_once_it_is_gone(
    bootstrap_servers: str, prefix: str
) -> None:
    """The stranger is in the tally's group, but has subscribed to the clicks alone."""
    cluster = Cluster(bootstrap_servers, prefix)
    await cluster.create_topics()
    topics, group = cluster.topics, f"{prefix}tally"
    async with working(cluster, "tally") as tally, AsyncExitStack() as stack:
        await tally.until_condition(group, lambda condition: condition.is_ready)
        stranger = cluster.clients.group_consumer(group)
        stranger.subscribe([topics.suggestion_clicks])
        await stranger.start()
        stack.push_async_callback(stranger.stop)
        parked = await tally.until(NumberParked)
        reason = f"number {parked.number}: another member of the group holds one of its topics"
        await tally.until_condition(group, lambda condition: condition.reason == reason)
        for interaction_id in ("i-1", "i-2", "i-3", "i-4"):
            await _click(cluster, interaction_id)
        await cluster.read(topics.acceptance_exports, until=bool)  # The other number is worked on.
        assert {one.partition for one in await cluster.read(topics.acceptance_exports)} == {1 - parked.number}
        await stack.aclose()
        await tally.until_condition(group, lambda condition: condition.is_ready)
        await cluster.until_at_rest(("tally", topics.suggestion_clicks))
    exports = await cluster.read(topics.acceptance_exports)
    assert sorted(one.key or b"" for one in exports) == [b"i-1", b"i-2", b"i-3", b"i-4"]


async def _click(cluster: Cluster, interaction_id: str) -> None:
    key = interaction_id.encode()
    body = {"interactionId": interaction_id, "suggestionId": "s-1", "articleId": "a-1", "clickId": "c-1"}
    number = partition_of(key, cluster.topics.partitions)
    await cluster.send(cluster.topics.suggestion_clicks, msgspec.json.encode(body), key=key, number=number)


async def test_numbers_move_between_processes_under_load_and_nothing_is_lost_or_doubled(
    bootstrap_servers: str, prefix: str
) -> None:
    """Members of all three groups come and go, one after the other, while lists and clicks are coming in."""
    cluster = Cluster(bootstrap_servers, prefix, partitions=4)
    await cluster.create_topics()
    names = ("ranker", "tally", "exporter")
    async with (
        KmpSimulator() as kmp,
        working(cluster, *names, kmp=kmp_options(kmp)) as first,
        AgentsSimulator(cluster.clients, cluster.topics) as agents,
        streaming(cluster, per_s=100) as stream,
    ):
        for _ in range(2):
            async with working(cluster, *names, kmp=kmp_options(kmp)) as second:
                for name in names:
                    await _until_shared(first, second, prefix + name)
                await _until_seen(agents, 50)
                alone = len(first.events)
            for name in names:
                await _until_all(first, prefix + name, after=alone)
        stream.end()
        await cluster.until_at_rest(("ranker", cluster.topics.raw_suggestions))
        await agents.stop_clicking()
        await until_all_is_done(cluster)
    await assert_that_all_is_there(
        cluster, frames=stream.frames, clicks=map(position_of, agents.clicks), posts=kmp.posts
    )
    assert_in_order(kmp.posts)


async def test_members_that_come_and_go_every_two_seconds_do_not_stop_the_work(
    bootstrap_servers: str, prefix: str
) -> None:
    """For 30 s, in all three groups. What comes back to its owner is kept: it is not restored again."""
    cluster = Cluster(bootstrap_servers, prefix, partitions=PARTITIONS, stuck_after_s=16.0)
    async with traffic_on(cluster) as traffic, hops_at_work(traffic) as first:
        await traffic.until_lists(1)
        for _ in range(_ROUNDS):
            seen = traffic.agents.lists_seen
            async with hops_at_work(traffic):
                await first.never(WorkerStuck, for_s=_COME_AND_GO_S)
            await first.never(WorkerStuck, for_s=_COME_AND_GO_S)
            assert traffic.agents.lists_seen >= seen + _LISTS_A_ROUND
        await traffic.until_posts(50)
        await traffic.end()
        assert first.all(WorkerStuck) == []
        assigned = first.all(NumbersAssigned)
        assert sum(event.kept for event in assigned) > 0
        assert len(first.all(NumberRestored)) <= sum(event.gained for event in assigned)
        assert first.all(NumberAborted) == []
    await traffic.check()


async def test_a_stranger_in_the_group_that_has_one_of_the_topics_only_loses_and_doubles_nothing(
    bootstrap_servers: str, prefix: str
) -> None:
    """Under load: what it holds a topic of waits until it is gone, the rest is worked."""
    cluster = Cluster(bootstrap_servers, prefix, partitions=PARTITIONS)
    group = f"{prefix}tally"
    async with traffic_on(cluster) as traffic, hops_at_work(traffic) as hops, AsyncExitStack() as stack:
        await traffic.until_posts(20)
        stranger = cluster.clients.group_consumer(group)
        stranger.subscribe([cluster.topics.suggestion_clicks])
        await stranger.start()
        stack.push_async_callback(stranger.stop)
        await hops.until(NumberParked)
        told = await hops.until_condition(group, lambda condition: "number" in condition.reason)
        assert "another member of the group holds one of its topics" in told.reason
        await traffic.until_posts(20)
        await stack.aclose()
        await hops.until_condition(group, _is_ready)
        await traffic.until_posts(20)
        await traffic.end()
    await traffic.check()


async def _until_shared(first: Workers, second: Workers, group: str) -> None:
    def is_half(event: NumbersAssigned) -> bool:
        return event.group == group and event.owned == 2

    await second.until(NumbersAssigned, is_half)
    await first.until_condition(group, _is_ready)
    await second.until_condition(group, _is_ready)


async def _until_all(workers: Workers, group: str, *, after: int) -> None:
    await workers.until(NumbersAssigned, lambda event: event.group == group and event.owned == 4, after=after)


async def _until_seen(agents: AgentsSimulator, more: int) -> None:
    enough = agents.lists_seen + more
    await agents.until(lambda: agents.lists_seen >= enough, timeout_s=60)


def _is_ready(condition: Condition) -> bool:
    return condition.is_ready
