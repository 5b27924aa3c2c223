"""Ingress as several processes that share the interactions, and one that dies."""

from collections import defaultdict
from contextlib import AsyncExitStack
from time import monotonic

import pytest

from bridge.core.partitions import partition_of
from bridge.core.records import Record, header_of
from bridge.simulator.genesys import GenesysSimulator
from bridge.simulator.times import now_ms
from tests.e2e.processes import Bridge, environment_of, genesys_environment, running, stop_all
from tests.e2e.receiving import a_cluster, assert_apart, frames_line, gaps_of
from tests.kafka.cluster import Cluster

pytestmark = [pytest.mark.kafka, pytest.mark.e2e]

_INTERACTIONS = 40
_SESSION_S = 3.0


async def test_replicas_share_the_interactions_and_a_rebalance_moves_only_what_has_to_move(
    bootstrap_servers: str, prefix: str
) -> None:
    """Sockets stay open, each interaction is on one; after kill -9 on another one, within session and rebalance."""
    cluster = await a_cluster(bootstrap_servers, prefix, session_timeout_ms=int(_SESSION_S * 1000))
    async with AsyncExitStack() as stack, GenesysSimulator(frames_per_s=300) as genesys:
        options = genesys_environment(genesys.base_url, interactions=_INTERACTIONS)
        environment = environment_of(cluster, **options)
        first = await stack.enter_async_context(running("run", "ingress", **environment))
        await _until_carried(genesys, sockets=1)
        others = [await stack.enter_async_context(running("run", "ingress", **environment)) for _ in range(2)]
        await _until_carried(genesys, sockets=3)
        assert genesys.state().closes == [], "a rebalance keeps the sockets"
        _assert_nothing_else_was_sent(cluster, first)
        await _until_written_in_every_partition(cluster)

        victim = others[0]
        began_s, before = monotonic(), len(genesys.state().closes)
        victim.kill()
        await genesys.until(lambda: len(genesys.state().closes) > before)
        await _until_carried(genesys, sockets=2)
        assert monotonic() - began_s < _SESSION_S + cluster.options.rebalance_timeout_ms / 1000
        assert len(genesys.state().closes) == 1, "those of the others stay open"

        assert await genesys.stop_sending()
        await stop_all(first, others[1])
    gaps = await gaps_of(cluster)
    assert_apart(gaps)
    assert {"takeover", "stopped"} <= {gap.cause for gap in gaps}
    line = await frames_line(cluster, genesys)
    assert line.missing == (), line
    ids: dict[bytes | None, set[bytes | None]] = defaultdict(set)
    for record in await cluster.read(cluster.topics.raw_suggestions):
        ids[record.value].add(header_of(record, "ce_id"))
    assert {len(one) for one in ids.values()} == {1}, "what two of them brought has the same id"


async def test_a_process_that_is_killed_tells_when_it_is_back_what_it_may_have_missed(
    bootstrap_servers: str, prefix: str
) -> None:
    """What it had read and not written, and what came while it was away, lies between its last records and then."""
    cluster = await a_cluster(bootstrap_servers, prefix, session_timeout_ms=int(_SESSION_S * 1000))
    raw = cluster.topics.raw_suggestions
    async with GenesysSimulator(frames_per_s=500) as genesys:
        options = genesys_environment(genesys.base_url, interactions=_INTERACTIONS)
        environment = environment_of(cluster, **options)
        last_ms: dict[int, int] = {}
        for _ in range(2):
            async with running("run", "ingress", **environment) as killed:
                await _until_carried(genesys, sockets=1)
                await _until_written_in_every_partition(cluster)
                killed.kill()
                assert await killed.code() == -9
            last_ms = {record.partition: record.timestamp for record in await cluster.read(raw)}
        async with running("run", "ingress", **environment) as last:
            await _until_carried(genesys, sockets=1)
            assert await genesys.stop_sending()
            await stop_all(last)
    gaps = await gaps_of(cluster)
    assert_apart(gaps)
    takeovers = sorted((gap for gap in gaps if gap.cause == "takeover"), key=lambda gap: gap.to_ms)[-_INTERACTIONS:]
    assert {gap.from_ms for gap in takeovers} == set(last_ms.values())
    line = await frames_line(cluster, genesys)
    assert line.ok, line


def _assert_nothing_else_was_sent(cluster: Cluster, replica: Bridge) -> None:
    """What it subscribed and unsubscribed is what it gained and lost, once each."""
    assigned = replica.told("partitions_assigned")
    sent = replica.told("subscriptions_sent")
    assert sent[-1]["subscriptions"] == sum(one["subscribed"] - one["unsubscribed"] for one in sent)
    names = [f"interaction-{number:02}" for number in range(_INTERACTIONS)]
    per_partition = [sum(partition_of(name.encode(), 4) == number for name in names) for number in range(4)]
    assert sum(one["subscribed"] for one in sent) == sum(per_partition), "none was sent twice"
    assert assigned[-1]["owned"] < 4


async def _until_written_in_every_partition(cluster: Cluster) -> None:
    """A frame that was received after now: until then a next owner knows of none since the last one's takeover."""
    now = now_ms()

    def is_written(read: list[Record]) -> bool:
        return len({record.partition for record in read if record.timestamp > now}) == 4

    await cluster.read(cluster.topics.raw_suggestions, until=is_written)


async def _until_carried(genesys: GenesysSimulator, *, sockets: int) -> None:
    """Every interaction is subscribed on exactly one socket, all sockets are open and have some."""
    await genesys.until(lambda: _is_carried(genesys, sockets=sockets), timeout_s=60)


def _is_carried(genesys: GenesysSimulator, *, sockets: int) -> bool:
    state = genesys.state()
    carriers = {tuple(numbers) for numbers in state.subscriptions.values()}
    return (
        len(state.subscriptions) == _INTERACTIONS
        and all(len(numbers) == 1 for numbers in carriers)
        and len(carriers) == state.open_sockets == sockets
    )
