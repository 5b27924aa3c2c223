"""kill -9 of every hop at random moments, and between each pair of steps of a transaction, as processes under load.

Each hop is killed again and again, all three side by side. `BRIDGE_TEST_KILLS` says how often at random moments each.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from random import Random

import pytest

from tests.chance import seeded, times
from tests.e2e.faulty_bridge import STEPS
from tests.e2e.processes import Bridge, environment_of, running, stop_all
from tests.kafka.cluster import Cluster
from tests.kafka.traffic import HOPS, PARTITIONS, Traffic, traffic_on

pytestmark = [pytest.mark.kafka, pytest.mark.e2e, pytest.mark.faults, pytest.mark.timeout(600)]

_KILLS = times(20, variable="BRIDGE_TEST_KILLS")


@pytest.fixture
async def traffic(bootstrap_servers: str, prefix: str) -> AsyncIterator[Traffic]:
    """A dead member is noticed soon, because its heir waits for that."""
    cluster = Cluster(
        bootstrap_servers, prefix, partitions=PARTITIONS, session_timeout_ms=2_000, heartbeat_interval_ms=300
    )
    async with traffic_on(cluster) as traffic:
        yield traffic


@pytest.fixture
def environment(traffic: Traffic) -> dict[str, str]:
    return environment_of(traffic.cluster, KMP__ENDPOINT=traffic.kmp.endpoint)


async def test_hops_that_are_killed_at_random_moments_lose_and_double_nothing(
    traffic: Traffic, environment: dict[str, str]
) -> None:
    """D6, D8: while they start, restore, work, post and commit."""

    async def kill_again_and_again(hop: str, chance: Random) -> None:
        for _ in range(_KILLS):
            async with running("run", hop, **environment) as victim:
                if chance.random() < 0.8:
                    await victim.until("number_restored")
                await _let_live(victim, for_s=chance.uniform(0, 2))
                victim.kill()
                assert await victim.code() == -9

    with seeded() as chance:
        await _die_and_recover(traffic, environment, lambda hop: kill_again_and_again(hop, Random(chance.random())))


async def test_hops_that_are_killed_between_two_steps_of_a_transaction_lose_and_double_nothing(
    traffic: Traffic, environment: dict[str, str]
) -> None:
    """D6, D8: the broker has done the step, the client does not know it."""

    async def die_at_each_step(hop: str, chance: Random) -> None:
        for step in chance.sample(STEPS, len(STEPS)):
            # Of starting a producer there are as many as numbers.
            number = chance.randint(1, PARTITIONS if step == "InitProducerId" else 60)
            options = environment | {"TEST_DIES_AT": f"{step}/{number}"}
            async with running("run", hop, module="tests.e2e.faulty_bridge", **options) as victim:
                assert await victim.code() == -9, f"{hop} did not die at {step} {number}: {victim.lines}"

    with seeded() as chance:
        await _die_and_recover(traffic, environment, lambda hop: die_at_each_step(hop, Random(chance.random())))


async def _let_live(victim: Bridge, *, for_s: float) -> None:
    """Returns when this time has passed, in which it must not end by itself."""
    with suppress(TimeoutError):
        async with asyncio.timeout(for_s):
            code = await victim.code()
            raise AssertionError(f"it ended by itself: {code}, {victim.lines}")


async def _die_and_recover(
    traffic: Traffic, environment: dict[str, str], die: Callable[[str], Coroutine[None, None, None]]
) -> None:
    """All hops die side by side. One that has died often enough works on: the others need what it makes of the load."""
    recovered, done = asyncio.Barrier(len(HOPS) + 1), asyncio.Event()

    async def die_and_recover(hop: str) -> None:
        await die(hop)
        async with running("run", hop, **environment) as last:
            await last.until("number_restored", count=PARTITIONS)
            await recovered.wait()
            await done.wait()
            await stop_all(last)

    async with asyncio.TaskGroup() as tasks:
        for hop in HOPS:
            tasks.create_task(die_and_recover(hop))
        await recovered.wait()
        await traffic.until_posts(50)
        await traffic.end()
        done.set()
    await traffic.check()
