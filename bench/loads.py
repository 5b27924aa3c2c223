"""What the hops' benchmark writes: raw lists, ranked lists and clicks, and how fast they go to Kafka."""

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from functools import lru_cache
from random import Random
from typing import NamedTuple

import msgspec
from aiokafka import AIOKafkaProducer

from bridge.core import ranking
from bridge.core.partitions import partition_of
from bridge.core.records import Header, Kind, StoredRecord, digest, made_here
from bridge.core.topics import Topics
from bridge.simulator.frames import suggestions_frame
from bridge.workers.ranker import Newer, rank_batch

# Each interaction's agent takes one suggestion in so many lists.
LISTS_PER_CLICK = 10


class Load(NamedTuple):
    """A record to be written, and where to."""

    topic: str
    partition: int
    key: bytes
    value: bytes
    headers: tuple[Header, ...]


def raw_lists(topics: Topics, count: int, *, interactions: int, seed: int) -> Iterator[Load]:
    """Raw records of about 1.7 KB, none without suggestions; the interactions take turns."""
    for at, (key, value) in enumerate(_lists(count, interactions, seed)):
        # At 500 a second: no two of them have the same time.
        headers = made_here(kind=Kind.RECEIVED, subject=key.decode(), at_ms=at * 2, ce_id=digest(key, value))
        yield Load(topics.raw_suggestions, partition_of(key, topics.partitions), key, value, headers)


# Making them takes longer than working them.
@lru_cache(4)
def _lists(count: int, interactions: int, seed: int) -> list[tuple[bytes, bytes]]:
    chance = Random(seed)
    made: list[tuple[bytes, bytes]] = []
    serials = itertools.count()
    while len(made) < count:
        interaction = f"interaction-{len(made) % interactions:07}"
        value = suggestions_frame(interaction_id=interaction, serial=next(serials), at_ms=0, chance=chance)
        if b'"suggestions":[]' not in value:
            made.append((interaction.encode(), value))
    return made


def ranked_lists_and_clicks(topics: Topics, count: int, *, interactions: int, seed: int) -> Iterator[Load]:
    """Ranked lists as the ranker writes them, and after every tenth of an interaction a click on it."""
    options = ranking.Options(min_confidence=0.0)
    version = ranking.version(options)
    for at, one in enumerate(raw_lists(topics, count, interactions=interactions, seed=seed)):
        record = StoredRecord(
            topic=one.topic, partition=one.partition, offset=at, key=one.key, value=one.value, headers=one.headers
        )
        ranked = rank_batch([record], options=options, topics=topics, version=version, newer=Newer(now_ms=0))[0]
        assert ranked.topic == topics.ranked_suggestions
        yield Load(ranked.topic, one.partition, one.key, ranked.value or b"", ranked.headers)
        if at // interactions % LISTS_PER_CLICK == 0 or interactions > count:
            yield click(topics, one.key, one.partition, click_id=f"click-{seed}-{at}")


def click(topics: Topics, key: bytes, partition: int, *, click_id: str) -> Load:
    """A click as an agent's UI writes it."""
    body = {"interactionId": key.decode(), "suggestionId": "suggestion-001", "articleId": "article-001"}
    value = msgspec.json.encode(body | {"clickId": click_id})
    return Load(topics.suggestion_clicks, partition, key, value, ())


async def write(servers: str, loads: Sequence[Load]) -> None:
    """Writes all of them as fast as it goes, in their order within each partition of a topic."""
    producer = AIOKafkaProducer(
        bootstrap_servers=servers, enable_idempotence=True, compression_type="zstd", max_batch_size=256 * 1024
    )
    await producer.start()
    try:
        lanes: dict[tuple[str, int], list[Load]] = {}
        for load in loads:
            lanes.setdefault((load.topic, load.partition), []).append(load)
        await asyncio.gather(*(_write_lane(producer, lane, ours) for lane, ours in lanes.items()))
    finally:
        await producer.stop()


async def _write_lane(producer: AIOKafkaProducer, lane: tuple[str, int], loads: Sequence[Load]) -> None:
    topic, partition = lane
    waiting = list(reversed(loads))
    while waiting:
        batch = producer.create_batch()
        while waiting and _append(batch, waiting[-1]):
            waiting.pop()
        batch.close()
        await (await producer.send_batch(batch, topic, partition=partition))


def _append(batch: object, load: Load) -> bool:
    appended = batch.append(  # type: ignore[attr-defined] # aiokafka has no types
        key=load.key, value=load.value, timestamp=None, headers=list(load.headers)
    )
    return appended is not None
