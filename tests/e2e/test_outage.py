"""A broker that goes away, and comes back or does not."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from time import monotonic

import pytest

from bridge.simulator.genesys import GenesysSimulator
from tests.broker import KafkaBroker
from tests.e2e.processes import environment_of, genesys_environment, running, stop_all
from tests.e2e.world import world
from tests.kafka.cluster import Cluster
from tests.kafka.stream import assert_verified, streaming
from tests.kafka.traffic import PARTITIONS

pytestmark = [pytest.mark.kafka, pytest.mark.e2e, pytest.mark.faults]


@pytest.fixture(scope="module")
def own_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """A broker that the other tests do not need."""
    with KafkaBroker(tmp_path_factory.mktemp("own") / "broker") as broker:
        yield broker


@pytest.fixture
def broker(own_broker: KafkaBroker) -> KafkaBroker:
    """The same, running."""
    if own_broker._process is None:
        own_broker.start()
    return own_broker


@pytest.mark.parametrize("end", [KafkaBroker.stop, KafkaBroker.kill])
async def test_a_broker_that_is_restarted_under_load_loses_and_doubles_nothing(
    broker: KafkaBroker, prefix: str, end: Callable[[KafkaBroker], None]
) -> None:
    async with world(broker.bootstrap_servers, prefix, partitions=PARTITIONS, frames_per_s=200) as around:
        async with running("run", "all", **around.environment) as bridge:
            await around.until_posts(50)
            await asyncio.to_thread(end, broker)
            await asyncio.to_thread(broker.start)
            await around.until_posts(50)
            await around.end()
            await stop_all(bridge)
        await around.check()
        assert [event for event in bridge.events if "never retrieved" in event["event"]] == []


async def test_a_broker_that_is_silent_for_twenty_seconds_is_waited_for_and_nothing_is_lost_or_doubled(
    broker: KafkaBroker, prefix: str
) -> None:
    """Longer than sessions and transactions last. The only broker stands still, as behind a broken switch, not closed.

    A coordinator that is silent beside brokers that answer: `test_three_brokers`.
    """
    async with world(broker.bootstrap_servers, prefix, partitions=PARTITIONS, frames_per_s=200) as around:
        environment = around.environment | {"BRIDGE_KAFKA__STUCK_AFTER_S": "16"}
        async with running("run", "all", **environment) as bridge:
            await around.until_posts(50)
            before = len(bridge.events)
            broker.process.send_signal(signal.SIGSTOP)
            try:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(20):
                        await bridge.until("worker_stuck", after=before)
            finally:
                broker.process.send_signal(signal.SIGCONT)
            await around.until_posts(50)
            await around.end()
            await stop_all(bridge)
        await around.check()


async def test_an_outage_is_told_in_few_lines_and_without_a_traceback(broker: KafkaBroker, prefix: str) -> None:
    """The client tries again a thousand times a second; a log that says so each time is of no use to anybody."""
    cluster = Cluster(broker.bootstrap_servers, prefix)
    await cluster.create_topics()
    async with streaming(cluster), running("run", "ranker", **environment_of(cluster)) as ranker:
        await ranker.until("batch_ranked", count=10)
        broker.kill()
        before = len(ranker.events)
        await asyncio.to_thread(broker.start)
        await ranker.until("batch_ranked", count=10, after=len(ranker.events))
        told = ranker.events[before:]
        await stop_all(ranker)
    await assert_verified(cluster, is_done=False)
    by_libraries = [event["event"] for event in told if "logger" in event]
    assert len(by_libraries) < 200
    assert [event for event in told if "exception" in event] == []


async def test_a_stop_while_the_broker_is_away_is_cut_short_soon_after_its_deadline(
    broker: KafkaBroker, prefix: str
) -> None:
    """What cannot be committed is dropped: exit 75, before whoever stops it loses patience. It comes again, once."""
    cluster = Cluster(broker.bootstrap_servers, prefix)
    await cluster.create_topics()
    async with GenesysSimulator(frames_per_s=50) as genesys:
        options = genesys_environment(genesys.base_url) | {"RUN__DRAIN_TIMEOUT_S": "2"}
        async with running("run", "ingress", "ranker", **environment_of(cluster, **options)) as bridge:
            await bridge.until("batch_ranked", count=10)
            broker.kill()
            asked_s = monotonic()
            bridge.stop()
            assert await bridge.code() == 75
            assert monotonic() - asked_s < 2 + 4
            assert bridge.lines == []
    await asyncio.to_thread(broker.start)
    async with running("run", "ranker", **environment_of(cluster)) as ranker:
        await cluster.until_at_rest(("ranker", cluster.topics.raw_suggestions))
        await stop_all(ranker)
    # No tally has counted the lists.
    await assert_verified(cluster, is_done=False)
