"""What ingress wrote of what Genesys sent, and what it says that it missed."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import msgspec
from aiokafka import TopicPartition

from bridge.adapters.genesys.options import Options as GenesysOptions
from bridge.adapters.kafka.topics import apply
from bridge.core.books import FrameSent, Line
from bridge.core.events.ingress import FramesWritten
from bridge.core.records import Record
from bridge.core.times import from_rfc3339
from bridge.core.topics import plans_of
from bridge.simulator.genesys import GenesysSimulator
from tests.kafka.cluster import Cluster
from tests.kafka.stream import assert_verified, books_of
from tests.kafka.working import Workers, genesys_options

NAMES = tuple(f"interaction-{number:02}" for number in range(20))


class Gap(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A `reception_gap` of the audit."""

    interaction_id: str
    from_: str | None = msgspec.field(name="from")
    to: str
    cause: str

    @property
    def from_ms(self) -> int:
        return 0 if self.from_ is None else from_rfc3339(self.from_)

    @property
    def to_ms(self) -> int:
        return from_rfc3339(self.to)


class Shed(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A `suggestions_shed` of the audit."""

    interaction_id: str
    frames: int
    cause: str


class _Event(msgspec.Struct, rename="camel"):
    event: str
    interaction_id: str


class _Frame(msgspec.Struct, rename="camel"):
    interaction_id: str
    serial: int


async def a_cluster(bootstrap_servers: str, prefix: str, **options: Any) -> Cluster:
    """A test's own topics, four partitions each, once the broker knows all of them."""
    cluster = Cluster(bootstrap_servers, prefix, partitions=4, **options)
    await apply(cluster.clients, plans_of(cluster.topics), partitions=4, replication_factor=1, dry_run=False)
    return cluster


def quick_reconnects(genesys: GenesysSimulator) -> GenesysOptions:
    """The section `genesys` for tests that cut the socket: delays of milliseconds."""
    return replace(
        genesys_options(genesys),
        reconnect_first_s=0.01,
        reconnect_cap_s=0.1,
        reconnect_jitter_s=0.01,
        quota_poll_s=0.05,
    )


def frames_of(genesys: GenesysSimulator) -> list[FrameSent]:
    """The frames with suggestions that were sent, as the books take them."""
    return [
        FrameSent(serial=one.serial, digest=one.digest, interaction_id=one.interaction_id, at_ms=one.at_ms)
        for one in genesys.sent
        if one.kind == "suggestions"
    ]


async def frames_line(cluster: Cluster, genesys: GenesysSimulator) -> Line:
    """The line of the books that says where each frame is: on a topic, or lost inside a told gap."""
    await assert_verified(cluster, is_done=False)
    return (await books_of(cluster, frames=frames_of(genesys), clicks=[], posts=[]))[0]


async def audits(cluster: Cluster, event: str) -> list[Record]:
    """The audit events of one kind."""
    records = await cluster.read(cluster.topics.suggestion_audit)
    return [one for one in records if msgspec.json.decode(one.value or b"", type=_Event).event == event]


async def gaps_of(cluster: Cluster) -> list[Gap]:
    """Every gap that was told."""
    return [msgspec.json.decode(one.value or b"", type=Gap) for one in await audits(cluster, "reception_gap")]


async def sheds_of(cluster: Cluster) -> list[Shed]:
    """Every shed that was told."""
    return [msgspec.json.decode(one.value or b"", type=Shed) for one in await audits(cluster, "suggestions_shed")]


def assert_apart(gaps: Iterable[Gap]) -> None:
    """No two gaps of one interaction and cause overlap."""
    by_cause: dict[tuple[str, str], list[Gap]] = defaultdict(list)
    for gap in gaps:
        by_cause[gap.interaction_id, gap.cause].append(gap)
    for several in by_cause.values():
        several.sort(key=lambda gap: gap.to_ms)
        assert all(gap.from_ms <= gap.to_ms for gap in several)
        assert all(earlier.to_ms <= later.from_ms for earlier, later in pairwise(several)), several


def assert_in_order(raw: Sequence[Record]) -> None:
    """The frames of each interaction stand in the order in which they were sent, none twice."""
    serials: dict[str, list[int]] = defaultdict(list)
    for record in raw:
        frame = msgspec.json.decode(record.value or b"", type=_Frame)
        serials[frame.interaction_id].append(frame.serial)
    for mine in serials.values():
        assert mine == sorted(set(mine))


def written(ingress: Workers, topic: str) -> int:
    """How many records of a topic the brokers have acknowledged."""
    return sum(event.records for event in ingress.all(FramesWritten) if event.topic == topic)


async def until_written(ingress: Workers, topic: str, count: int) -> None:
    """Returns once so many records of the topic are acknowledged (at most 60 s)."""
    if written(ingress, topic) < count:
        await ingress.until(FramesWritten, lambda _: written(ingress, topic) >= count, after=len(ingress.events))


async def read_to_the_end(cluster: Cluster, group: str) -> None:
    """Another team's consumer has read everything."""
    consumer = cluster.clients.group_consumer(group)
    await consumer.start()
    try:
        partitions = [TopicPartition(cluster.topics.raw_suggestions, number) for number in range(4)]
        consumer.assign(partitions)
        await consumer.commit(await consumer.end_offsets(partitions))
    finally:
        await consumer.stop()
