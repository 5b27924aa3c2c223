"""Single records by their position, read by a client that belongs to no group."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from bridge.adapters.kafka.clients import Clients
from bridge.adapters.kafka.start_stop import own_cancellations_only, start_client, stop_client
from bridge.core.errors import UnavailableError
from bridge.core.records import Record

# A broker answers with a whole batch at least, and with no more than this of each partition beside it.
PEEK_BYTES = 16 * 1024
_POLL_MS = 100
# The last offset may be a marker, that of a replay: the last record is looked for among so many, then among more.
_TAIL_OFFSETS = 2
_ANSWER_S = 5.0
_STOP_S = 2.0


async def records_at(
    reader: AIOKafkaConsumer, positions: Mapping[TopicPartition, int], *, within_s: float
) -> dict[TopicPartition, Record]:
    """The record at each position, or the next one after it where there is none; those that came within the time.

    The reader has these partitions assigned and paused, and is left so.
    """
    found: dict[TopicPartition, Record] = {}
    for partition, position in positions.items():
        reader.seek(partition, position)
    reader.resume(*positions)
    try:
        with suppress(TimeoutError):  # Only markers may be left before the end: no record comes then.
            async with asyncio.timeout(within_s):
                while left := positions.keys() - found.keys():
                    fetched = await reader.getmany(*left, timeout_ms=_POLL_MS)
                    reader.pause(*fetched)
                    found |= {partition: records[0] for partition, records in fetched.items()}
    finally:
        reader.pause(*positions)
    return found


async def read_on(
    reader: AIOKafkaConsumer,
    positions: Mapping[TopicPartition, int],
    ends: Mapping[TopicPartition, int],
    *,
    take: Callable[[TopicPartition, Sequence[Record]], bool],
) -> None:
    """Reads each partition from its position on, until `take` says that it is enough of it, or to its end.

    What is left before an end may be markers only, of which no record tells. An end may also move back and never come:
    give it a deadline. The reader has these partitions assigned and paused, and is left so.
    """
    left = {partition for partition, position in positions.items() if position < ends[partition]}
    for partition in left:
        reader.seek(partition, positions[partition])
    reader.resume(*left)
    try:
        while left:
            fetched = await reader.getmany(*left, timeout_ms=_POLL_MS)
            done = {partition for partition, records in fetched.items() if take(partition, records)}
            done |= {partition for partition in left - done if await reader.position(partition) >= ends[partition]}
            reader.pause(*done)
            left -= done
    finally:
        reader.pause(*left)


class KafkaTails:
    """The port `Tails`: connects for each question, because few are asked."""

    def __init__(self, clients: Clients, *, topic: str) -> None:
        self._clients = clients
        self._topic = topic

    async def last_ms(self, partitions: Collection[int]) -> Mapping[int, int]:
        """See `ports.Tails`. Takes five seconds at most, and a connection's end."""
        reader = self._clients.reader(max_partition_fetch_bytes=PEEK_BYTES)
        asked = [TopicPartition(self._topic, number) for number in partitions]
        reader.assign(asked)
        reader.pause(*asked)
        try:
            with own_cancellations_only():
                async with asyncio.timeout(_ANSWER_S):
                    await start_client(reader, timeout_s=_ANSWER_S)
                    return await self._last_ms(reader, asked)
        except (KafkaError, OSError, TimeoutError, UnavailableError):
            return {}
        finally:
            await stop_client(reader, timeout_s=_STOP_S)

    async def _last_ms(self, reader: AIOKafkaConsumer, asked: Collection[TopicPartition]) -> Mapping[int, int]:
        begins, ends = await asyncio.gather(reader.beginning_offsets(asked), reader.end_offsets(asked))
        last: dict[int, int] = {}

        def take(partition: TopicPartition, records: Sequence[Record]) -> bool:
            last[partition.partition] = records[-1].timestamp
            return False

        back, left = _TAIL_OFFSETS, {partition for partition in asked if begins[partition] < ends[partition]}
        with suppress(TimeoutError):  # Of those that were found, it is known all the same.
            async with asyncio.timeout(_ANSWER_S / 2):
                while left:
                    await read_on(reader, {one: max(begins[one], ends[one] - back) for one in left}, ends, take=take)
                    left = {one for one in left if one.partition not in last and ends[one] - back > begins[one]}
                    back *= 100
        return last
