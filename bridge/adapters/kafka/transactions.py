"""One transactional producer: records and positions in one transaction, or nothing."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError, ProducerFenced
from aiokafka.producer.message_accumulator import BatchBuilder

from bridge.adapters.kafka.clients import Clients, transactional_id_of
from bridge.adapters.kafka.start_stop import look_at, own_cancellations_only, start_client, stop_client
from bridge.core.errors import FencedError, TransactionError, UnavailableError
from bridge.core.records import NewRecord

# A producer that has nothing under way stops in milliseconds; one whose broker is away never does, and a stop of the
# process waits for it after its deadline.
_STOP_S = 1.0
_AGAIN_S = 0.005


class TransactionalWriter:
    """The producer of one number of one group. After any error it is dropped, never used again.

    aiokafka commits a transaction although a batch of it failed, so every batch's future is awaited before the commit.
    """

    def __init__(self, clients: Clients, *, group: str, number: int) -> None:
        self._clients = clients
        self._group = group
        self._number = number
        self._timeout_s = clients.options.transaction_timeout_ms / 1000
        # Where the last transaction has written to: the next one ends there, too, should its markers be missing.
        self._former: Sequence[TopicPartition] = ()
        self.transactional_id = transactional_id_of(group, number)
        self._producer: AIOKafkaProducer = clients.transactional_producer(self.transactional_id)

    @property
    def epoch(self) -> int:
        """Of how many producers with this transactional id it is the latest, from 0; known once it has started."""
        epoch: int = self._producer._txn_manager.producer_epoch  # noqa: SLF001
        return epoch

    async def start(self) -> None:
        """Starts the producer: from now on the former owner of the number is fenced, its open transaction aborted.

        Raises UnavailableError.
        """
        await start_client(self._producer, timeout_s=self._timeout_s)

    async def write(self, records: Sequence[NewRecord], positions: Mapping[TopicPartition, int]) -> None:
        """Writes the records and the group's positions in one transaction; raises TransactionError or FencedError."""
        sent: list[asyncio.Future[object]] = []
        try:
            async with self._translated():
                await self._begin()
                self._take_in(self._former)
                await self._send(records, sent)
                await self._producer.send_offsets_to_transaction(dict(positions), self._group)
                await asyncio.gather(*sent)
                await self._producer.commit_transaction()
        finally:
            for future in sent:
                future.add_done_callback(look_at)

    async def mark(self, partitions: Iterable[TopicPartition], *, commit: bool) -> None:
        """Ends a transaction that wrote nothing, with a marker on each of these partitions and the group's positions.

        It decides about what an earlier transaction of this number has left open there. Raises TransactionError or
        FencedError. The markers may be written only after the return.
        """
        async with self._translated():
            await self._begin()
            self._take_in(partitions)
            while not await self._producer._sender._do_add_offsets_to_txn(self._group):  # noqa: SLF001
                pass  # It has waited for a moment.
            while self._producer._txn_manager.partitions_to_add():  # noqa: SLF001
                await asyncio.sleep(_AGAIN_S)
            if not self._producer._txn_manager.is_in_transaction():  # noqa: SLF001
                # Not allowed to write to one of them, say: an abort would go through all the same.
                await self._producer._txn_manager.wait_for_transaction_end()  # noqa: SLF001
            await (self._producer.commit_transaction() if commit else self._producer.abort_transaction())

    async def close(self) -> None:
        """Stops the producer within a few seconds; one that does not end is dropped."""
        await stop_client(self._producer, timeout_s=_STOP_S)
        # Of a producer that has failed for good there is one more.
        ended = self._producer._txn_manager._transaction_waiter  # noqa: SLF001
        if ended is not None and ended.done():
            look_at(ended)

    @asynccontextmanager
    async def _translated(self) -> AsyncIterator[None]:
        """A transaction, with the deadline of transactions and our own errors."""
        try:
            with own_cancellations_only():
                async with asyncio.timeout(self._timeout_s):
                    yield
        except ProducerFenced as error:
            raise FencedError(f"the producer of {self.transactional_id} was fenced") from error
        except (KafkaError, OSError, TimeoutError, AssertionError, UnavailableError) as error:
            # AssertionError: aiokafka's own state machine refuses a step after an error.
            raise TransactionError(f"{type(error).__name__} in {self.transactional_id}") from error

    def _take_in(self, partitions: Iterable[TopicPartition]) -> None:
        """Has the transaction end on these partitions, too; aiokafka takes in one with its first batch only."""
        for partition in partitions:
            self._producer._txn_manager.maybe_add_partition_to_txn(partition)  # noqa: SLF001

    async def _begin(self) -> None:
        await self._producer.begin_transaction()
        # A transaction that fails before its end is told so where nobody waits.
        self._producer._txn_manager.wait_for_transaction_end().add_done_callback(look_at)  # noqa: SLF001

    async def _send(self, records: Sequence[NewRecord], sent: list[asyncio.Future[object]]) -> None:
        by_partition: dict[tuple[str, int], list[NewRecord]] = {}
        for record in records:
            number = self._number if record.partition is None else record.partition
            by_partition.setdefault((record.topic, number), []).append(record)
        self._former = [TopicPartition(topic, number) for topic, number in by_partition]
        # A second batch of a partition waits until the first has left: the partitions do not wait for one another.
        await asyncio.gather(*(self._send_all(lane, ours, sent) for lane, ours in by_partition.items()))

    async def _send_all(
        self, lane: tuple[str, int], records: Sequence[NewRecord], sent: list[asyncio.Future[object]]
    ) -> None:
        topic, number = lane
        batch = self._producer.create_batch()
        for record in records:
            if _append(batch, record) is None:
                sent.append(await self._producer.send_batch(batch, topic, partition=number))
                batch = self._producer.create_batch()
                _append(batch, record)
        sent.append(await self._producer.send_batch(batch, topic, partition=number))


def _append(batch: BatchBuilder, record: NewRecord) -> object | None:
    # None: the batch is full. The first record of a batch is always taken; its size was checked where it was made.
    appended: object | None = batch.append(
        key=record.key, value=record.value, timestamp=record.timestamp, headers=[*record.headers]
    )
    return appended
