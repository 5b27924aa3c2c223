"""A number without Kafka: batches are put in by hand, what was committed is looked at."""

import asyncio
from collections.abc import Mapping, Sequence

from bridge.core.errors import TransactionError
from bridge.core.records import NewRecord, Record
from bridge.ports import Batch


class FakeNumber:
    """Steer it with `give`, `drain` and `fail_next_commit`; look at `written` and `positions`."""

    def __init__(self, number: int = 0) -> None:
        self.number = number
        self.written: list[NewRecord] = []
        self.commits: list[tuple[list[NewRecord], dict[str, int]]] = []
        self.positions: dict[str, int] = {}
        self.fail_next_commit = False
        self._waiting: list[Batch] = []
        self._is_draining = False
        self._changed = asyncio.Condition()

    async def give(
        self, *records: Record, positions: Mapping[str, int] | None = None, ends: Mapping[str, int] | None = None
    ) -> None:
        """Makes one batch available. Positions follow from the records where they are not given."""
        read_to = {record.topic: record.offset + 1 for record in records} | dict(positions or {})
        async with self._changed:
            self._waiting.append(Batch(records=records, positions=read_to, ends=dict(ends or read_to)))
            self._changed.notify_all()

    async def drain(self) -> None:
        """From now on `take` returns None."""
        async with self._changed:
            self._is_draining = True
            self._changed.notify_all()

    async def until_committed(self, **positions: int) -> None:
        """Waits until the positions are these; dashes in a topic's name are underscores here."""
        wanted = {topic.replace("_", "-"): position for topic, position in positions.items()}
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(lambda: wanted.items() <= self.positions.items())

    async def take(self, *, max_records: int = 1_000_000) -> Batch | None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._waiting or self._is_draining)
            if self._is_draining:
                return None
            return self._waiting.pop(0)

    async def commit(self, written: Sequence[NewRecord], positions: Mapping[str, int]) -> None:
        async with self._changed:
            if self.fail_next_commit:
                self.fail_next_commit = False
                raise TransactionError("the transaction was made to fail")
            self.commits.append((list(written), dict(positions)))
            self.written += written
            self.positions.update(positions)
            self._changed.notify_all()
