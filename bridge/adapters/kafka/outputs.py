"""Where a hop was, from what it has written: makes up for positions that its group has lost."""

import asyncio
from collections.abc import Collection, Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from bridge.adapters.kafka.log_ends import log_ends
from bridge.adapters.kafka.spans import read_span
from bridge.core.errors import UnavailableError
from bridge.core.positions import source_in

_ANSWER_S = 10.0
# From the end backwards, each step four times the last one: what is looked for is nearly always among the last records.
_FIRST_STEP = 500
_MAX_RECORDS = 50_000


async def worked_to(
    reader: AIOKafkaConsumer, number: int, *, inputs: Collection[str], outputs: Collection[str]
) -> Mapping[str, int]:
    """The next offset of each input topic after the last one of which something was made; without those of none.

    Every output names the record that it was made from, and stands in the partition of the same number, in the order
    of the input. At most the last 50,000 offsets of each output are looked through. Reads committed records up to the
    ends of the logs, so it waits for other hops' transactions. Raises UnavailableError.
    """
    partitions = [TopicPartition(topic, number) for topic in outputs]
    try:
        async with asyncio.timeout(_ANSWER_S):
            begins = await reader.beginning_offsets(partitions)
            ends = await log_ends(reader, partitions)
    except (KafkaError, OSError, TimeoutError) as error:
        raise UnavailableError("Kafka", f"no offsets of the output topics: {type(error).__name__}") from error
    found: dict[str, int] = {}
    for partition in partitions:
        begin, end = max(begins[partition], ends[partition] - _MAX_RECORDS), ends[partition]
        for topic, position in (await _named_in(reader, partition, begin, end, inputs=inputs)).items():
            found[topic] = max(position, found.get(topic, 0))
    return found


async def _named_in(
    reader: AIOKafkaConsumer, partition: TopicPartition, begin: int, end: int, *, inputs: Collection[str]
) -> Mapping[str, int]:
    found: dict[str, int] = {}
    step = _FIRST_STEP
    while end > begin and len(found) < len(inputs):
        start = max(begin, end - step)
        async for record in read_span(reader, partition, start, end):
            named = source_in(record, number=partition.partition)
            if named is not None and named.topic in inputs:
                found[named.topic] = max(named.offset + 1, found.get(named.topic, 0))
        end, step = start, step * 4
    return found
