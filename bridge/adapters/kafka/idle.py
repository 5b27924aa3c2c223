"""How far the numbers that are not running are behind: those that are parked, restored or drained."""

import asyncio
from collections.abc import Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from bridge.adapters.kafka.committed import committed_positions
from bridge.adapters.kafka.lag import records_behind
from bridge.adapters.kafka.start_stop import own_cancellations_only
from bridge.core.errors import UnavailableError

_ANSWER_S = 2.0


class IdleLag:
    """Asks for itself, and so only while there are such numbers: what is known of the others does not wait for it."""

    def __init__(self, group: str, *, probe: AIOKafkaConsumer, admin: AIOKafkaAdminClient) -> None:
        self._group = group
        self._probe = probe
        self._admin = admin

    async def records(self, known: Mapping[TopicPartition, int | None]) -> int | None:
        """High watermarks minus committed positions, summed over these partitions; None where Kafka does not answer.

        Where no position is known, what the group has committed counts; where that is nothing, the beginning.
        """
        if not known:
            return 0
        try:
            with own_cancellations_only():
                async with asyncio.timeout(_ANSWER_S):
                    positions = await self._positions(known)
                    ends: Mapping[TopicPartition, int] = await self._probe.end_offsets([*known])
        except (KafkaError, OSError, TimeoutError, UnavailableError):
            return None
        return records_behind(ends, positions)

    async def _positions(self, known: Mapping[TopicPartition, int | None]) -> Mapping[TopicPartition, int]:
        positions = {partition: position for partition, position in known.items() if position is not None}
        if unknown := known.keys() - positions.keys():
            positions |= await committed_positions(self._admin, self._group, unknown, timeout_s=_ANSWER_S)
        if unread := known.keys() - positions.keys():
            positions |= await self._probe.beginning_offsets(unread)
        return positions
