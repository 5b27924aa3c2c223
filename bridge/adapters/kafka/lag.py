"""How far a consumer group is behind on a topic, asked by clients that belong to no group."""

import asyncio

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from bridge.adapters.kafka.clients import Clients, start_client, stop_client
from bridge.adapters.kafka.committed import committed_positions
from bridge.adapters.kafka.topics import partitions_of
from bridge.core.errors import StartError, UnavailableError

_TIMEOUT_S = 2.0
_STOP_S = 5.0


class KafkaLag:
    """The port `LagProbe`; it connects when it is first asked. `stop` closes the connections.

    A group's own consumer would not do: while it is paused its watermark stands still, and it answers late while it
    waits for records.
    """

    def __init__(self, clients: Clients, *, topic: str, group: str) -> None:
        self._clients = clients
        self._topic = topic
        self._group = group
        self._partitions: list[TopicPartition] = []
        self._reader: AIOKafkaConsumer | None = None
        self._admin: AIOKafkaAdminClient | None = None

    async def stop(self) -> None:
        """Closes the connections."""
        clients = [client for client in (self._reader, self._admin) if client is not None]
        self._reader = self._admin = None
        await asyncio.gather(*(stop_client(client, timeout_s=_STOP_S) for client in clients))

    async def lag(self) -> int | None:
        """See `ports.LagProbe`: the last stable offset minus the committed position, summed over all partitions.

        None where any of them is not known within two seconds, also while the group has committed nothing yet.
        """
        try:
            reader, admin = await self._connected()
            async with asyncio.timeout(_TIMEOUT_S):
                ends, positions = await asyncio.gather(
                    reader.end_offsets(self._partitions),
                    committed_positions(admin, self._group, self._partitions, timeout_s=_TIMEOUT_S),
                )
        except (KafkaError, OSError, TimeoutError, UnavailableError, StartError):
            return None
        if not (ends.keys() == positions.keys() == set(self._partitions)):
            return None
        # A position may be ahead of the last stable offset while a transaction is open below it.
        behind: int = sum(max(0, ends[partition] - positions[partition]) for partition in self._partitions)
        return behind

    async def _connected(self) -> tuple[AIOKafkaConsumer, AIOKafkaAdminClient]:
        if self._reader is None:
            count = await partitions_of(self._clients, self._topic, timeout_s=_TIMEOUT_S)
            self._partitions = [TopicPartition(self._topic, number) for number in range(count)]
            reader = self._clients.reader()
            # Assigned, it asks for the metadata of this topic only; paused, it fetches no record.
            reader.assign(self._partitions)
            reader.pause(*self._partitions)
            await start_client(reader, timeout_s=_TIMEOUT_S)
            self._reader = reader
        if self._admin is None:
            admin = self._clients.admin()
            await start_client(admin, timeout_s=_TIMEOUT_S)
            self._admin = admin
        return self._reader, self._admin
