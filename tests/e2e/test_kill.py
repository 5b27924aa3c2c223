"""Workers that die or stand still in the middle of the stream, as processes."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from tests.e2e.processes import Bridge, environment_of, running, stop_all
from tests.e2e.world import world
from tests.kafka.cluster import Cluster
from tests.kafka.traffic import HOPS, PARTITIONS, Traffic, traffic_on

# The embedded broker never expels a member that has died.
pytestmark = [pytest.mark.kafka, pytest.mark.e2e, pytest.mark.faults]


@pytest.fixture
async def traffic(bootstrap_servers: str, prefix: str) -> AsyncIterator[Traffic]:
    cluster = Cluster(bootstrap_servers, prefix, partitions=PARTITIONS, session_timeout_ms=3_000)
    async with traffic_on(cluster) as traffic:
        yield traffic


@pytest.fixture
def environment(traffic: Traffic) -> dict[str, str]:
    return environment_of(traffic.cluster, KMP__ENDPOINT=traffic.kmp.endpoint)


@pytest.mark.parametrize("victim", ["ranker", "tally"])
async def test_a_worker_that_is_killed_in_the_middle_of_a_transaction_loses_and_doubles_nothing(
    traffic: Traffic, environment: dict[str, str], victim: str
) -> None:
    """D6: killed twice with a transaction open, and started again each time."""
    topics = traffic.cluster.topics
    topic = {"ranker": topics.ranked_suggestions, "tally": topics.interaction_acceptance}[victim]
    others = [hop for hop in HOPS if hop != victim]
    async with running("run", *others, **environment) as rest:
        for _ in range(2):
            async with running("run", victim, **environment) as killed:
                await _until_at_work(killed)
                await _freeze_in_a_transaction(killed, traffic.cluster, topic)
                killed.kill()
                assert await killed.code() == -9
        async with running("run", victim, **environment) as last:
            await _until_at_work(last)
            await traffic.until_posts(50)
            await traffic.end()
            await stop_all(rest, last)
    await traffic.check()
    assert await _hidden_on(traffic.cluster, topic) > 0, "what was open is there, and hidden"


async def test_an_exporter_that_is_killed_between_post_and_commit_posts_again_under_the_same_keys(
    traffic: Traffic, environment: dict[str, str]
) -> None:
    """D8: the KMP has them, but nobody noted it: it gets the same bytes once more, and holds each once."""
    async with running("run", "ranker", "tally", **environment) as rest:
        for _ in range(2):
            async with running("run", "exporter", **environment) as killed:
                await _until_at_work(killed)
                await traffic.until_posts(1)
                killed.kill()
                assert await killed.code() == -9
        async with running("run", "exporter", **environment) as last:
            await _until_at_work(last)
            await traffic.until_posts(50)
            await traffic.end()
            await stop_all(rest, last)
    await traffic.check()
    assert traffic.kmp.state().repeats > 0
    assert traffic.kmp.refused == {}, "no key came with another body"


async def _until_at_work(process: Bridge) -> None:
    await process.until("number_restored", count=PARTITIONS)
    await process.until("transaction_committed", count=20, after=len(process.events))


async def _freeze_in_a_transaction(process: Bridge, cluster: Cluster, topic: str) -> None:
    """Stops the process at a moment at which it has a transaction open on the topic that only it writes."""
    process.freeze()
    # One of which the end is asked for already is over in a moment.
    while not all([await cluster.has_open_transaction(topic) for _ in range(5)]):
        worked = len(process.events)
        process.thaw()
        await process.until("transaction_committed", after=worked)
        process.freeze()


@pytest.mark.parametrize("stop", [Bridge.freeze, Bridge.hold_up_its_loop], ids=["process", "loop"])
async def test_a_ranker_that_stood_still_for_longer_than_its_session_does_not_disturb_the_one_that_took_over(
    traffic: Traffic, environment: dict[str, str], stop: Callable[[Bridge], None]
) -> None:
    """The zombie may be fenced: it waits, and shares the work again; it does not fence the rightful owner in turn."""
    # A loop wakes by itself.
    zombie, heir = await _stand_still_and_share_again(traffic, environment, stop, TEST_BLOCKS_S="8")
    assert heir.told("number_fenced") == []
    # Once for each number that it still took for its own; never again.
    assert len(zombie.told("number_fenced")) <= PARTITIONS // 2
    await traffic.check()


async def test_a_ranker_that_stood_still_inside_a_transaction_cannot_commit_it_when_it_wakes(
    traffic: Traffic, environment: dict[str, str]
) -> None:
    """Its records are on the topics and its transaction is open: the heir has ended it.

    It hears of it from Kafka's refusal (`number_fenced`), or first from its heartbeat that it is no member any more.
    """
    zombie, heir = await _stand_still_and_share_again(
        traffic,
        environment,
        Bridge.freeze_at_its_step,
        TEST_FREEZES_AT="Produce",
        # Longer than it stands still: else its own deadline may end the transaction before it asks the broker.
        BRIDGE_KAFKA__TRANSACTION_TIMEOUT_MS="50000",
    )
    assert heir.told("number_fenced") == []
    assert len(zombie.told("number_fenced")) <= PARTITIONS // 2
    await traffic.check()
    topics = traffic.cluster.topics
    # To which of both it had written by then is not said.
    hidden = [
        await _hidden_on(traffic.cluster, topic) for topic in (topics.ranked_suggestions, topics.suggestion_audit)
    ]
    assert sum(hidden) > 0, "what was open is there, and hidden"


async def _hidden_on(cluster: Cluster, topic: str) -> int:
    """How many records of a topic are those of transactions that were aborted."""
    return len(await cluster.read(topic, isolation="read_uncommitted")) - len(await cluster.read(topic))


async def _stand_still_and_share_again(
    traffic: Traffic, environment: dict[str, str], stop: Callable[[Bridge], None], **faults: str
) -> tuple[Bridge, Bridge]:
    """The zombie and the heir: one stands still until the other has all numbers, and then they share them again."""
    group = f"{traffic.cluster.options.prefix}ranker"
    async with (
        running("run", "tally", "exporter", **environment) as clicks,
        running("run", "ranker", module="tests.e2e.faulty_bridge", **(environment | faults)) as zombie,
        running("run", "ranker", **environment) as heir,
    ):
        for ranker in (zombie, heir):
            await ranker.until("numbers_assigned", group=group, owned=PARTITIONS // 2)
            await ranker.until("batch_ranked", count=5)
        before, asleep = len(heir.events), len(zombie.events)
        stop(zombie)
        await heir.until("numbers_assigned", group=group, owned=PARTITIONS, after=before)
        await heir.until("number_restored", group=group, count=PARTITIONS // 2, after=before)
        await traffic.until_lists(100)
        zombie.thaw()
        await zombie.until("numbers_assigned", group=group, owned=PARTITIONS // 2, after=asleep)
        await zombie.until("number_restored", group=group, count=PARTITIONS // 2, after=asleep)
        ranking = len(zombie.events)
        await zombie.until("batch_ranked", count=10, after=ranking)
        await traffic.until_posts(20)
        await traffic.end()
        await stop_all(zombie, heir, clicks)
    return zombie, heir


async def test_a_worker_whose_loop_stood_still_for_longer_than_its_session_goes_on_alone(
    traffic: Traffic, environment: dict[str, str]
) -> None:
    """All hops in one process, nobody there to take over: the group has expelled it, and takes it again."""
    options = environment | {"TEST_BLOCKS_S": "5"}
    async with running("run", *HOPS, module="tests.e2e.faulty_bridge", **options) as hops:
        await hops.until("number_restored", count=PARTITIONS * len(HOPS))
        await traffic.until_posts(50)
        before = len(hops.events)
        hops.hold_up_its_loop()
        await hops.until("stood_still", after=before)
        await hops.until("numbers_assigned", count=len(HOPS), owned=PARTITIONS, after=before)
        await traffic.until_posts(50)
        await traffic.end()
        await stop_all(hops)
    await traffic.check()


@pytest.mark.parametrize("hop", ["ranker", "tally"])
async def test_a_transaction_that_outlives_its_timeout_is_done_again(
    traffic: Traffic, environment: dict[str, str], hop: str
) -> None:
    """The broker aborts it while its owner stands still, and nobody else takes over."""
    topics = traffic.cluster.topics
    topic = {"ranker": topics.ranked_suggestions, "tally": topics.interaction_acceptance}[hop]
    others = [one for one in HOPS if one != hop]
    patient = environment | {
        "BRIDGE_KAFKA__SESSION_TIMEOUT_MS": "30000",
        "BRIDGE_KAFKA__TRANSACTION_TIMEOUT_MS": "2000",
    }
    async with running("run", *others, **environment) as rest, running("run", hop, **patient) as slow:
        await _until_at_work(slow)
        await _freeze_in_a_transaction(slow, traffic.cluster, topic)
        before = len(slow.events)
        async with asyncio.timeout(30):
            while await traffic.cluster.has_open_transaction(topic):
                await asyncio.sleep(0.1)  # Kafka tells nobody.
        slow.thaw()
        # It learns it from the broker, or its own clock is first.
        failed = await slow.until("transaction_failed", after=before)
        await slow.until("number_restored", number=failed["number"], after=before)
        await traffic.until_posts(50)
        await traffic.end()
        assert len(slow.told("numbers_assigned")) == 1, "its membership was never in question"
        await stop_all(rest, slow)
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
