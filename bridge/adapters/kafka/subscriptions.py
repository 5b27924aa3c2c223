"""`interaction-subscriptions` as a table: gained partitions read from their start, kept ones from the own position."""

import asyncio
import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import aclosing

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from bridge.adapters.kafka.clients import Clients
from bridge.adapters.kafka.live import Publisher
from bridge.adapters.kafka.reader import read
from bridge.adapters.kafka.start_stop import own_cancellations_only, start_client, stop_client
from bridge.core.errors import UnavailableError
from bridge.core.events.subscriptions import TableReadFailed
from bridge.core.partitions import partition_of
from bridge.core.reconnect import full_jitter_s
from bridge.core.records import Record
from bridge.core.subscriptions import is_alive, subscription_record
from bridge.core.topics import Topics
from bridge.core.values import Subscription, encode
from bridge.ports import Clock, Emit, TableChange

_START_S = 30.0
_STOP_S = 5.0
_POLL_MS = 200
# The end of an empty partition comes without a record that would wake the poll.
_POLL_LOADING_MS = 20
_BACKOFF_FIRST_S = 0.5
_BACKOFF_CAP_S = 10.0


class KafkaTable:
    """The port `SubscriptionTable`; it joins the group at the first `changes`. `chance` is from 0 to 1.

    Nothing is ever committed: the group shares the partitions, not the positions.
    """

    def __init__(
        self, clients: Clients, *, topic: str, group: str, emit: Emit, chance: Callable[[], float] = random.random
    ) -> None:
        self._clients = clients
        self._topic = topic
        self._group = group
        self._emit = emit
        self._chance = chance
        self._reading = _Reading(topic, stuck_after_s=clients.options.stuck_after_s)
        self._consumer: AIOKafkaConsumer | None = None
        self._failures = 0
        self._fault = ""
        self._is_stopping = False
        self._patience: asyncio.Timeout | None = None

    async def changes(self) -> TableChange | None:
        """See `ports.SubscriptionTable`. A consumer that fails is made anew; what is owned stays owned meanwhile."""
        while not self._is_stopping:
            try:
                async with asyncio.timeout(None) as self._patience:
                    change = await self._next_change()
            except TimeoutError:
                if not self._is_stopping:
                    raise
                break
            finally:
                self._patience = None
            if change is not None:
                return change
        return None

    def fault(self) -> str:
        """See `ports.SubscriptionTable`."""
        return self._fault

    async def stop(self) -> None:
        """Leaves the group; `changes` returns None."""
        was_stopping, self._is_stopping = self._is_stopping, True
        if self._patience is not None and not was_stopping:
            # A poll during a rebalance does not heed its own timeout.
            self._patience.reschedule(asyncio.get_running_loop().time())
        await self._drop_consumer()

    async def _next_change(self) -> TableChange | None:
        try:
            if self._consumer is None:
                await self._join()
            change = await self._reading.next_change()
        except UnavailableError as error:
            await self._drop_consumer()
            self._failures += 1
            self._fault = f"it cannot be read: {error.reason}"
            pause_s = full_jitter_s(
                self._failures, first_s=_BACKOFF_FIRST_S, cap_s=_BACKOFF_CAP_S, chance=self._chance()
            )
            self._emit(TableReadFailed(reason=error.reason, retry_in_s=pause_s))
            await asyncio.sleep(pause_s)
            return None
        self._failures, self._fault = 0, ""
        return change

    async def _join(self) -> None:
        self._consumer = self._reading.consumer = self._clients.group_consumer(self._group)
        await start_client(self._consumer, timeout_s=_START_S)
        # Only now: a consumer that has subscribed before its start waits there for the whole rebalance.
        self._consumer.subscribe([self._topic], listener=self._reading)

    async def _drop_consumer(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await stop_client(consumer, timeout_s=_STOP_S)


class _Reading(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka has no types
    """What is owned, how far each partition was handed on, and which ones are not loaded yet.

    A partition that begins from its start although the last change had it is left out of one change first. Else the
    table would hold it as loaded, and take its old records for new ones.
    """

    def __init__(self, topic: str, *, stuck_after_s: float) -> None:
        self._topic = topic
        self._stuck_after_s = stuck_after_s
        self._positions: dict[int, int] = {}
        self._loading: dict[int, int | None] = {}
        self._was_assigned = False
        self._begun: set[int] = set()
        self._told: frozenset[int] = frozenset()
        self._held: TableChange | None = None
        self.consumer: AIOKafkaConsumer | None = None

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Does nothing: everything is revoked at each rebalance, and most of it comes back."""

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Reads kept partitions on from where they are, gained ones from the start."""
        # Neither I/O nor a wait here: aiokafka hands out records while a listener waits.
        partitions = {partition.partition: partition for partition in assigned}
        gained = dict.fromkeys(partitions.keys() - self._positions.keys())
        self._loading = {number: end for number, end in {**gained, **self._loading}.items() if number in partitions}
        self._positions = {number: self._positions.get(number, 0) for number in partitions}
        self._begun |= gained.keys()
        self._was_assigned = True
        if self.consumer is not None:
            for number, partition in partitions.items():
                self.consumer.seek(partition, self._positions[number])

    async def next_change(self) -> TableChange | None:
        """Polls once; None if nothing has changed. Raises UnavailableError where the consumer is of no more use."""
        change, self._held = self._held, None
        if change is None and self.consumer is not None:
            change = self._losing_first(await self._read(self.consumer))
        if change is not None:
            self._told = change.owned
        return change

    def _losing_first(self, change: TableChange | None) -> TableChange | None:
        """The change; before it, one without what begins again."""
        if change is None:
            return None
        again, self._begun = self._told & self._begun, set()
        if not again:
            return change
        self._held = change
        return TableChange(owned=change.owned - again, records=[], loaded=frozenset())

    async def _read(self, consumer: AIOKafkaConsumer) -> TableChange | None:
        try:
            with own_cancellations_only():
                # A poll during a rebalance heeds no timeout of its own.
                async with asyncio.timeout(self._stuck_after_s):
                    fetched = await self._poll(consumer)
                    loaded = await self._look_for_loaded(consumer)
        except (KafkaError, OSError, TimeoutError) as error:
            raise UnavailableError("Kafka", type(error).__name__) from error
        if not (fetched or loaded or self._was_assigned or self._begun):
            return None
        self._was_assigned = False
        records = [record for batch in fetched.values() for record in batch]
        return TableChange(owned=frozenset(self._positions), records=records, loaded=loaded)

    async def _poll(self, consumer: AIOKafkaConsumer) -> Mapping[TopicPartition, Sequence[Record]]:
        try:
            fetched: Mapping[TopicPartition, Sequence[Record]] = await consumer.getmany(
                timeout_ms=_POLL_LOADING_MS if self._loading else _POLL_MS
            )
        except OffsetOutOfRangeError as error:
            await self._begin_again(consumer, error.args[0])
            return {}
        for partition, batch in fetched.items():
            self._positions[partition.partition] = batch[-1].offset + 1
        return fetched

    async def _begin_again(self, consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition]) -> None:
        """Records were deleted, or the topic was made anew: what has been read is not what stands there now."""
        read = [partition for partition in partitions if self._positions.get(partition.partition)]
        for partition in read:
            self._positions[partition.partition], self._loading[partition.partition] = 0, None
            self._begun.add(partition.partition)
        await consumer.seek_to_beginning(*partitions)
        if read:
            # The end that the consumer knows without asking is that of what stood there before.
            ends = await consumer.end_offsets(read)
            self._loading |= {one.partition: end for one, end in ends.items() if one.partition in self._loading}

    async def _look_for_loaded(self, consumer: AIOKafkaConsumer) -> frozenset[int]:
        loaded = set()
        for number in list(self._loading):
            partition = TopicPartition(self._topic, number)
            if partition not in consumer.assignment():
                continue
            if self._loading[number] is None:
                # As of the first fetch since the gain: that is known without asking, and late enough.
                self._loading[number] = consumer.last_stable_offset(partition)
            end = self._loading[number]
            # The position, not the last record: markers and compaction leave holes before the end.
            if end is not None and await consumer.position(partition) >= end:
                loaded.add(number)
        for number in loaded:
            self._loading.pop(number, None)
        return frozenset(loaded)


async def write_missing(
    clients: Clients,
    topics: Topics,
    interactions: Collection[str],
    *,
    clock: Clock,
    timeout_s: float,
    ttl_s: float,
) -> list[str]:
    """Writes a subscription for each interaction that has none that is alive; returns those that were written.

    `ttl_s` is how long one without `expiresAt` lives. Raises UnavailableError where Kafka does not answer.
    """
    if not interactions:
        return []
    topic, latest = topics.interaction_subscriptions, dict[bytes | None, Record]()
    async with aclosing(read(clients, topic, from_start=True, until_end=True, timeout_s=timeout_s)) as records:
        async for record in records:
            if record.key is not None and partition_of(record.key, topics.partitions) == record.partition:
                latest[record.key] = record
    at_ms = clock()
    missing = [
        interaction_id
        for interaction_id in dict.fromkeys(interactions)
        if not is_alive(latest.get(interaction_id.encode()), ttl_s=ttl_s, at_ms=at_ms)
    ]
    await _write(clients, topics, missing, at_ms=at_ms)
    return missing


async def _write(clients: Clients, topics: Topics, interactions: Sequence[str], *, at_ms: int) -> None:
    if not interactions:
        return
    publisher = await Publisher(clients).start()
    try:
        for interaction_id in interactions:
            record = subscription_record(
                topics.interaction_subscriptions,
                interaction_id,
                value=encode(Subscription(interaction_id=interaction_id)),
                partition=partition_of(interaction_id.encode(), topics.partitions),
                at_ms=at_ms,
            )
            await publisher.publish(record)
    finally:
        await publisher.close()
