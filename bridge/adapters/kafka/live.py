"""One topic from now on, and single records out: what a program beside the bridge needs."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from bridge.adapters.kafka.clients import Clients
from bridge.adapters.kafka.start_stop import start_client, stop_client
from bridge.adapters.kafka.topics import partitions_of
from bridge.core.errors import UnavailableError
from bridge.core.partitions import partition_of
from bridge.core.records import NewRecord, Record

_ANSWER_S = 30.0
_STOP_S = 5.0
_POLL_MS = 500


class LiveReader:
    """Committed records of a topic that were written after `start`; those of one key only, if one is given.

    It is started once. One caller at a time may wait for the next record; that wait may be cancelled, and loses none.
    """

    def __init__(self, clients: Clients, topic: str, *, key: bytes | None = None) -> None:
        self._clients = clients
        self._topic = topic
        self._key = key
        self._consumer: AIOKafkaConsumer | None = None
        self._waiting: deque[Record] = deque()
        self._is_closed = False

    async def start(self) -> Self:
        """Fixes the position: every record written from now on will be read.

        Raises StartError where there is no such topic, UnavailableError where Kafka does not answer; nothing is open
        then.
        """
        if self._consumer is not None or self._is_closed:
            raise RuntimeError("a reader is started once")
        try:
            count = await partitions_of(self._clients, self._topic, timeout_s=_ANSWER_S)
            numbers = range(count) if self._key is None else [partition_of(self._key, count)]
            self._consumer = self._clients.reader()
            await start_client(self._consumer, timeout_s=_ANSWER_S)
            await _begin_at_end(self._consumer, [TopicPartition(self._topic, number) for number in numbers])
        except BaseException:  # Cancelled while it connects, too.
            await self.close()
            raise
        return self

    async def next(self) -> Record | None:
        """Waits for the next record, over broker restarts too; None once it is closed.

        Raises UnavailableError where Kafka refuses to be read; it may be asked again.
        """
        while not self._is_closed:
            while self._waiting:
                record = self._waiting.popleft()
                if self._key is None or record.key == self._key:
                    return record
            await self._fetch()
        return None

    async def close(self) -> None:
        """Stops reading; a waiting `next` returns None."""
        self._is_closed = True
        if self._consumer is not None:
            await stop_client(self._consumer, timeout_s=_STOP_S)

    async def _fetch(self) -> None:
        if self._consumer is None:
            raise RuntimeError("the reader is not started")
        try:
            fetched = await self._consumer.getmany(timeout_ms=_POLL_MS)
        except (KafkaError, OSError) as error:
            raise UnavailableError("Kafka", f"cannot read {self._topic}: {type(error).__name__}") from error
        for records in fetched.values():
            self._waiting.extend(records)


async def _begin_at_end(consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition]) -> None:
    try:
        async with asyncio.timeout(_ANSWER_S):
            consumer.assign(partitions)
            await consumer.seek_to_end(*partitions)
            for partition in partitions:  # A seek only asks for a position; from here on it is fixed.
                await consumer.position(partition)
    except (KafkaError, OSError, TimeoutError) as error:
        topic = partitions[0].topic
        raise UnavailableError("Kafka", f"no position on {topic}: {type(error).__name__}") from error


class Publisher:
    """Writes single records, each under its key's partition, and waits until the brokers have them."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._producer: AIOKafkaProducer | None = None
        self._is_open = False
        self._starting = asyncio.Lock()

    async def start(self) -> Self:
        """Connects; raises UnavailableError."""
        self._is_open = True
        await self._started()
        return self

    async def publish(self, record: NewRecord, *, timeout_s: float = _ANSWER_S) -> Record:
        """Writes one record; returns where it stands.

        Raises UnavailableError if the brokers do not take it within `timeout_s`, or refuse it. After the first nobody
        knows whether it will still be written: to try again, write one that its readers know for the same.
        """
        producer = await self._started()
        try:
            async with asyncio.timeout(timeout_s):
                # Without a partition the client takes the key's by murmur2, as every Kafka client of Java's kind does.
                written: Record = await producer.send_and_wait(
                    record.topic,
                    record.value,
                    key=record.key,
                    partition=record.partition,
                    timestamp_ms=record.timestamp,
                    headers=list(record.headers),
                )
        except (KafkaError, OSError, TimeoutError) as error:
            if isinstance(error, KafkaError):
                await self._drop(producer)
            raise UnavailableError("Kafka", f"cannot write to {record.topic}: {type(error).__name__}") from error
        return written

    async def close(self) -> None:
        """Disconnects."""
        self._is_open = False
        if self._producer is not None:
            await stop_client(self._producer, timeout_s=_STOP_S)

    async def _started(self) -> AIOKafkaProducer:
        async with self._starting:
            if not self._is_open:
                raise RuntimeError("the publisher is not started, or closed already")
            if self._producer is None:
                self._producer = await self._connected()
            return self._producer

    async def _connected(self) -> AIOKafkaProducer:
        producer = self._clients.idempotent_producer(compression="none")
        await start_client(producer, timeout_s=_ANSWER_S)
        return producer

    async def _drop(self, producer: AIOKafkaProducer) -> None:
        # The brokers refuse everything that an idempotent producer writes after a batch of it was refused.
        if self._producer is producer:
            self._producer = None
            await stop_client(producer, timeout_s=_STOP_S)
