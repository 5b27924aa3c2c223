"""Every frame that Genesys sent and that is on no topic lies within a gap that was told."""

from collections.abc import Sequence
from random import Random

import pytest

from bridge.core import valve
from bridge.core.events.genesys import SocketClosed, SocketOpened
from bridge.core.events.ingress import PauseProlonged, ReadingResumed, ValveClosed
from bridge.core.events.subscriptions import GapsTold
from bridge.simulator.genesys import GenesysSimulator
from bridge.simulator.script import AbortSockets, Burst, CloseSockets, ExpireTokens, Fault, SendFrame
from bridge.workers.ingress import Options as IngressOptions
from tests.e2e.receiving import (
    NAMES,
    a_cluster,
    assert_apart,
    assert_in_order,
    frames_line,
    gaps_of,
    quick_reconnects,
    read_to_the_end,
)
from tests.kafka.working import working

pytestmark = [pytest.mark.kafka, pytest.mark.e2e]

_CUTS = 12
# How a socket may end, and what the gap is told to have been caused by.
_ENDS: Sequence[tuple[Fault, str]] = (
    (AbortSockets(name="reset"), "dropped"),
    (CloseSockets(name="1001", code=1001), "closed"),
    (CloseSockets(name="1008", code=1008), "policy"),
    (CloseSockets(name="1011", code=1011), "broken"),
    (CloseSockets(name="1012", code=1012), "restarting"),
    (ExpireTokens(name="4001"), "token"),
    # Beyond what the socket takes: our side closes with 1009.
    (SendFrame(name="1009", body="x" * (8 * 1024 * 1024 + 1)), "oversize"),
)


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_socket_that_is_cut_at_random_under_load_loses_no_frame_untold(
    bootstrap_servers: str, prefix: str, seed: int
) -> None:
    chance = Random(seed)
    cluster = await a_cluster(bootstrap_servers, prefix)
    ends = [*_ENDS, *chance.choices(_ENDS, k=_CUTS - len(_ENDS))]
    chance.shuffle(ends)
    async with (
        GenesysSimulator(frames_per_s=500, seed=seed) as genesys,
        working(
            cluster, "ingress", genesys=quick_reconnects(genesys), ingress=IngressOptions(interactions=NAMES)
        ) as ingress,
    ):
        await ingress.until(SocketOpened)
        for fault, cause in ends:
            await _until_carried(genesys)
            before = len(ingress.events)
            # So that there is something under way.
            genesys.post(Burst(name="burst", frames=chance.randint(50, 400)))
            enough = len(genesys.sent) + chance.randint(1, 40)
            await genesys.until(lambda enough=enough: len(genesys.sent) >= enough)  # type: ignore[misc]
            genesys.post(fault, Burst(name="behind it", frames=100))
            closed = await ingress.until(SocketClosed, after=before)
            assert closed.cause == cause
            await ingress.until(GapsTold, lambda told, cause=cause: told.cause == cause, after=before)  # type: ignore[misc]
        await _until_carried(genesys)
    gaps = await gaps_of(cluster)
    assert_apart(gaps)
    assert {gap.cause for gap in gaps} == {*(cause for _, cause in ends), "stopped"}
    line = await frames_line(cluster, genesys)
    assert line.ok, (line, len(genesys.sent))
    assert_in_order(await cluster.read(cluster.topics.raw_suggestions))


async def _until_carried(genesys: GenesysSimulator) -> None:
    """Returns when everything is subscribed on one socket, and frames come."""
    await genesys.until(lambda: len(genesys.state().subscriptions) == len(NAMES))
    enough = len(genesys.sent) + len(NAMES)
    await genesys.until(lambda: len(genesys.sent) >= enough)


async def test_a_pause_past_the_patience_of_genesys_is_a_told_gap(bootstrap_servers: str, prefix: str) -> None:
    """`block`: Genesys gives the socket up. What it had sent until then is read, or lies within the gap."""
    cluster = await a_cluster(bootstrap_servers, prefix)
    raw = cluster.topics.raw_suggestions
    options = valve.Options(
        close_above_records=100, reopen_at_records=20, sample_every_s=0.05, min_dwell_s=0.1, groups=(f"{prefix}theirs",)
    )
    async with (
        GenesysSimulator(frames_per_s=200, patience_s=1.0) as genesys,
        working(
            cluster,
            "ingress",
            genesys=quick_reconnects(genesys),
            ingress=IngressOptions(interactions=NAMES, overflow="block", pause_max_s=0.2),
            valve=options,
        ) as ingress,
    ):
        await ingress.until(ValveClosed)
        await ingress.until(PauseProlonged)
        # More than the buffers of TCP take.
        genesys.post(Burst(name="burst", frames=8_000))
        await genesys.until(lambda: genesys.state().closes != [], timeout_s=30)
        before = len(ingress.events)
        await read_to_the_end(cluster, f"{prefix}theirs")
        await ingress.until(ReadingResumed, after=before)
        await ingress.until(GapsTold, after=before)
        await _until_carried(genesys)
    line = await frames_line(cluster, genesys)
    assert line.ok, (line, len(genesys.sent))
    assert len(await cluster.read(raw)) < len(genesys.sent), "some were lost, and told"
    gaps = await gaps_of(cluster)
    assert_apart(gaps)
    assert {gap.cause for gap in gaps} == {"dropped", "stopped"}
