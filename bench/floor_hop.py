"""The floor for ranker and tally: the plainest aiokafka loop that is exactly once by the same design.

One transactional producer for each partition, getmany, one output a record by `send`, every future awaited before the
commit. No audit, no dead letters, no state, no checks; for the tally, no merge: what a hop cannot do without.
Arguments: bootstrap servers, prefix, input topic, output topic.
"""

import asyncio
import signal
import sys

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition


class Suggestion(msgspec.Struct, rename="camel"):
    """What the floor needs of a suggestion."""

    confidence: float | None = None
    relevance_score: float | None = None


class Raw(msgspec.Struct, rename="camel"):
    """What the floor needs of a frame."""

    interaction_id: str
    suggestions: list[msgspec.Raw]


class Ranked(msgspec.Struct, rename="camel"):
    """What the floor writes."""

    interaction_id: str
    ranked_suggestions: list[msgspec.Raw]


raws = msgspec.json.Decoder(Raw)
scores = msgspec.json.Decoder(Suggestion)


def score(raw: msgspec.Raw) -> float:
    """The ranking score of a suggestion."""
    read = scores.decode(raw)
    return 0.6 * (read.relevance_score or 0.0) + 0.4 * (read.confidence or 0.0)


def rank(value: bytes) -> bytes:
    """A ranked list."""
    raw = raws.decode(value)
    return msgspec.json.encode(
        Ranked(interaction_id=raw.interaction_id, ranked_suggestions=sorted(raw.suggestions, key=score, reverse=True))
    )


async def main(servers: str, prefix: str, source: str, target: str) -> None:
    """Works until SIGTERM."""
    group = f"{prefix}floor"
    consumer = AIOKafkaConsumer(
        source,
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

    async def work(partition: TopicPartition, records: list) -> None:
        producer = producers[partition.partition]
        async with producer.transaction():
            futures = [
                await producer.send(target, rank(record.value), key=record.key, partition=record.partition)
                for record in records
            ]
            await asyncio.gather(*futures)
            await producer.send_offsets_to_transaction({partition: records[-1].offset + 1}, group)

    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    while not stopped.is_set():
        fetched = await consumer.getmany(timeout_ms=100)
        for partition in fetched:
            if partition.partition not in producers:
                producer = AIOKafkaProducer(
                    bootstrap_servers=servers,
                    transactional_id=f"{group}-{partition.partition}",
                    max_batch_size=512 * 1024,
                )
                await producer.start()
                producers[partition.partition] = producer
        await asyncio.gather(*(work(partition, records) for partition, records in fetched.items()))
    for producer in producers.values():
        await producer.stop()
    await consumer.stop()


asyncio.run(main(*sys.argv[1:]))
