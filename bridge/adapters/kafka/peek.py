"""Single records by their position, read by a client that belongs to no group."""

import asyncio
from collections.abc import Collection, Mapping
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
        last = {partition: ends[partition] - 1 for partition in asked if begins[partition] < ends[partition]}
        records = await records_at(reader, last, within_s=_ANSWER_S / 2)
        return {partition.partition: record.timestamp for partition, record in records.items()}
