"""A subscription table without Kafka: partitions and records are given by hand."""

import asyncio
from collections.abc import Collection

from bridge.core.records import Record
from bridge.ports import TableChange


class FakeTable:
    """Steer it with `own` (a rebalance), `write` (a record of the topic, on its partition), `fail` and `come_back`."""

    def __init__(self) -> None:
        self._topic: list[Record] = []
        self._owned: frozenset[int] = frozenset()
        self._waiting: asyncio.Queue[TableChange | None] = asyncio.Queue()
        self._fault = ""
        self._is_stopped = False

    def own(self, *partitions: int) -> None:
        """A rebalance ends: exactly these are owned. What stands on a gained one is read from its start."""
        gained = frozenset(partitions) - self._owned
        self._owned = frozenset(partitions)
        self._give([record for record in self._topic if record.partition in gained], loaded=gained)

    def write(self, *records: Record) -> None:
        """The records are written to the topic; this replica sees those of the partitions that it owns."""
        self._topic += records
        seen = [record for record in records if record.partition in self._owned]
        if seen:
            self._give(seen, loaded=frozenset())

    def fail(self, fault: str) -> None:
        """From now on the topic cannot be read."""
        self._fault = fault

    def come_back(self) -> None:
        """It can again."""
        self._fault = ""

    def fault(self) -> str:
        return self._fault

    async def changes(self) -> TableChange | None:
        if self._is_stopped and self._waiting.empty():
            return None
        return await self._waiting.get()

    async def stop(self) -> None:
        self._is_stopped = True
        self._waiting.put_nowait(None)

    def _give(self, records: Collection[Record], *, loaded: frozenset[int]) -> None:
        self._waiting.put_nowait(TableChange(owned=self._owned, records=list(records), loaded=loaded))
