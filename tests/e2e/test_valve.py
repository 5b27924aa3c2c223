"""Backpressure from the ranker to Genesys, through Kafka's own lag, as processes."""

import msgspec
import pytest

from bridge.adapters.kafka.topics import apply
from bridge.core.topics import plans_of
from bridge.simulator.genesys import GenesysSimulator
from bridge.simulator.script import Burst
from tests.e2e.processes import environment_of, genesys_environment, running, stop_all
from tests.kafka.cluster import Cluster
from tests.kafka.stream import assert_verified

pytestmark = [pytest.mark.broker, pytest.mark.e2e]

_VALVE = {
    "VALVE__CLOSE_ABOVE_RECORDS": "200",
    "VALVE__REOPEN_AT_RECORDS": "50",
    "VALVE__SAMPLE_EVERY_S": "0.05",
    "VALVE__MIN_DWELL_S": "0.1",
    "INGRESS__OVERFLOW": "block",
}
# More than the buffers of TCP take at a time: about 1.6 KB each.
_BURST_FRAMES = 8_000


class _Frame(msgspec.Struct):
    serial: int


async def test_a_stopped_ranker_closes_the_valve_and_once_it_is_back_every_frame_arrives(
    bootstrap_servers: str, prefix: str
) -> None:
    """T6, D1: what closes it is the lag of a ranker that has stopped, as Kafka knows it. D2: it opens again."""
    cluster = Cluster(bootstrap_servers, prefix)
    await apply(cluster.clients, plans_of(cluster.topics), partitions=2, replication_factor=1, dry_run=False)
    async with GenesysSimulator(frames_per_s=20) as genesys:
        environment = environment_of(cluster, **genesys_environment(genesys.base_url), **_VALVE)
        async with running("run", "ingress", **environment) as ingress:
            async with running("run", "ranker", **environment) as ranker:
                await ranker.until("batch_ranked", count=2)
                await stop_all(ranker)
            genesys.post(Burst(name="burst", frames=_BURST_FRAMES))
            closed = await ingress.until("valve_closed")
            assert closed["lag_records"] > 200
            # Genesys feels it: its socket takes no more.
            await genesys.until(lambda: genesys.state().pauses > 0, timeout_s=30)
            sent = genesys.state().frames_sent
            assert sent < _BURST_FRAMES
            assert ingress.told("valve_opened") == []

            async with running("run", "ranker", **environment) as ranker:
                await ingress.until("valve_opened")
                await genesys.until(lambda: genesys.state().frames_sent > _BURST_FRAMES, timeout_s=60)
                assert await genesys.stop_sending()
                await stop_all(ingress)
                await cluster.until_at_rest(("ranker", cluster.topics.raw_suggestions))
                await stop_all(ranker)

    await assert_verified(cluster, is_done=False)
    raw = await cluster.read(cluster.topics.raw_suggestions)
    serials = [msgspec.json.decode(record.value or b"", type=_Frame).serial for record in raw]
    assert sorted(serials) == sorted(frame.serial for frame in genesys.sent)
