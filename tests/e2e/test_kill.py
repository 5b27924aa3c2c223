"""Workers that die or stand still in the middle of the stream, as processes."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from bridge.simulator.agents import AgentsSimulator
from bridge.simulator.clicks import ClickMix
from bridge.simulator.kmp import KmpSimulator
from tests.e2e.processes import Bridge, environment_of, running, stop_all
from tests.e2e.world import world
from tests.kafka.cluster import Cluster
from tests.kafka.stream import Stream, assert_balanced, assert_in_order, books_of, streaming, until_all_is_done

# The embedded broker never expels a member that has died.
pytestmark = [pytest.mark.kafka, pytest.mark.e2e]

_HOPS = ("ranker", "tally", "exporter")
_PARTITIONS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """200 lists a second, clicks on them, and a KMP that takes the exports."""

    cluster: Cluster
    environment: dict[str, str]
    stream: Stream
    agents: AgentsSimulator
    kmp: KmpSimulator

    async def until_lists(self, more: int) -> None:
        """Returns when the agents have seen so many lists more."""
        enough = self.agents.lists_seen + more
        await self.agents.until(lambda: self.agents.lists_seen >= enough, timeout_s=60)

    async def until_posts(self, more: int) -> None:
        """Returns when the KMP has got so many posts more."""
        enough = len(self.kmp.posts) + more
        await self.kmp.until(lambda: len(self.kmp.posts) >= enough, timeout_s=60)

    async def end(self) -> None:
        """Writes and clicks no more; returns when the workers have worked everything."""
        self.stream.end()
        await self.cluster.until_at_rest(("ranker", self.cluster.topics.raw_suggestions))
        await self.agents.stop_clicking()
        await until_all_is_done(self.cluster)

    async def check(self) -> None:
        """Every list, count and export is there, exactly once; the KMP got the exports in order."""
        posts = self.kmp.posts
        books = await books_of(self.cluster, frames=self.stream.frames, clicks=self.agents.clicks, posts=posts)
        assert_balanced(books)
        assert_in_order(posts)


@pytest.fixture
async def traffic(bootstrap_servers: str, prefix: str) -> AsyncIterator[Traffic]:
    cluster = Cluster(bootstrap_servers, prefix, partitions=_PARTITIONS, session_timeout_ms=3_000)
    await cluster.create_topics()
    async with (
        KmpSimulator() as kmp,
        AgentsSimulator(cluster.clients, cluster.topics, mix=ClickMix(click_share=0.3)) as agents,
        streaming(cluster, per_s=200) as stream,
    ):
        environment = environment_of(cluster, KMP__ENDPOINT=kmp.endpoint)
        yield Traffic(cluster=cluster, environment=environment, stream=stream, agents=agents, kmp=kmp)


@pytest.mark.parametrize("victim", ["ranker", "tally"])
async def test_a_worker_that_is_killed_in_the_middle_of_a_transaction_loses_and_doubles_nothing(
    traffic: Traffic, victim: str
) -> None:
    """D6: killed twice with a transaction open, and started again each time."""
    topics = traffic.cluster.topics
    topic = {"ranker": topics.ranked_suggestions, "tally": topics.interaction_acceptance}[victim]
    others = [hop for hop in _HOPS if hop != victim]
    async with running("run", *others, **traffic.environment) as rest:
        for _ in range(2):
            async with running("run", victim, **traffic.environment) as killed:
                await _until_at_work(killed)
                await _freeze_in_a_transaction(killed, traffic.cluster, topic)
                killed.kill()
                assert await killed.code() == -9
        async with running("run", victim, **traffic.environment) as last:
            await _until_at_work(last)
            await traffic.until_posts(50)
            await traffic.end()
            await stop_all(rest, last)
    await traffic.check()
    written = await traffic.cluster.read(topic, isolation="read_uncommitted")
    assert len(written) > len(await traffic.cluster.read(topic)), "what was open is there, and hidden"


async def test_an_exporter_that_is_killed_between_post_and_commit_posts_again_under_the_same_keys(
    traffic: Traffic,
) -> None:
    """D8: the KMP has them, but nobody noted it: it gets the same bytes once more, and holds each once."""
    async with running("run", "ranker", "tally", **traffic.environment) as rest:
        for _ in range(2):
            async with running("run", "exporter", **traffic.environment) as killed:
                await _until_at_work(killed)
                await traffic.until_posts(1)
                killed.kill()
                assert await killed.code() == -9
        async with running("run", "exporter", **traffic.environment) as last:
            await _until_at_work(last)
            await traffic.until_posts(50)
            await traffic.end()
            await stop_all(rest, last)
    await traffic.check()
    assert traffic.kmp.state().repeats > 0
    assert traffic.kmp.refused == {}, "no key came with another body"


async def _until_at_work(process: Bridge) -> None:
    await process.until("number_restored", count=_PARTITIONS)
    await process.until("transaction_committed", count=20, after=len(process.events))


async def _freeze_in_a_transaction(process: Bridge, cluster: Cluster, topic: str) -> None:
    """Stops the process at a moment at which it has a transaction open on the topic that only it writes."""
    process.freeze()
    while not await cluster.has_open_transaction(topic):
        worked = len(process.events)
        process.thaw()
        await process.until("transaction_committed", after=worked)
        process.freeze()


async def test_a_ranker_that_stood_still_for_longer_than_its_session_does_not_disturb_the_one_that_took_over(
    traffic: Traffic, prefix: str
) -> None:
    """The zombie is fenced, waits, and shares the work again; it does not fence the rightful owner in turn."""
    group = f"{prefix}ranker"
    async with (
        running("run", "tally", "exporter", **traffic.environment) as clicks,
        running("run", "ranker", **traffic.environment) as zombie,
        running("run", "ranker", **traffic.environment) as heir,
    ):
        for ranker in (zombie, heir):
            await ranker.until("numbers_assigned", group=group, owned=_PARTITIONS // 2)
            await ranker.until("batch_ranked", count=5)
        before = len(heir.events)
        zombie.freeze()
        await heir.until("numbers_assigned", group=group, owned=_PARTITIONS, after=before)
        await heir.until("number_restored", group=group, count=_PARTITIONS // 2, after=before)
        await traffic.until_lists(100)
        woken = len(zombie.events)
        zombie.thaw()
        await zombie.until("numbers_assigned", group=group, owned=_PARTITIONS // 2, after=woken)
        await zombie.until("number_restored", group=group, count=_PARTITIONS // 2, after=woken)
        ranking = len(zombie.events)
        await zombie.until("batch_ranked", count=10, after=ranking)
        await traffic.end()
        assert heir.told("number_fenced") == []
        # Once for each number that it still took for its own; never again.
        assert len(zombie.told("number_fenced")) <= _PARTITIONS // 2
        await stop_all(zombie, heir, clicks)
    await traffic.check()


async def test_the_whole_bridge_killed_at_once_tells_the_gap_and_doubles_nothing(
    bootstrap_servers: str, prefix: str
) -> None:
    """What ingress had not yet written is lost, and lies inside a gap that the next start tells."""
    async with world(bootstrap_servers, prefix, session_timeout_ms=3_000) as around:
        async with running("run", "all", **around.environment) as killed:
            await around.until_posts(50)
            killed.kill()
            assert await killed.code() == -9
        async with running("run", "all", **around.environment) as bridge:
            await around.until_posts(50)
            await around.end()
            await stop_all(bridge)
        await around.check()
