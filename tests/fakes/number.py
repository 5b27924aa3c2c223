"""A number without Kafka: batches are put in by hand, what was committed is looked at."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

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
        self._failure: TransactionError | None = None
        self._may_commit = asyncio.Event()
        self._may_commit.set()
        self._commits_held = 0
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

    @property
    def left(self) -> int:
        """How many records were given and not taken."""
        return sum(len(batch.records) for batch in self._waiting)

    async def until_left(self, number: int) -> None:
        """Waits until no more than so many records are left."""
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(lambda: self.left <= number)

    def fail_commits_with(self, error: TransactionError) -> None:
        """From now on every commit raises this."""
        self._failure = error

    def hold_commits(self) -> None:
        """From now on a commit waits for `let_commits_go`."""
        self._may_commit.clear()

    def let_commits_go(self) -> None:
        self._may_commit.set()

    async def until_commit_held(self) -> None:
        """Waits until a commit is under way."""
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(lambda: self._commits_held > 0)

    async def take(self, *, max_records: int = 1_000_000, topics: Collection[str] | None = None) -> Batch | None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._is_draining or self._next(topics) is not None)
            at = self._next(topics)
            if self._is_draining or at is None:
                return None
            batch = self._split(at, topics, max_records)
            self._changed.notify_all()
            return batch

    def _next(self, topics: Collection[str] | None) -> int | None:
        """Which batch has something of the topics, or has no records at all."""
        for at, batch in enumerate(self._waiting):
            if not batch.records or any(topics is None or record.topic in topics for record in batch.records):
                return at
        return None

    def _split(self, at: int, topics: Collection[str] | None, max_records: int) -> Batch:
        batch = self._waiting.pop(at)
        wanted = [record for record in batch.records if topics is None or record.topic in topics][:max_records]
        taken = set(map(id, wanted))
        rest = [record for record in batch.records if id(record) not in taken]
        if rest:
            self._waiting.insert(at, replace(batch, records=rest))
        # A topic's position is its first record that was not taken, or else where the batch said.
        before = [record for waiting in self._waiting[: at + bool(rest)] for record in waiting.records]
        left = {record.topic: record.offset for record in reversed(before)}
        return replace(batch, records=wanted, positions={**batch.positions, **left})

    async def until_draining(self) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._is_draining)

    async def commit(self, written: Sequence[NewRecord], positions: Mapping[str, int]) -> None:
        if not self._may_commit.is_set():
            await self._hold()
        async with self._changed:
            if self._failure is not None:
                raise self._failure
            if self.fail_next_commit:
                self.fail_next_commit = False
                raise TransactionError("the transaction was made to fail")
            self.commits.append((list(written), dict(positions)))
            self.written += written
            self.positions.update(positions)
            self._changed.notify_all()

    async def _hold(self) -> None:
        async with self._changed:
            self._commits_held += 1
            self._changed.notify_all()
        await self._may_commit.wait()
        self._commits_held -= 1
