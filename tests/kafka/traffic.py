"""Load for the hops: 200 lists a second on 12 partitions, clicks on them, a KMP for the exports; and the books."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from bridge.core.books import FrameSent
from bridge.core.verify_findings import Report
from bridge.demo.accounts import position_of
from bridge.simulator.agents import AgentsSimulator
from bridge.simulator.clicks import ClickMix
from bridge.simulator.kmp import KmpSimulator
from tests.kafka.cluster import Cluster
from tests.kafka.stream import Stream, assert_in_order, assert_that_all_is_there, streaming, until_all_is_done
from tests.kafka.working import Workers, kmp_options, working

HOPS = ("ranker", "tally", "exporter")
PARTITIONS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What the hops are given, and what became of it."""

    cluster: Cluster
    stream: Stream
    agents: AgentsSimulator
    kmp: KmpSimulator

    async def until_lists(self, more: int, *, timeout_s: float = 60) -> None:
        """Returns when the agents have seen so many lists more."""
        enough = self.agents.lists_seen + more
        await self.agents.until(lambda: self.agents.lists_seen >= enough, timeout_s=timeout_s)

    async def until_posts(self, more: int, *, timeout_s: float = 60) -> None:
        """Returns when the KMP has got so many posts more."""
        enough = len(self.kmp.posts) + more
        await self.kmp.until(lambda: len(self.kmp.posts) >= enough, timeout_s=timeout_s)

    async def end(self) -> None:
        """Writes and clicks no more; returns when the workers have worked everything."""
        self.stream.end()
        await self.cluster.until_at_rest(("ranker", self.cluster.topics.raw_suggestions))
        await self.agents.stop_clicking()
        await until_all_is_done(self.cluster)

    async def check(self, *, more_frames: Iterable[FrameSent] = (), more_clicks: Iterable[str] = ()) -> Report:
        """Every list, count and export is there, exactly once; the KMP got the exports in order.

        `more_frames` and `more_clicks` (by position) are what the test wrote itself.
        """
        posts = self.kmp.posts
        assert_in_order(posts)
        return await assert_that_all_is_there(
            self.cluster,
            frames=[*self.stream.frames, *more_frames],
            clicks=[*map(position_of, self.agents.clicks), *more_clicks],
            posts=posts,
        )


@asynccontextmanager
async def hops_at_work(traffic: Traffic, *names: str, **sections: Any) -> AsyncIterator[Workers]:
    """Hops (all of them, or those named) in the test's own process, beside the block."""
    kmp = kmp_options(traffic.kmp)
    async with working(traffic.cluster, *(names or HOPS), kmp=kmp, **sections) as workers:
        yield workers


@asynccontextmanager
async def traffic_on(
    cluster: Cluster, *, mix: ClickMix | None = None, per_s: float = 200, interactions: int = 40
) -> AsyncIterator[Traffic]:
    """Load beside the block, from the first hop to the KMP. The hops are the test's to run."""
    await cluster.create_topics()
    async with (
        KmpSimulator() as kmp,
        AgentsSimulator(cluster.clients, cluster.topics, mix=mix or ClickMix(click_share=0.3)) as agents,
        streaming(cluster, per_s=per_s, interactions=interactions) as stream,
    ):
        yield Traffic(cluster=cluster, stream=stream, agents=agents, kmp=kmp)
