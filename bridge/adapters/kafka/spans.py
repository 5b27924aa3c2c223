"""A stretch of a partition, read to its end."""

import asyncio
from collections.abc import AsyncIterator
from time import monotonic

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from bridge.core.errors import UnavailableError
from bridge.core.records import Record

_ANSWER_S = 10.0
# A partition that gives nothing for this long is not being read.
_SILENCE_S = 30.0


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
    """Every record from offset `begin` to before `end`; raises UnavailableError.

    The end is reached by position, never by "the last record seen": compaction and transaction markers leave holes. A
    read_committed reader waits for transactions that are open before it.
    """
    try:
        reader.assign([partition])
        reader.seek(partition, begin)
        position, moved_at_s = begin, monotonic()
        while position < end:
            fetched = await reader.getmany(partition, timeout_ms=200)
            for record in fetched.get(partition, ()):
                if record.offset < end:
                    yield record
            before = position
            async with asyncio.timeout(_ANSWER_S):
                position = await reader.position(partition)
            moved_at_s = monotonic() if position > before else moved_at_s
            if monotonic() - moved_at_s > _SILENCE_S:
                raise UnavailableError("Kafka", f"{partition.topic} gives nothing more before its end")
    except (KafkaError, OSError, TimeoutError) as error:
        raise UnavailableError("Kafka", f"cannot read {partition.topic}: {type(error).__name__}") from error
