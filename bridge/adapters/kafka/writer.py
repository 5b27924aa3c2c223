"""Batches of ingress -> their topics: idempotent producers that are kept over everything but a refusal."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from bridge.adapters.kafka.clients import Clients
from bridge.adapters.kafka.start_stop import start_client, stop_client, stop_clients
from bridge.core.dead_letters import DLQ_CLASS
from bridge.core.errors import UnavailableError
from bridge.core.events.dead_letters import DeadLettersWritten
from bridge.core.events.ingress import ProducerReplaced, WriteFailed
from bridge.core.reconnect import full_jitter_s
from bridge.core.records import NewRecord
from bridge.ports import Emit

_START_S = 30.0
# As for transactions: only one whose broker is away takes longer, and then a process waits after its deadline.
_STOP_S = 1.0
_BACKOFF_FIRST_S = 0.1
_BACKOFF_CAP_S = 10.0


class KafkaWriter:
    """The port `Writer`, with one producer for the raw suggestions and one for all other topics.

    They differ in their compression. Use it between `start` and `stop`. `chance` is from 0 to 1.
    """

    def __init__(self, clients: Clients, *, raw_topic: str, emit: Emit, chance: Callable[[], float]) -> None:
        self._raw_topic = raw_topic
        self._raw = _Producers(clients, compression=clients.options.raw_compression, emit=emit)
        self._others = _Producers(clients, compression=clients.options.compression, emit=emit)
        self._emit = emit
        self._chance = chance

    async def start(self, *, timeout_s: float) -> None:
        """Connects; raises UnavailableError where Kafka does not answer in time."""
        await self._raw.start(timeout_s=timeout_s)
        await self._others.start(timeout_s=timeout_s)

    async def stop(self) -> None:
        """Closes the producers; what is not acknowledged by now is given up."""
        await stop_clients(*self._raw.give_up(), *self._others.give_up(), timeout_s=_STOP_S)

    async def write(self, topic: str, partition: int, records: Sequence[NewRecord]) -> int:
        """See `ports.Writer`. What failed is sent again after a growing pause, before anything else there."""
        producers = self._raw if topic == self._raw_topic else self._others
        failures = 0
        while True:
            try:
                count = await producers.send(topic, partition, records)
            except UnavailableError as error:
                failures += 1
                pause_s = full_jitter_s(failures, first_s=_BACKOFF_FIRST_S, cap_s=_BACKOFF_CAP_S, chance=self._chance())
                self._emit(WriteFailed(topic=topic, partition=partition, reason=error.reason, retry_in_s=pause_s))
            else:
                self._tell_dead(topic, records[:count])
                return count
            await asyncio.sleep(pause_s)

    def _tell_dead(self, topic: str, written: Sequence[NewRecord]) -> None:
        if topic == self._raw_topic:
            return
        classes = (dict(record.headers).get(DLQ_CLASS) for record in written)
        for dlq_class, letters in Counter(one for one in classes if one is not None).items():
            self._emit(DeadLettersWritten(topic=topic, class_=dlq_class.decode(), letters=letters))


class _Lease:
    """One producer, and how many batches it has under way."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self.producer = producer
        self.under_way = 0
        self.is_replaced = False


class _Producers:
    """The producer in use, and replaced ones until their last batch is answered.

    A batch that fails for good (too large for the topic, no right to write, a lost sequence) leaves a hole in the
    producer's sequence of that partition, and every later batch of it would fail: so the producer is replaced. Batches
    that other partitions have under way stay with the old one. Each partition has one at a time, so nothing overtakes.
    Where such a batch was written in spite of its failure, its records stand there twice, with the same `ce_id`.
    """

    def __init__(self, clients: Clients, *, compression: str, emit: Emit) -> None:
        self._clients = clients
        self._compression = compression
        self._emit = emit
        self._leases: list[_Lease] = []
        self._making = asyncio.Lock()

    async def start(self, *, timeout_s: float) -> None:
        """Makes a producer; raises UnavailableError."""
        producer = self._clients.idempotent_producer(compression=self._compression)
        await start_client(producer, timeout_s=timeout_s)
        self._leases.append(_Lease(producer))

    def give_up(self) -> list[AIOKafkaProducer]:
        """All producers, which are the caller's to stop."""
        leases, self._leases = self._leases, []
        return [lease.producer for lease in leases]

    async def send(self, topic: str, partition: int, records: Sequence[NewRecord]) -> int:
        """Writes as many of the records as fit a batch and returns how many, once the brokers have it.

        Raises UnavailableError where the same records must be sent again.
        """
        lease = await self._lease()
        lease.under_way += 1
        try:
            answer, count = await _hand_over(lease.producer, topic, partition, records)
            await answer
        except KafkaError as error:
            self._replace(lease, topic, error)
            raise UnavailableError("Kafka", type(error).__name__) from error
        else:
            return count
        finally:
            lease.under_way -= 1
            await self._close_if_done(lease)

    async def _lease(self) -> _Lease:
        async with self._making:
            if not self._leases or self._leases[-1].is_replaced:
                await self.start(timeout_s=_START_S)
            return self._leases[-1]

    def _replace(self, lease: _Lease, topic: str, error: KafkaError) -> None:
        if not lease.is_replaced:
            lease.is_replaced = True
            self._emit(ProducerReplaced(topic=topic, reason=type(error).__name__))

    async def _close_if_done(self, lease: _Lease) -> None:
        if lease.is_replaced and not lease.under_way and lease in self._leases:
            self._leases.remove(lease)
            await stop_client(lease.producer, timeout_s=_STOP_S)


async def _hand_over(
    producer: AIOKafkaProducer, topic: str, partition: int, records: Sequence[NewRecord]
) -> tuple[asyncio.Future[object], int]:
    """The answer to a batch that the producer has taken, and how many of the records are in it.

    Raises UnavailableError where it has not taken it, because nobody tells it who leads the partition.
    """
    batch = producer.create_batch()
    append = batch.append
    for record in records:
        # The first record of a batch is always taken, whatever its size. aiokafka takes nothing but a list of headers.
        taken = append(timestamp=record.timestamp, key=record.key, value=record.value, headers=[*record.headers])
        if taken is None:
            break
    batch.close()
    try:
        answer = await producer.send_batch(batch, topic, partition=partition)
    except KafkaError as error:
        if error.retriable:
            raise UnavailableError("Kafka", type(error).__name__) from error
        raise
    return answer, batch.record_count()
