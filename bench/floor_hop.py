"""The floor for ranker and tally: the plainest aiokafka loop that is exactly once by the same design.

One transactional producer for each partition, getmany, `send` for each output, every future awaited before the commit.
No audit, no dead letters, no restore, no checks, no bound on repeats, no metrics; for the tally no merge by time: lists
and clicks are counted as they come.

    python -m bench.floor_hop ranker SERVERS PREFIX RAW RANKED
    python -m bench.floor_hop tally SERVERS PREFIX RANKED CLICKS ACCEPTANCE EXPORTS
"""

import asyncio
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

_Output = tuple[str, bytes, bytes]


class _Scores(msgspec.Struct, rename="camel"):
    confidence: float | None = None
    relevance_score: float | None = None


class _Raw(msgspec.Struct, rename="camel"):
    interaction_id: str
    suggestions: list[msgspec.Raw]


class _Ranked(msgspec.Struct, rename="camel"):
    interaction_id: str
    ranked_suggestions: list[msgspec.Raw]


class _Keyed(msgspec.Struct, rename="camel"):
    interaction_id: str
    article_id: str = ""


class _Counts(msgspec.Struct, rename="camel"):
    interaction_id: str
    retrieved: int = 0
    accepted: int = 0


class _Export(msgspec.Struct, rename="camel"):
    interaction_id: str
    accepted_article_id: str
    acceptance_rate: float


class Ranker:
    """A list in, a list out."""

    def __init__(self, raw: str, ranked: str) -> None:
        self.inputs = [raw]
        self._ranked = ranked
        self._lists = msgspec.json.Decoder(_Raw)
        self._scores = msgspec.json.Decoder(_Scores)

    def work(self, records: Sequence[Any]) -> Iterator[_Output]:
        """What is to be written."""
        for record in records:
            found = self._lists.decode(record.value)
            suggestions = sorted(found.suggestions, key=self._score, reverse=True)
            ranked = _Ranked(interaction_id=found.interaction_id, ranked_suggestions=suggestions)
            yield self._ranked, record.key, msgspec.json.encode(ranked)

    def _score(self, suggestion: msgspec.Raw) -> float:
        scores = self._scores.decode(suggestion)
        return 0.6 * (scores.relevance_score or 0.0) + 0.4 * (scores.confidence or 0.0)


class Tally:
    """Counts of each interaction, and an export for each click."""

    def __init__(self, ranked: str, clicks: str, acceptance: str, exports: str) -> None:
        self.inputs = [ranked, clicks]
        self._clicks = clicks
        self._acceptance = acceptance
        self._exports = exports
        self._records = msgspec.json.Decoder(_Keyed)
        self._counts: dict[str, _Counts] = {}

    def work(self, records: Sequence[Any]) -> Iterator[_Output]:
        """What is to be written."""
        touched: dict[str, _Counts] = {}
        for record in records:
            found = self._records.decode(record.value)
            counts = self._counts.setdefault(found.interaction_id, _Counts(found.interaction_id))
            touched[found.interaction_id] = counts
            if record.topic != self._clicks:
                counts.retrieved += 1
                continue
            counts.accepted += 1
            rate = counts.accepted / counts.retrieved if counts.retrieved else 0.0
            export = _Export(found.interaction_id, found.article_id, rate)
            yield self._exports, record.key, msgspec.json.encode(export)
        for interaction_id, counts in touched.items():
            yield self._acceptance, interaction_id.encode(), msgspec.json.encode(counts)


async def run(servers: str, prefix: str, hop: Ranker | Tally) -> None:
    """Works until SIGTERM."""
    group = f"{prefix}floor"
    consumer = AIOKafkaConsumer(
        *hop.inputs,
        bootstrap_servers=servers,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        max_poll_records=4_000,
        fetch_max_wait_ms=100,
    )
    await consumer.start()
    producers: dict[int, AIOKafkaProducer] = {}

    async def work(number: int, records: Sequence[Any]) -> None:
        producer = producers[number]
        async with producer.transaction():
            futures = [
                await producer.send(topic, value, key=key, partition=number) for topic, key, value in hop.work(records)
            ]
            await asyncio.gather(*futures)
            positions = {TopicPartition(one.topic, number): one.offset + 1 for one in records}
            await producer.send_offsets_to_transaction(positions, group)

    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    while not stopped.is_set():
        fetched = await consumer.getmany(timeout_ms=100)
        numbers: dict[int, list[Any]] = {}
        for partition, records in fetched.items():
            numbers.setdefault(partition.partition, []).extend(records)
        for number in numbers.keys() - producers.keys():
            producers[number] = AIOKafkaProducer(
                bootstrap_servers=servers,
                transactional_id=f"{group}-{number}",
                compression_type="zstd",
                max_batch_size=512 * 1024,
            )
            await producers[number].start()
        await asyncio.gather(*(work(number, records) for number, records in numbers.items()))
    for producer in producers.values():
        await producer.stop()
    await consumer.stop()


def main() -> None:
    """Runs the floor."""
    hop, servers, prefix, *topics = sys.argv[1:]
    asyncio.run(run(servers, prefix, {"ranker": Ranker, "tally": Tally}[hop](*topics)))


if __name__ == "__main__":
    main()
