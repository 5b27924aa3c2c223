"""What a worker has made, as a reader of committed records sees it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, TopicPartition

DEADLINE_S = 300.0


@asynccontextmanager
async def reading(servers: str, topic: str, *, partitions: int) -> AsyncIterator[AIOKafkaConsumer]:
    """A read_committed reader at the end of a topic."""
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, isolation_level="read_committed", fetch_max_wait_ms=20)
    await consumer.start()
    try:
        ours = [TopicPartition(topic, number) for number in range(partitions)]
        consumer.assign(ours)
        await consumer.seek_to_end(*ours)
        for partition in ours:
            await consumer.position(partition)
        yield consumer
    finally:
        await consumer.stop()


async def until_seen(consumer: AIOKafkaConsumer, expected: int) -> float:
    """Returns once all results are visible: when the first one was, monotonic seconds."""
    seen, first_s = 0, 0.0
    async with asyncio.timeout(DEADLINE_S):
        while seen < expected:
            fetched = await consumer.getmany(timeout_ms=100)
            if fetched:
                first_s = first_s or time.monotonic()
            seen += sum(map(len, fetched.values()))
    assert seen == expected, f"{seen} results of {expected}: something is double"
    return first_s
