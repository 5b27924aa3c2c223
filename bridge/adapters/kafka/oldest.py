"""How old the oldest dead letter is that no replay has passed."""

import asyncio
from collections.abc import Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from bridge.adapters.kafka.clients import Clients, group_of
from bridge.adapters.kafka.committed import committed_positions
from bridge.adapters.kafka.peek import PEEK_BYTES, read_on
from bridge.adapters.kafka.start_stop import own_cancellations_only, start_client, stop_clients
from bridge.core.errors import UnavailableError
from bridge.core.events.dead_letters import OldestDeadLetterSeen
from bridge.core.records import Record
from bridge.core.replay import REPLAY_GROUP, left_from, replayed_in
from bridge.ports import Clock, Emit

_EVERY_S = 60.0
_ANSWER_S = 10.0
_STOP_S = 1.0


class OldestLetters:
    """Looks at the dead-letter topics of one process once a minute, and tells."""

    def __init__(self, clients: Clients, topics: Sequence[str], *, partitions: int, clock: Clock, emit: Emit) -> None:
        self._clients = clients
        self._topics = topics
        self._partitions = partitions
        self._clock = clock
        self._emit = emit

    async def run(self) -> None:
        """Looks until it is cancelled; what Kafka does not tell is told as unknown."""
        while True:
            for topic in self._topics:
                self._emit(OldestDeadLetterSeen(topic=topic, age_s=await self._age_s(topic)))
            await asyncio.sleep(_EVERY_S)

    async def _age_s(self, topic: str) -> float | None:
        reader = self._clients.reader(max_partition_fetch_bytes=PEEK_BYTES)
        admin = self._clients.admin()
        partitions = [TopicPartition(topic, number) for number in range(self._partitions)]
        reader.assign(partitions)
        reader.pause(*partitions)
        try:
            with own_cancellations_only():
                async with asyncio.timeout(_ANSWER_S):
                    await start_client(reader, timeout_s=_ANSWER_S)
                    await start_client(admin, timeout_s=_ANSWER_S)
                    times_ms = await self._first_ms(reader, admin, partitions)
        except (KafkaError, OSError, TimeoutError, UnavailableError):
            return None
        finally:
            await stop_clients(reader, admin, timeout_s=_STOP_S)
        return max(0.0, (self._clock() - min(times_ms)) / 1000) if times_ms else 0.0

    async def _first_ms(
        self, reader: AIOKafkaConsumer, admin: AIOKafkaAdminClient, partitions: Sequence[TopicPartition]
    ) -> list[int]:
        """The time of the first letter of each partition that has one."""
        group = group_of(self._clients.options, REPLAY_GROUP)
        passed = await committed_positions(admin, group, partitions, timeout_s=_ANSWER_S)
        begins, ends = await asyncio.gather(reader.beginning_offsets(partitions), reader.end_offsets(partitions))
        left = {one: left_from(begin=begins[one], passed=passed.get(one, 0), end=ends[one]) for one in partitions}
        times_ms: list[int] = []

        def take(_: TopicPartition, records: Sequence[Record]) -> bool:
            letters = [record for record in records if replayed_in(record) is None]
            times_ms.extend(record.timestamp for record in letters[:1])
            return bool(letters)

        try:
            async with asyncio.timeout(_ANSWER_S / 2):
                await read_on(reader, left, ends, take=take)
        except TimeoutError:
            if not times_ms:
                raise
        return times_ms  # Of what was read in time, if not of all.
