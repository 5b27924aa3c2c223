"""A stream of raw records as ingress writes them, at a pace, without a Genesys; and the books of what came of it."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from random import Random
from time import monotonic

import msgspec
from aiokafka import AIOKafkaProducer

from bridge.adapters.kafka.verify import verify
from bridge.core.books import Accounts, FrameSent, Line, balance
from bridge.core.partitions import partition_of
from bridge.core.records import Kind, digest, made_here
from bridge.core.verify_findings import Report
from bridge.demo.accounts import is_delivered, read_topics
from bridge.simulator.frames import suggestions_frame
from bridge.simulator.kmp import Post
from bridge.simulator.times import now_ms, wait_for
from tests.kafka.cluster import Cluster

_TICK_S = 0.05


class Stream:
    """What was written so far; `stop` ends it."""

    def __init__(self, cluster: Cluster, *, per_s: float, interactions: int, seed: int) -> None:
        self.frames: list[FrameSent] = []
        self._cluster = cluster
        self._per_tick = per_s * _TICK_S
        self._interactions = [f"interaction-{number:02}" for number in range(interactions)]
        self._chance = Random(seed)
        self._ended = asyncio.Event()

    def end(self) -> None:
        """Writes no more."""
        self._ended.set()

    async def run(self) -> None:
        """Writes until `end`, and returns once the broker has everything."""
        began_s, due, answers = monotonic(), 0.0, list[asyncio.Future[object]]()
        async with self._cluster.producer() as producer:
            while not self._ended.is_set():
                due += self._per_tick
                while len(self.frames) < due:
                    answers.append(await self._write(producer))
                next_s = began_s + due / self._per_tick * _TICK_S
                await wait_for(self._ended, timeout_s=max(0.001, next_s - monotonic()))
            await asyncio.gather(*answers)

    async def _write(self, producer: AIOKafkaProducer) -> asyncio.Future[object]:
        serial, at_ms, topics = len(self.frames) + 1, now_ms(), self._cluster.topics
        interaction_id = self._interactions[serial % len(self._interactions)]
        value = suggestions_frame(interaction_id=interaction_id, serial=serial, at_ms=at_ms, chance=self._chance)
        ce_id = digest(value)
        self.frames.append(FrameSent(serial=serial, digest=ce_id, interaction_id=interaction_id, at_ms=at_ms))
        headers = made_here(kind=Kind.RECEIVED, subject=interaction_id, at_ms=at_ms, ce_id=ce_id)
        written: asyncio.Future[object] = await producer.send(
            topics.raw_suggestions,
            value,
            key=interaction_id.encode(),
            partition=partition_of(interaction_id.encode(), topics.partitions),
            timestamp_ms=at_ms,
            headers=list(headers),
        )
        return written


@asynccontextmanager
async def streaming(
    cluster: Cluster, *, per_s: float = 200, interactions: int = 16, seed: int = 1
) -> AsyncIterator[Stream]:
    """Writes raw records beside the block, and no longer than it."""
    stream = Stream(cluster, per_s=per_s, interactions=interactions, seed=seed)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(stream.run())
        try:
            yield stream
        finally:
            stream.end()


async def until_all_is_done(cluster: Cluster) -> None:
    """Returns once ranker, tally and exporter have worked everything that was written."""
    topics = cluster.topics
    await cluster.until_at_rest(
        ("ranker", topics.raw_suggestions),
        ("tally", topics.ranked_suggestions),
        ("tally", topics.suggestion_clicks),
        ("exporter", topics.acceptance_exports),
    )


async def books_of(
    cluster: Cluster, *, frames: Iterable[FrameSent], clicks: Iterable[str | None], posts: Sequence[Post]
) -> list[Line]:
    """The books, from what stands on the topics now and what the counterparts remember. Clicks are positions."""
    return balance(
        Accounts(
            topics=cluster.topics,
            frames=list(frames),
            clicks=list(clicks),
            held=sorted({post.key for post in posts if post.key and is_delivered(post)}),
            records=await read_topics(cluster.clients, cluster.topics),
        )
    )


def assert_balanced(books: Sequence[Line]) -> None:
    """Every line balances, and none of them is empty: there was something to count."""
    wrong = _wrong_in(books)
    assert not wrong, "\n".join(wrong)
    assert [line.line for line in books if not line.left] == []


def _wrong_in(books: Sequence[Line]) -> list[str]:
    return [f"{line.line}: missing {line.missing[:5]}, doubled {line.doubled[:5]}" for line in books if not line.ok]


async def assert_verified(cluster: Cluster, *, is_done: bool = True) -> Report:
    """`bridge verify` finds nothing wrong; and nothing open, where everything `is_done`."""
    async with asyncio.timeout(60):
        report = await verify(cluster.clients, cluster.topics)
    wrong = [f"{line.line}: {line.wrong} wrong" for line in report.lines if not line.ok]
    assert report.balanced, "\n".join([*wrong, *(str(one) for one in report.offenders)])
    assert not is_done or [line.line for line in report.lines if line.open] == []
    return report


async def assert_that_all_is_there(
    cluster: Cluster, *, frames: Iterable[FrameSent], clicks: Iterable[str | None], posts: Sequence[Post]
) -> Report:
    """The books balance with what the counterparts remember, and by what stands on the topics alone."""
    books = await books_of(cluster, frames=frames, clicks=clicks, posts=posts)
    try:
        report = await assert_verified(cluster)
    except AssertionError as error:
        # Of the two, this one names the places of what is wrong.
        raise AssertionError("\n".join([*_wrong_in(books), str(error)])) from error
    assert_balanced(books)
    return report


class _Body(msgspec.Struct, rename="camel"):
    interaction_id: str


def assert_in_order(posts: Sequence[Post]) -> None:
    """The first attempts of each interaction's exports came in the order of their offsets."""
    firsts: dict[str, dict[str, tuple[int, ...]]] = defaultdict(dict)
    for post in posts:
        interaction_id = msgspec.json.decode(post.body, type=_Body).interaction_id
        place = tuple(int(part) for part in (post.sequence or "").split("/"))
        firsts[interaction_id].setdefault(post.key or "", place)
    for places in firsts.values():
        assert list(places.values()) == sorted(places.values())
