"""A stretch of a partition read to its end, and the record at a place."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from time import monotonic

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from bridge.adapters.kafka.clients import Clients
from bridge.adapters.kafka.start_stop import start_client, stop_client
from bridge.core.errors import UnavailableError
from bridge.core.letters import Place
from bridge.core.records import Record

_ANSWER_S = 10.0
# A partition that gives nothing for this long is not being read.
_SILENCE_S = 30.0
_POLL_MS = 200
_STOP_S = 5.0


async def read_to_end(reader: AIOKafkaConsumer, partition: TopicPartition) -> AsyncIterator[Record]:
    """Every record of a partition up to its end as it was at the call; raises UnavailableError.

    The end of a read_committed reader is the last stable offset.
    """
    try:
        async with asyncio.timeout(_ANSWER_S):
            begin = (await reader.beginning_offsets([partition]))[partition]
            end = (await reader.end_offsets([partition]))[partition]
    except (KafkaError, OSError, TimeoutError) as error:
        raise UnavailableError("Kafka", f"cannot read {partition.topic}: {type(error).__name__}") from error
    async for record in read_span(reader, partition, begin, end):
        yield record


async def read_span(reader: AIOKafkaConsumer, partition: TopicPartition, begin: int, end: int) -> AsyncIterator[Record]:
    """Every record from offset `begin` to before `end`; raises UnavailableError."""
    try:
        async with aclosing(read_batches(reader, partition, begin, end)) as batches:
            async for batch in batches:
                for record in batch:
                    yield record
    except (KafkaError, OSError, TimeoutError) as error:
        raise UnavailableError("Kafka", f"cannot read {partition.topic}: {error or type(error).__name__}") from error


async def read_batches(
    reader: AIOKafkaConsumer, partition: TopicPartition, begin: int, end: int, *, silence_s: float = _SILENCE_S
) -> AsyncGenerator[Sequence[Record], None]:
    """The same, in the portions in which they come; raises KafkaError, OSError, or TimeoutError after a silence.

    The end is reached by position, never by "the last record seen": compaction and transaction markers leave holes. A
    read_committed reader waits for transactions that are open before it.
    """
    reader.assign([partition])
    reader.seek(partition, begin)
    position, moved_at_s = begin, monotonic()
    while position < end:
        fetched = await reader.getmany(partition, timeout_ms=_POLL_MS)
        yield [record for record in fetched.get(partition, ()) if record.offset < end]
        before = position
        async with asyncio.timeout(_ANSWER_S):
            position = await reader.position(partition)
        moved_at_s = monotonic() if position > before else moved_at_s
        if monotonic() - moved_at_s > silence_s:
            raise TimeoutError(f"{partition.topic} gives nothing more before its end")


async def find(clients: Clients, place: Place) -> Record | None:
    """The record that stands at a place; None where there is none (any more).

    Raises UnavailableError where Kafka does not answer, or has no such topic.
    """
    reader = clients.reader()
    partition = TopicPartition(place.topic, place.partition)
    try:
        await start_client(reader, timeout_s=_ANSWER_S)
        reader.assign([partition])
        async with asyncio.timeout(_ANSWER_S):
            begins = (await reader.beginning_offsets([partition]))[partition]
            end = (await reader.end_offsets([partition]))[partition]
        if not begins <= place.offset < end:
            return None
        async with aclosing(read_batches(reader, partition, place.offset, place.offset + 1)) as batches:
            async for batch in batches:
                if batch:
                    return batch[0]
    except (KafkaError, OSError, TimeoutError) as error:
        raise UnavailableError("Kafka", f"cannot read {place}: {type(error).__name__}") from error
    finally:
        await stop_client(reader, timeout_s=_STOP_S)
    return None
