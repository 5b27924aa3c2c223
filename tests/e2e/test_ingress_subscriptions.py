"""Subscriptions that come and go while ingress runs, by `interaction-subscriptions` alone."""

import asyncio
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any

import msgspec
import pytest

from bridge.core.events.subscriptions import SubscriptionsEnded, SubscriptionSetAside
from bridge.core.partitions import partition_of
from bridge.core.records import header_of
from bridge.core.subscriptions import subscription_record
from bridge.core.times import to_rfc3339
from bridge.core.values import Subscription, encode
from bridge.simulator.genesys import GenesysSimulator
from bridge.simulator.times import now_ms, wait_for
from bridge.workers.ingress import Options as IngressOptions
from tests.e2e.receiving import a_cluster, assert_in_order, audits, frames_line, gaps_of, until_written
from tests.kafka.cluster import Cluster
from tests.kafka.working import genesys_options, working

pytestmark = [pytest.mark.broker, pytest.mark.e2e]

_MANY = 2_000
_CHANGES_PER_S = 200
_CHANGING_S = 3.0
_TICK_S = 0.05


async def write(cluster: Cluster, changes: Iterable[tuple[str, bool]]) -> None:
    """Writes subscriptions (True) and nulls (False), in this order."""
    async with cluster.producer() as producer:
        for name, is_wanted in changes:
            await producer.send(
                **_sent(cluster, name, encode(Subscription(interaction_id=name)) if is_wanted else None)
            )
        await producer.flush()


def _sent(cluster: Cluster, name: str, value: bytes | None, *, at_ms: int | None = None, shift: int = 0) -> Any:
    record = subscription_record(cluster.topics.interaction_subscriptions, name, value=value, at_ms=now_ms())
    return {
        "topic": record.topic,
        "key": record.key,
        "value": value,
        "partition": (partition_of(name.encode(), 4) + shift) % 4,
        "timestamp_ms": at_ms,
        "headers": list(record.headers),
    }


async def test_thousands_of_interactions_change_on_one_socket_while_frames_come(
    bootstrap_servers: str, prefix: str
) -> None:
    cluster = await a_cluster(bootstrap_servers, prefix)
    raw = cluster.topics.raw_suggestions
    wanted = [f"first-{number}" for number in range(_MANY)]
    await write(cluster, ((name, True) for name in wanted))
    async with (
        GenesysSimulator(frames_per_s=500) as genesys,
        working(cluster, "ingress", genesys=genesys_options(genesys)) as ingress,
    ):
        await genesys.until(_carries(genesys, wanted), timeout_s=30)
        before, began_s = len(genesys.sent), monotonic()
        changes = await _change(cluster, wanted)
        changed_s, sent = monotonic() - began_s, len(genesys.sent) - before
        await genesys.until(_carries(genesys, wanted), timeout_s=5)
        assert genesys.state().closes == [], "without reconnecting"
        assert await genesys.stop_sending()
        await until_written(ingress, raw, len(genesys.sent))
        assert sum(event.interactions for event in ingress.all(SubscriptionsEnded)) == changes / 2
    assert changes / changed_s > _CHANGES_PER_S / 2, "the machine is too slow for this test"
    assert sent / changed_s > 250, "the machine is too slow for this test"
    assert (await frames_line(cluster, genesys)).ok
    assert_in_order(await cluster.read(raw))
    assert len(await audits(cluster, "subscription_started")) == _MANY + changes / 2


async def _change(cluster: Cluster, wanted: list[str]) -> int:
    """Ends the oldest subscriptions and writes new ones for some seconds; `wanted` follows."""
    per_tick = int(_CHANGES_PER_S * _TICK_S)
    ticks = int(_CHANGING_S / _TICK_S)
    never = asyncio.Event()
    began_s = monotonic()
    for tick in range(ticks):
        ended = [wanted.pop(0) for _ in range(per_tick // 2)]
        begun = [f"new-{tick}-{number}" for number in range(per_tick // 2)]
        wanted += begun
        await write(cluster, [*((name, False) for name in ended), *((name, True) for name in begun)])
        await wait_for(never, timeout_s=max(0.0, began_s + (tick + 1) * _TICK_S - monotonic()))  # A pace.
    return ticks * per_tick


def _carries(genesys: GenesysSimulator, names: list[str]) -> Callable[[], bool]:
    return lambda: genesys.state().subscriptions.keys() == set(names)


class _Ended(msgspec.Struct, rename="camel"):
    interaction_id: str
    reason: str


async def test_what_the_topic_says_is_what_is_subscribed_and_a_restart_restores_it(
    bootstrap_servers: str, prefix: str
) -> None:
    """Tombstones, expiry, refusals, records that are none; and after a stop, everything again from the topic."""
    cluster = await a_cluster(bootstrap_servers, prefix)
    topics = cluster.topics
    await write(cluster, [("kept", True), ("over", True), ("refused", True), ("over before", True)])
    await write(cluster, [("over before", False)])
    await _write_strange(cluster)
    async with GenesysSimulator(frames_per_s=50, refuse=["refused"]) as genesys:
        async with working(
            cluster, "ingress", genesys=genesys_options(genesys), ingress=IngressOptions(subscription_ttl_s=3_600)
        ) as ingress:
            await genesys.until(_carries(genesys, ["kept", "over", "soon"]))
            await ingress.until(SubscriptionSetAside, lambda aside: aside.dlq_class == "misplaced")
            await ingress.until(SubscriptionsEnded, lambda ended: ended.reason == "refused: forbidden")
            await write(cluster, [("over", False)])
            await genesys.until(_carries(genesys, ["kept"]))
            await ingress.until(SubscriptionsEnded, lambda ended: ended.reason == "expired" and ended.interactions == 1)
        last_ms = {record.partition: record.timestamp for record in await cluster.read(topics.raw_suggestions)}
        async with working(cluster, "ingress", genesys=genesys_options(genesys)) as again:
            await again.until(SubscriptionsEnded, lambda ended: ended.reason == "refused: forbidden")
            await genesys.until(_carries(genesys, ["kept"]))
            assert again.all(SubscriptionSetAside) != [], "at least once: it is still there, and young"
        assert genesys.state().tokens_issued >= 2
    ended = [msgspec.json.decode(one.value or b"", type=_Ended) for one in await audits(cluster, "subscription_ended")]
    assert {(one.interaction_id, one.reason) for one in ended} == {
        ("over", "unsubscribed"),
        ("refused", "refused: forbidden"),
        ("soon", "expired"),
        ("long ago", "expired"),
    }
    letters = await cluster.read(topics.dlq_ingress)
    assert {(one.key, header_of(one, "x-dlq-class")) for one in letters} == {
        (b"misplaced", b"misplaced"),
        (b"malformed", b"schema"),
        (b"other", b"key-mismatch"),
    }
    nulls = [one.key for one in await cluster.read(topics.interaction_subscriptions) if one.value is None]
    assert set(nulls) == {b"long ago", b"over", b"over before", b"soon"}
    takeovers = {gap.interaction_id: gap.from_ms for gap in await gaps_of(cluster) if gap.cause == "takeover"}
    assert takeovers["kept"] == last_ms[partition_of(b"kept", 4)], "from the last record of its partition"
    assert (await frames_line(cluster, genesys)).ok


async def _write_strange(cluster: Cluster) -> None:
    """A subscription that will expire, one that has, and three records that are none."""
    soon = encode(Subscription(interaction_id="soon", expires_at=to_rfc3339(now_ms() + 4_000)))
    plain = {name: encode(Subscription(interaction_id=name)) for name in ("long ago", "misplaced", "another")}
    async with cluster.producer() as producer:
        await producer.send(**_sent(cluster, "soon", soon))
        await producer.send(**_sent(cluster, "long ago", plain["long ago"], at_ms=now_ms() - 4_000_000))
        await producer.send(**_sent(cluster, "misplaced", plain["misplaced"], shift=1))
        await producer.send(**_sent(cluster, "malformed", b"[]"))
        await producer.send(**_sent(cluster, "other", plain["another"]))
        await producer.flush()
