"""A topic as people and the books read it: all partitions, committed records only, without a group."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from bridge.adapters.kafka.clients import Clients
from bridge.adapters.kafka.start_stop import start_client, stop_client
from bridge.adapters.kafka.topics import partitions_of
from bridge.core.errors import UnavailableError
from bridge.core.records import Record

_POLL_MS = 500
_STOP_S = 5.0


async def read(
    clients: Clients, topic: str, *, from_start: bool, until_end: bool, timeout_s: float = 30.0
) -> AsyncGenerator[Record, None]:
    """Yields the topic's records, each partition's in the order of its offsets.

    It begins at the first record or at the end, and with `until_end` it ends where the topic ended when reading began
    (the last stable offset), else never. Close it (`contextlib.aclosing`). Raises StartError where there is no such
    topic; UnavailableError where Kafka does not answer within `timeout_s`, or the end comes no nearer for that long.
    """
    count = await partitions_of(clients, topic, timeout_s=timeout_s)
    consumer = clients.reader()
    await start_client(consumer, timeout_s=timeout_s)
    try:
        partitions = [TopicPartition(topic, number) for number in range(count)]
        await _begin(consumer, partitions, from_start=from_start, timeout_s=timeout_s)
        ends = await _ends(consumer, partitions, timeout_s=timeout_s) if until_end else None
        async for batch in _batches(consumer, ends, timeout_s=timeout_s):
            for record in batch:
                yield record
    except (KafkaError, OSError, TimeoutError) as error:
        raise UnavailableError("Kafka", f"no answer: {type(error).__name__}") from error
    finally:
        await stop_client(consumer, timeout_s=_STOP_S)


async def _begin(
    consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition], *, from_start: bool, timeout_s: float
) -> None:
    consumer.assign(partitions)
    async with asyncio.timeout(timeout_s):
        await (consumer.seek_to_beginning if from_start else consumer.seek_to_end)(*partitions)
        for partition in partitions:  # A seek only asks for a position; from here on it is fixed.
            await consumer.position(partition)


async def _ends(
    consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition], *, timeout_s: float
) -> dict[TopicPartition, int]:
    async with asyncio.timeout(timeout_s):
        ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
    return ends


async def _batches(
    consumer: AIOKafkaConsumer, ends: dict[TopicPartition, int] | None, *, timeout_s: float
) -> AsyncGenerator[list[Record], None]:
    loop = asyncio.get_running_loop()
    give_up_s = loop.time() + timeout_s
    while ends is None or await _is_before(consumer, ends, timeout_s=timeout_s):
        fetched = await consumer.getmany(timeout_ms=_POLL_MS)
        for partition, records in fetched.items():
            give_up_s = loop.time() + timeout_s
            end = None if ends is None else ends[partition]
            yield [record for record in records if end is None or record.offset < end]
        if ends is not None and loop.time() > give_up_s:
            raise TimeoutError


async def _is_before(consumer: AIOKafkaConsumer, ends: dict[TopicPartition, int], *, timeout_s: float) -> bool:
    # The position moves past transaction markers, which are no records but count towards the end.
    async with asyncio.timeout(timeout_s):
        for partition, end in ends.items():
            if await consumer.position(partition) < end:
                return True
    return False
