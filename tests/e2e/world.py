"""The whole world around a bridge that runs as processes: Genesys, agents and a KMP, in the test's own process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from bridge.core.books import FrameSent
from bridge.demo.accounts import position_of
from bridge.simulator.agents import AgentsSimulator
from bridge.simulator.genesys import GenesysSimulator
from bridge.simulator.kmp import KmpSimulator
from tests.e2e.processes import environment_of, genesys_environment
from tests.kafka.cluster import Cluster
from tests.kafka.stream import assert_in_order, assert_that_all_is_there, until_all_is_done

# Enough that each of 12 partitions has some of them.
INTERACTIONS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Genesys, agents and a KMP around a bridge."""

    cluster: Cluster
    environment: dict[str, str]
    genesys: GenesysSimulator
    agents: AgentsSimulator
    kmp: KmpSimulator

    async def until_posts(self, more: int) -> None:
        """Returns when the KMP has got so many posts more."""
        enough = len(self.kmp.posts) + more
        await self.kmp.until(lambda: len(self.kmp.posts) >= enough, timeout_s=60)

    async def end(self) -> None:
        """Nothing new is sent; returns when the bridge has worked everything."""
        assert await self.genesys.stop_sending()
        await self.cluster.until_at_rest(("ranker", self.cluster.topics.raw_suggestions))
        await self.agents.stop_clicking()
        await until_all_is_done(self.cluster)

    async def check(self) -> None:
        """The books balance, and the KMP got the exports in order."""
        frames = [
            FrameSent(serial=one.serial, digest=one.digest, interaction_id=one.interaction_id, at_ms=one.at_ms)
            for one in self.genesys.sent
        ]
        posts = self.kmp.posts
        assert_in_order(posts)
        await assert_that_all_is_there(
            self.cluster, frames=frames, clicks=map(position_of, self.agents.clicks), posts=posts
        )


@asynccontextmanager
async def world(
    bootstrap_servers: str, prefix: str, *, partitions: int = 4, frames_per_s: float = 100, **options: Any
) -> AsyncIterator[World]:
    """Lists, and clicks on them; `options` are those of `Cluster`."""
    cluster = Cluster(bootstrap_servers, prefix, partitions=partitions, **options)
    await cluster.create_topics()
    async with (
        KmpSimulator() as kmp,
        GenesysSimulator(frames_per_s=frames_per_s) as genesys,
        AgentsSimulator(cluster.clients, cluster.topics) as agents,
    ):
        sections = genesys_environment(genesys.base_url, interactions=INTERACTIONS) | {"KMP__ENDPOINT": kmp.endpoint}
        environment = environment_of(cluster, **sections)
        yield World(cluster=cluster, environment=environment, genesys=genesys, agents=agents, kmp=kmp)
