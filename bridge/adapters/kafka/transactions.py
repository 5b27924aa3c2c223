"""One transactional producer: records and positions in one transaction, or nothing."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.client import ConnectionGroup, CoordinationType
from aiokafka.errors import IllegalOperation, KafkaError, ProducerFenced
from aiokafka.producer.message_accumulator import BatchBuilder

from bridge.adapters.kafka.clients import Clients, transactional_id_of
from bridge.adapters.kafka.start_stop import finish, look_at, own_cancellations_only, start_client, stop_client
from bridge.core.errors import FencedError, TransactionError, UnavailableError
from bridge.core.records import NewRecord

# A producer that has nothing under way stops in milliseconds; one whose broker is away never does, and a stop of the
# process waits for it after its deadline.
_STOP_S = 1.0
_AGAIN_S = 0.005
# How long markers may still take once whoever waits for them is cut off.
FINISH_S = 2.0


@dataclass(frozen=True, slots=True)
class _Former:
    """The transaction before this one: where it has written to, how it ended, and the connection that was told so."""

    partitions: Sequence[TopicPartition]
    is_committed: bool
    connection: object


class TransactionalWriter:
    """The producer of one number of one group. After any error it is dropped, never used again.

    aiokafka commits a transaction although a batch of it failed, so every batch's future is awaited before the commit.
    """

    def __init__(self, clients: Clients, *, group: str, number: int) -> None:
        self._clients = clients
        self._group = group
        self._number = number
        self._timeout_s = clients.options.transaction_timeout_ms / 1000
        self._former: _Former | None = None
        self.transactional_id = transactional_id_of(group, number)
        self._producer: AIOKafkaProducer = clients.transactional_producer(self.transactional_id)

    @property
    def epoch(self) -> int:
        """Of how many producers with this transactional id it is the latest, from 0; known once it has started."""
        epoch: int = self._producer._txn_manager.producer_epoch  # noqa: SLF001
        return epoch

    async def start(self, topics: Collection[str] = ()) -> None:
        """Starts the producer: from now on the former owner of the number is fenced, its open transaction aborted.

        `topics` are those that it will write to. Raises UnavailableError.
        """
        await start_client(self._producer, timeout_s=self._timeout_s, topics=topics)

    async def write(self, records: Sequence[NewRecord], positions: Mapping[TopicPartition, int]) -> None:
        """Writes the records and the group's positions in one transaction; raises TransactionError or FencedError."""
        async with self._translated():
            await self._begin_after_former()
            sent = await self._send(records)
            await self._producer.send_offsets_to_transaction(dict(positions), self._group)
            await asyncio.gather(*(batch for batches in sent.values() for batch in batches))
            await self._end([*sent], commit=True)

    async def mark(self, partitions: Sequence[TopicPartition], *, commit: bool) -> None:
        """Ends a transaction that wrote nothing, with a marker on each of these partitions and the group's positions.

        It decides about what an earlier transaction of this number has left open there. Raises TransactionError or
        FencedError. The markers may be written only after the return.
        """
        async with self._translated():
            await self._begin()
            await self._mark(partitions, commit=commit)

    async def close(self) -> None:
        """Stops the producer within a few seconds; one that does not end is dropped."""
        # Whoever waited for these positions was cut off.
        for _, _, written in self._producer._txn_manager._pending_txn_offsets:  # noqa: SLF001
            written.add_done_callback(look_at)
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
        except (KafkaError, OSError, TimeoutError, AssertionError, IllegalOperation, UnavailableError) as error:
            # AssertionError, IllegalOperation: aiokafka's own state machine refuses a step after an error.
            raise TransactionError(f"{type(error).__name__} in {self.transactional_id}") from error

    async def _begin_after_former(self) -> None:
        """Begins a transaction once the one before it has all of its markers, as far as anybody can know.

        A coordinator that was restarted, or another one, may have left out some. What ends next decides about the rest
        of it, so that is an empty transaction which ends as it did, not one that may fail.
        """
        await self._begin()
        while self._former is not None and self._former.connection is not self._connection():
            # Cut off, it would be aborted by the next start, and what is left of the former one with it.
            once_more = self._mark(self._former.partitions, commit=self._former.is_committed)
            await finish(once_more, within_s=FINISH_S)
            await self._begin()
        if self._former is not None and self._former.is_committed:
            # Those of a coordinator that was not restarted, and saw no leaders, are mostly missing all together: this
            # one ends there, too, for better or worse.
            self._take_in(self._former.partitions)

    async def _begin(self) -> None:
        await self._producer.begin_transaction()
        # A transaction that fails before its end is told so where nobody waits.
        self._producer._txn_manager.wait_for_transaction_end().add_done_callback(look_at)  # noqa: SLF001
        # Now, not with the positions: whose coordinator answers is known before anything is written.
        while not await self._producer._sender._do_add_offsets_to_txn(self._group):  # noqa: SLF001
            pass  # It has waited for a moment.
        await self._raise_refused()

    def _connection(self) -> object:
        """That to the coordinator: while it is the same, the coordinator was not restarted."""
        node = self._producer._sender._coordinators.get(CoordinationType.TRANSACTION)  # noqa: SLF001
        connection = self._producer.client._conns.get((node, ConnectionGroup.COORDINATION))  # noqa: SLF001
        return connection if connection is not None and connection.connected() else object()

    def _take_in(self, partitions: Iterable[TopicPartition]) -> None:
        """Has the transaction end on these partitions, too; aiokafka takes in one with its first batch only."""
        for partition in partitions:
            self._producer._txn_manager.maybe_add_partition_to_txn(partition)  # noqa: SLF001

    async def _mark(self, partitions: Sequence[TopicPartition], *, commit: bool) -> None:
        self._take_in(partitions)
        while self._producer._txn_manager.partitions_to_add():  # noqa: SLF001
            await asyncio.sleep(_AGAIN_S)
        await self._raise_refused()
        await self._end(partitions, commit=commit)

    async def _raise_refused(self) -> None:
        """What the transaction met that it cannot end after: it is not allowed to write to one of its topics, say."""
        if not self._producer._txn_manager.is_in_transaction():  # noqa: SLF001
            await self._producer._txn_manager.wait_for_transaction_end()  # noqa: SLF001

    async def _end(self, partitions: Sequence[TopicPartition], *, commit: bool) -> None:
        self._former = _Former(partitions, commit, self._connection())
        await (self._producer.commit_transaction() if commit else self._producer.abort_transaction())

    async def _send(self, records: Sequence[NewRecord]) -> Mapping[TopicPartition, Sequence[asyncio.Future[object]]]:
        """Sends the records; each partition's batches, which are done when the broker has them."""
        by_partition: dict[TopicPartition, list[NewRecord]] = {}
        for record in records:
            number = self._number if record.partition is None else record.partition
            by_partition.setdefault(TopicPartition(record.topic, number), []).append(record)
        # A second batch of a partition waits until the first has left: the partitions do not wait for one another.
        sent = await asyncio.gather(*(self._send_all(partition, ours) for partition, ours in by_partition.items()))
        return dict(zip(by_partition, sent, strict=True))

    async def _send_all(
        self, partition: TopicPartition, records: Sequence[NewRecord]
    ) -> Sequence[asyncio.Future[object]]:
        sent = []
        batch = self._producer.create_batch()
        for record in records:
            if _append(batch, record) is None:
                sent.append(await self._send_batch(partition, batch))
                batch = self._producer.create_batch()
                _append(batch, record)
        sent.append(await self._send_batch(partition, batch))
        return sent

    async def _send_batch(self, partition: TopicPartition, batch: BatchBuilder) -> asyncio.Future[object]:
        future: asyncio.Future[object] = await self._producer.send_batch(
            batch, partition.topic, partition=partition.partition
        )
        # Where another one fails first, nobody waits for this one any more.
        future.add_done_callback(look_at)
        return future


def _append(batch: BatchBuilder, record: NewRecord) -> object | None:
    # None: the batch is full. The first record of a batch is always taken; its size was checked where it was made.
    appended: object | None = batch.append(
        key=record.key, value=record.value, timestamp=record.timestamp, headers=[*record.headers]
    )
    return appended
