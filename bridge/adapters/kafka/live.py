"""One topic from now on, and single records out: what a program beside the bridge needs."""

import asyncio
from collections import deque
from typing import Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from bridge.adapters.kafka.clients import Clients, start_client, stop_client
from bridge.adapters.kafka.topics import partitions_of
from bridge.core.errors import UnavailableError
from bridge.core.partitions import partition_of
from bridge.core.records import NewRecord, Record

_ANSWER_S = 30.0
_STOP_S = 5.0
_POLL_MS = 500


class LiveReader:
    """Committed records of a topic that were written after `start`; those of one key only, if one is given."""

    def __init__(self, clients: Clients, topic: str, *, key: bytes | None = None) -> None:
        self._clients = clients
        self._topic = topic
        self._key = key
        self._consumer: AIOKafkaConsumer = clients.reader()
        self._waiting: deque[Record] = deque()
        self._is_closed = False

    async def start(self) -> Self:
        """Fixes the position: every record written from now on will be read. Raises StartError, UnavailableError."""
        count = await partitions_of(self._clients, self._topic, timeout_s=_ANSWER_S)
        await start_client(self._consumer, timeout_s=_ANSWER_S)
        numbers = range(count) if self._key is None else [partition_of(self._key, count)]
        partitions = [TopicPartition(self._topic, number) for number in numbers]
        try:
            async with asyncio.timeout(_ANSWER_S):
                self._consumer.assign(partitions)
                await self._consumer.seek_to_end(*partitions)
                for partition in partitions:  # A seek only asks for a position; from here on it is fixed.
                    await self._consumer.position(partition)
        except (KafkaError, OSError, TimeoutError) as error:
            await self.close()
            raise UnavailableError("Kafka", f"no position on {self._topic}: {type(error).__name__}") from error
        return self

    async def next(self) -> Record | None:
        """Waits for the next record, over broker restarts too; None once it is closed."""
        while not self._is_closed:
            while self._waiting:
                record = self._waiting.popleft()
                if self._key is None or record.key == self._key:
                    return record
            try:
                fetched = await self._consumer.getmany(timeout_ms=_POLL_MS)
            except (KafkaError, OSError) as error:
                raise UnavailableError("Kafka", f"cannot read {self._topic}: {type(error).__name__}") from error
            for records in fetched.values():
                self._waiting.extend(records)
        return None

    async def close(self) -> None:
        """Stops reading; a waiting `next` returns None."""
        self._is_closed = True
        await stop_client(self._consumer, timeout_s=_STOP_S)


class Publisher:
    """Writes single records, each under its key's partition, and waits until the brokers have them."""

    def __init__(self, clients: Clients) -> None:
        self._producer: AIOKafkaProducer = clients.idempotent_producer(compression="none")

    async def start(self) -> Self:
        """Connects; raises UnavailableError."""
        await start_client(self._producer, timeout_s=_ANSWER_S)
        return self

    async def publish(self, record: NewRecord) -> Record:
        """Writes one record; returns where it stands. Raises UnavailableError if the brokers do not take it in time."""
        try:
            async with asyncio.timeout(_ANSWER_S):
                # Without a partition the client takes the key's by murmur2, as every Kafka client of Java's kind does.
                written: Record = await self._producer.send_and_wait(
                    record.topic,
                    record.value,
                    key=record.key,
                    partition=record.partition,
                    headers=list(record.headers),
                )
        except (KafkaError, OSError, TimeoutError) as error:
            raise UnavailableError("Kafka", f"cannot write to {record.topic}: {type(error).__name__}") from error
        return written

    async def close(self) -> None:
        """Disconnects."""
        await stop_client(self._producer, timeout_s=_STOP_S)
