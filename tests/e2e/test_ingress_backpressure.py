"""What ingress does with frames that Kafka, or whoever reads them, is not ready for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bridge.core import valve
from bridge.core.events.ingress import (
    FramesShed,
    LagSampled,
    LagUnknown,
    PauseOverrun,
    PauseProlonged,
    ProducerReplaced,
    ReadingResumed,
    ValveClosed,
    ValveOpened,
    ValveOverridden,
    WritingResumed,
    WritingStalled,
)
from bridge.core.records import Record
from bridge.simulator.genesys import GenesysSimulator
from bridge.workers.ingress import Options as IngressOptions
from tests.broker import KafkaBroker
from tests.e2e.receiving import (
    NAMES,
    a_cluster,
    assert_in_order,
    frames_line,
    gaps_of,
    read_to_the_end,
    sheds_of,
    until_written,
)
from tests.kafka.cluster import Cluster
from tests.kafka.working import Workers, genesys_options, working

pytestmark = [pytest.mark.kafka, pytest.mark.e2e]

# A broker that was killed may come back once its former session is over.
QUICK = {"broker.session.timeout.ms": "1000", "broker.heartbeat.interval.ms": "200"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Carrying:
    """An ingress under load."""

    cluster: Cluster
    genesys: GenesysSimulator
    ingress: Workers

    @property
    def shed(self) -> int:
        return sum(event.frames for event in self.ingress.all(FramesShed))

    async def until_written(self, count: int) -> None:
        await until_written(self.ingress, self.cluster.topics.raw_suggestions, count)

    async def until_sent(self, more: int) -> None:
        enough = len(self.genesys.sent) + more
        await self.genesys.until(lambda: len(self.genesys.sent) >= enough, timeout_s=60)

    async def end(self) -> None:
        """Nothing new is sent; returns when everything that was sent is written, or told as shed."""
        assert await self.genesys.stop_sending()
        await self.until_written(len(self.genesys.sent) - self.shed)

    async def raw(self) -> list[Record]:
        return await self.cluster.read(self.cluster.topics.raw_suggestions)


@asynccontextmanager
async def carrying(
    bootstrap_servers: str,
    prefix: str,
    *,
    frames_per_s: float,
    valve_options: valve.Options | None = None,
    **ingress: Any,
) -> AsyncIterator[Carrying]:
    cluster = await a_cluster(bootstrap_servers, prefix)
    async with GenesysSimulator(frames_per_s=frames_per_s) as genesys:
        sections = {
            "genesys": genesys_options(genesys),
            "ingress": IngressOptions(interactions=NAMES, **ingress),
            "valve": valve_options or valve.Options(),
        }
        async with working(cluster, "ingress", **sections) as workers:
            yield Carrying(cluster=cluster, genesys=genesys, ingress=workers)


async def test_while_a_broker_is_away_what_fits_is_kept_in_order_and_the_rest_is_told(
    tmp_path: Path, prefix: str
) -> None:
    """Held frames go out first and in order; none that fits is lost, none doubled, and the producer is kept."""
    quick: dict[str, Any] = {"frames_per_s": 300, "max_queue_frames": 100, "pause_max_s": 0.5}
    with KafkaBroker(tmp_path / "broker", **QUICK) as broker:
        servers = broker.bootstrap_servers
        async with (
            carrying(servers, f"{prefix}roomy-", **quick) as roomy,
            carrying(servers, f"{prefix}narrow-", **quick, hold_max_frames=400) as narrow,
        ):
            for one in (roomy, narrow):
                await one.until_written(100)
            await asyncio.to_thread(broker.stop)
            for one in (roomy, narrow):
                await one.ingress.until(WritingStalled)
                await one.ingress.until(PauseOverrun)
                await one.until_sent(800)
            await asyncio.to_thread(broker.start)
            for one in (roomy, narrow):
                await one.ingress.until(WritingResumed)
                await one.end()
                assert one.genesys.state().closes == []
                assert one.ingress.all(LagUnknown) != []
                assert one.ingress.all(ProducerReplaced) == []
        for one in (roomy, narrow):
            assert_in_order(await one.raw())
            line = await frames_line(one.cluster, one.genesys)
            assert line.ok, line
            assert {gap.cause for gap in await gaps_of(one.cluster)} == {"stopped"}, "a shed is not also a gap"
        assert len(await roomy.raw()) == len(roomy.genesys.sent)
        sheds = await sheds_of(narrow.cluster)
        assert len(await narrow.raw()) + sum(shed.frames for shed in sheds) == len(narrow.genesys.sent)
        # What still comes while the buffer empties is shed for want of speed.
        assert {"kafka"} <= {shed.cause for shed in sheds} <= {"kafka", "queue"}


def _valve(prefix: str) -> valve.Options:
    """A valve that closes early, by another team's group that has read nothing yet: everything counts."""
    return valve.Options(
        close_above_records=100, reopen_at_records=20, sample_every_s=0.05, min_dwell_s=0.1, groups=(f"{prefix}theirs",)
    )


async def _open_again(one: Carrying, prefix: str) -> None:
    """The other team reads everything."""
    before = len(one.ingress.events)
    await read_to_the_end(one.cluster, f"{prefix}theirs")
    await one.ingress.until(ValveOpened, after=before)
    await one.ingress.until(ReadingResumed, after=before)


async def test_block_waits_for_another_teams_reader_and_no_frame_is_missed(bootstrap_servers: str, prefix: str) -> None:
    """The lag is told in records and in seconds, and its group is the one that `valve.groups` names."""
    async with carrying(
        bootstrap_servers,
        prefix,
        frames_per_s=100,
        valve_options=_valve(prefix),
        overflow="block",
        pause_max_s=0.2,
    ) as one:
        await one.ingress.until(ValveClosed)
        prolonged = await one.ingress.until(PauseProlonged)
        assert prolonged.cause == "valve"
        late = await one.ingress.until(LagSampled, lambda sampled: sampled.age_s > 1)
        assert late.lag_records > 100
        await _open_again(one, prefix)
        await one.end()
    assert len(await one.raw()) == len(one.genesys.sent)
    line = await frames_line(one.cluster, one.genesys)
    assert line.ok, line


async def test_write_goes_on_behind_a_closed_valve_and_no_frame_is_missed(bootstrap_servers: str, prefix: str) -> None:
    async with carrying(
        bootstrap_servers,
        prefix,
        frames_per_s=200,
        valve_options=_valve(prefix),
        overflow="write",
        pause_max_s=0.2,
    ) as one:
        await one.ingress.until(ValveClosed)
        overridden = await one.ingress.until(ValveOverridden)
        assert overridden.lag_records is not None
        await one.until_written(len(one.genesys.sent) + 200)
        assert one.ingress.all(ValveOpened) == []
        await one.end()
    assert len(await one.raw()) == len(one.genesys.sent)
    line = await frames_line(one.cluster, one.genesys)
    assert line.ok, line


async def test_shed_holds_the_newest_lists_behind_a_closed_valve_and_tells_the_rest(
    bootstrap_servers: str, prefix: str
) -> None:
    async with carrying(
        bootstrap_servers,
        prefix,
        frames_per_s=300,
        valve_options=_valve(prefix),
        overflow="shed",
        pause_max_s=0.2,
        hold_max_frames=100,
    ) as one:
        await one.ingress.until(ValveClosed)
        await one.ingress.until(PauseOverrun)
        await one.ingress.until(FramesShed, lambda _: one.shed > 200)
        # Before it opens: what is held is at its bound then, so one frame more would be shed for Kafka's sake.
        assert await one.genesys.stop_sending()
        await _open_again(one, prefix)
        await read_to_the_end(one.cluster, f"{prefix}theirs")
    sheds = await sheds_of(one.cluster)
    assert {shed.cause for shed in sheds} == {"valve"}
    assert len(await one.raw()) + sum(shed.frames for shed in sheds) == len(one.genesys.sent)
    assert_in_order(await one.raw())
    line = await frames_line(one.cluster, one.genesys)
    assert line.ok, line
