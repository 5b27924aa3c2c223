"""`status` on a real broker: owners, positions, ages, subscriptions, dead letters."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CoordinatorLoadInProgressError, NotCoordinatorForGroupError

from bridge.adapters.kafka import status as kafka_status
from bridge.adapters.kafka.status import KafkaStatus, open_status
from bridge.core.dead_letters import dead_frame
from bridge.core.errors import StartError, UnavailableError
from bridge.core.partitions import partition_of
from bridge.core.replay import note_of
from bridge.core.status import GroupStatus
from bridge.simulator.kmp import KmpSimulator
from tests.fakes.world import World
from tests.kafka.cluster import Cluster
from tests.kafka.loading import create_topics, load
from tests.kafka.stream import streaming, until_all_is_done
from tests.kafka.working import kmp_options, working

pytestmark = pytest.mark.broker

_HOUR_MS = 3_600_000


@pytest.fixture
async def cluster(bootstrap_servers: str, prefix: str) -> Cluster:
    cluster = Cluster(bootstrap_servers, prefix)
    await create_topics(cluster)
    return cluster


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


async def _groups(cluster: Cluster) -> dict[str, GroupStatus]:
    async with open_status(cluster.clients, cluster.topics) as status:
        return {one.worker: one for one in await status.groups(now_ms=_now_ms())}


async def test_working_groups_have_owners_and_positions(cluster: Cluster) -> None:
    async with KmpSimulator() as kmp, working(cluster, "ranker", "tally", "exporter", kmp=kmp_options(kmp)):
        async with streaming(cluster):
            await cluster.read(cluster.topics.ranked_suggestions, until=lambda records: len(records) > 50)
        await until_all_is_done(cluster)
        groups = await _groups(cluster)
    for worker in ("ranker", "tally", "exporter"):
        group = groups[worker]
        assert (group.state, group.members, group.unowned, group.lag) == ("Stable", 1, 0, 0)
        assert group.oldest_s is None
        assert all(one.owner.startswith("bridge-") for one in group.partitions)
        assert all(one.owner.endswith("@127.0.0.1") for one in group.partitions)
        assert [one.position for one in group.partitions] == [one.end for one in group.partitions]
    assert (groups["ingress"].members, groups["ingress"].unowned) == (0, 2)


async def test_groups_that_never_worked_have_nothing(cluster: Cluster) -> None:
    ranker = (await _groups(cluster))["ranker"]
    assert (ranker.state, ranker.members, ranker.lag, ranker.unowned) == ("no member yet", 0, None, 2)


@asynccontextmanager
async def _described_as(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, *codes: int) -> AsyncIterator[KafkaStatus]:
    """A status whose first questions for a group are answered with these errors."""
    left = list(codes)
    async with open_status(cluster.clients, cluster.topics) as status:
        describe = status._admin.describe_consumer_groups

        async def describe_consumer_groups(groups: list[str]) -> list[Any]:
            if not left:
                return await describe(groups)  # type: ignore[no-any-return]
            return [SimpleNamespace(groups=[(left.pop(0), groups[0], "", "", "", [])])]

        monkeypatch.setattr(status._admin, "describe_consumer_groups", describe_consumer_groups)
        yield status


async def test_a_group_whose_coordinator_moves_is_asked_again(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answer has an error, and no members: that is no group without an owner."""
    codes = (CoordinatorLoadInProgressError.errno, NotCoordinatorForGroupError.errno)
    async with _described_as(cluster, monkeypatch, *codes) as status:
        states = {one.worker: one.state for one in await status.groups(now_ms=_now_ms())}
    assert states["ingress"] == states["ranker"] == "no member yet"


async def test_without_positions_it_says_which(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    async def committed_positions(*_: object, **__: object) -> object:
        raise UnavailableError("Kafka", "no committed positions of ranker")

    monkeypatch.setattr(kafka_status, "committed_positions", committed_positions)
    monkeypatch.setattr(kafka_status, "_ANSWER_S", 3.0)
    async with open_status(cluster.clients, cluster.topics) as status:
        with pytest.raises(UnavailableError, match="no committed positions of ranker"):
            await status.groups(now_ms=_now_ms())


async def test_the_oldest_record_that_waits_has_an_age(cluster: Cluster) -> None:
    world = World(cluster.topics, at_ms=_now_ms() - _HOUR_MS)
    world.frame("i-1", 0.9)
    world.work()
    for _ in range(3):
        world.frame("i-1", 0.9)
    await load(cluster, world, World(cluster.topics, number=1))
    ranker = (await _groups(cluster))["ranker"]
    assert (ranker.lag, [one.lag for one in ranker.partitions]) == (3, [3, 0])
    assert ranker.oldest_s is not None
    assert 3_500 < ranker.oldest_s < 3_700


async def test_records_that_an_open_transaction_hides_are_told(cluster: Cluster) -> None:
    topic = cluster.topics.raw_suggestions
    await cluster.send(topic, b"{}")
    await cluster.commit("ranker", {TopicPartition(topic, 0): 1})
    async with cluster.clients.transactional_producer(f"{cluster.options.prefix}someone-0") as writer:
        await writer.begin_transaction()
        for _ in range(2):
            await writer.send_and_wait(topic, b"{}", partition=0)
        hiding = (await _groups(cluster))["ranker"]
        await writer.abort_transaction()
    # Waits for the marker.
    await cluster.read(topic)
    shown = (await _groups(cluster))["ranker"]
    assert [(one.lag, one.oldest_s, one.hidden) for one in hiding.partitions] == [(0, None, 2), (None, None, 0)]
    assert shown.hidden == 0


async def test_subscriptions_that_are_alive_are_counted(cluster: Cluster) -> None:
    topic = cluster.topics.interaction_subscriptions
    await cluster.send(topic, b'{"interactionId":"i-1"}', b'{"interactionId":"i-1"}', number=_number_of("i-1"))
    expired = b'{"interactionId":"i-2","expiresAt":"2020-01-01T00:00:00Z"}'
    await cluster.send(topic, expired, key=b"i-2", number=_number_of("i-2"))
    await cluster.send(topic, b'{"interactionId":"i-3"}', key=b"i-3", number=1 - _number_of("i-3"))
    async with open_status(cluster.clients, cluster.topics) as status:
        assert await status.subscriptions(ttl_s=60, now_ms=_now_ms()) == 1
        assert await status.subscriptions(ttl_s=60, now_ms=_now_ms() + 120_000) == 0


def _number_of(interaction: str) -> int:
    return partition_of(interaction.encode(), 2)


async def test_dead_letters_are_counted_by_topic_and_class(cluster: Cluster) -> None:
    topic = cluster.topics.dlq_ingress
    for dlq_class, count in (("decode", 2), ("schema", 1)):
        letter = dead_frame(b"x", topic=topic, partition=0, dlq_class=dlq_class, reason="no", size=1, at_ms=_now_ms())
        await cluster.send(topic, *[b"x"] * count, headers=letter.headers)
    note = note_of(topic, 0, [0], at_ms=_now_ms())
    await cluster.send(topic, note.value or b"", headers=note.headers)
    async with open_status(cluster.clients, cluster.topics) as status:
        letters = await status.letters(since_ms=_now_ms() - _HOUR_MS)
        later = await status.letters(since_ms=_now_ms() + _HOUR_MS)
    assert [(one.topic, one.dlq_class, one.count) for one in letters.counts] == [
        (topic, "decode", 2),
        (topic, "schema", 1),
    ]
    assert letters.is_all
    assert later.counts == []


async def test_without_topics_it_says_so(bootstrap_servers: str, prefix: str) -> None:
    cluster = Cluster(bootstrap_servers, prefix)
    with pytest.raises(StartError, match="does not exist"):
        async with open_status(cluster.clients, cluster.topics):
            pass


async def test_without_kafka_it_says_so() -> None:
    cluster = Cluster("127.0.0.1:1", "nowhere-")
    with pytest.raises(UnavailableError):
        async with open_status(cluster.clients, cluster.topics):
            pass
