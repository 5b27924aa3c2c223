"""How far consumer groups are behind on a topic, asked by clients that belong to no group."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from bridge.adapters.kafka.clients import Clients
from bridge.adapters.kafka.committed import committed_positions
from bridge.adapters.kafka.peek import PEEK_BYTES, records_at
from bridge.adapters.kafka.start_stop import own_cancellations_only, start_client, stop_clients
from bridge.adapters.kafka.topics import partitions_of
from bridge.core.errors import StartError, UnavailableError
from bridge.core.valve import Lag

_TIMEOUT_S = 2.0
_READ_S = 0.5
_STOP_S = 5.0
# aiokafka closes a connection on which an answer is overdue by its own timeout, 40 s and more. Ours is shorter and
# calls the question off: a connection that a firewall has dropped without a word would stay until TCP gives it up,
# which may take 15 minutes. Fewer samples without an answer may be an election, or a broker that is busy.
_RENEW_AFTER = 3

_Positions = Mapping[TopicPartition, int]
_T = TypeVar("_T")


class KafkaLag:
    """The port `LagProbe`; it connects when it is first asked, and anew once nothing is answered any more.

    `stop` closes the connections.

    A group's own consumer would not do: while it is paused its watermark stands still, and it answers late while it
    waits for records. Of several groups the largest lag counts. With `isolation_level` "read_uncommitted" records of
    transactions that are still open count, and those whose commit is still being written.
    """

    def __init__(
        self, clients: Clients, *, topic: str, groups: Collection[str], isolation_level: str = "read_committed"
    ) -> None:
        self._clients = clients
        self._topic = topic
        self._groups = groups
        self._isolation_level = isolation_level
        self._partitions: list[TopicPartition] = []
        self._reader: AIOKafkaConsumer | None = None
        self._admin: AIOKafkaAdminClient | None = None
        self._oldest: dict[TopicPartition, tuple[int, int]] = {}
        self._unanswered = 0

    async def stop(self) -> None:
        """Closes the connections."""
        clients = [client for client in (self._reader, self._admin) if client is not None]
        self._reader = self._admin = None
        self._unanswered = 0
        await stop_clients(*clients, timeout_s=_STOP_S)

    async def lag(self) -> int | None:
        """The records of `sample`, for whoever needs no more."""
        return await self._answer(self._records_behind)

    async def sample(self) -> Lag | None:
        """See `ports.LagProbe`: the last stable offset minus the committed position, summed over all partitions.

        A partition of which a group has committed nothing counts from its beginning. None where anything is not known
        within two seconds.
        """
        return await self._answer(self._lag)

    async def _answer(self, ask: Callable[[], Awaitable[_T]]) -> _T | None:
        """What Kafka answers, or None; the clients end once that was so too often."""
        try:
            with own_cancellations_only():
                answer = await ask()
        except (KafkaError, OSError, TimeoutError, UnavailableError, StartError):
            self._unanswered += 1
            if self._unanswered >= _RENEW_AFTER:
                await self.stop()
            return None
        self._unanswered = 0
        return answer

    async def _records_behind(self) -> int:
        ends, positions = await self._ends_and_positions()
        return max(records_behind(ends, one) for one in positions)

    async def _lag(self) -> Lag:
        ends, positions = await self._ends_and_positions()
        oldest_ms = await self._oldest_ms(_unread(ends, positions))
        return Lag(records=max(records_behind(ends, one) for one in positions), oldest_ms=oldest_ms)

    async def _ends_and_positions(self) -> tuple[_Positions, Sequence[_Positions]]:
        reader, admin = await self._connected()
        async with asyncio.timeout(_TIMEOUT_S):
            ends, *committed = await asyncio.gather(
                reader.end_offsets(self._partitions),
                *(committed_positions(admin, group, self._partitions, timeout_s=_TIMEOUT_S) for group in self._groups),
            )
            if all(one.keys() == ends.keys() for one in committed):
                return ends, committed
            begins = await reader.beginning_offsets(self._partitions)
        return ends, [begins | one for one in committed]

    async def _oldest_ms(self, unread: _Positions) -> int | None:
        """The time of the oldest of the records at these positions; each is read once."""
        moved = {
            partition: position
            for partition, position in unread.items()
            if partition not in self._oldest or self._oldest[partition][0] != position
        }
        if moved and self._reader is not None:
            records = await records_at(self._reader, moved, within_s=_READ_S)
            self._oldest |= {one: (moved[one], record.timestamp) for one, record in records.items()}
        self._oldest = {one: seen for one, seen in self._oldest.items() if unread.get(one) == seen[0]}
        return min((at_ms for _, at_ms in self._oldest.values()), default=None)

    async def _connected(self) -> tuple[AIOKafkaConsumer, AIOKafkaAdminClient]:
        if self._reader is None:
            count = await partitions_of(self._clients, self._topic, timeout_s=_TIMEOUT_S)
            self._partitions = [TopicPartition(self._topic, number) for number in range(count)]
            reader = self._clients.reader(isolation_level=self._isolation_level, max_partition_fetch_bytes=PEEK_BYTES)
            # Assigned, it asks for the metadata of this topic only; paused, it fetches no record.
            reader.assign(self._partitions)
            reader.pause(*self._partitions)
            await start_client(reader, timeout_s=_TIMEOUT_S)
            self._reader = reader
        if self._admin is None:
            admin = self._clients.admin()
            await start_client(admin, timeout_s=_TIMEOUT_S, topics=[self._topic])
            self._admin = admin
        return self._reader, self._admin


def records_behind(ends: _Positions, positions: _Positions) -> int:
    """Ends minus positions, summed over the partitions of `ends`."""
    # A position may be ahead of the last stable offset while a transaction is open below it, and of any end that moves
    # back because another replica becomes the leader.
    return sum(max(0, ends[partition] - positions[partition]) for partition in ends)


def _unread(ends: _Positions, groups: Sequence[_Positions]) -> dict[TopicPartition, int]:
    """Where each partition's oldest unread record stands, for the group that is furthest behind there."""
    first = {partition: min(positions[partition] for positions in groups) for partition in ends}
    return {partition: position for partition, position in first.items() if position < ends[partition]}
