"""One partition number as this process owns it: what was read and is not yet taken, and what is committed."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic

from aiokafka import TopicPartition

from bridge.adapters.kafka.transactions import TransactionalWriter
from bridge.core.errors import FencedError, TransactionError
from bridge.core.events.engine import TransactionCommitted, TransactionFailed
from bridge.core.records import NewRecord, Record
from bridge.ports import Batch, Emit

# How much is read ahead of the hop. Above the first, fetching is paused; it goes on below half of it.
_MAX_BUFFERED_RECORDS = 2_000
_MAX_BUFFERED_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Parked:
    """Not worked; what would change that is the reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class Restoring:
    """Fencing the former owner, then reading positions and state."""


@dataclass(frozen=True, slots=True)
class Running:
    """Records are delivered and worked."""


@dataclass(frozen=True, slots=True)
class Draining:
    """Nothing more is delivered; what was taken is being finished and committed."""


State = Parked | Restoring | Running | Draining


class OwnedNumber:
    """The port `Number` for the hop on one side, for the engine on the other.

    Only a running number takes records: that gate, not the pausing of a partition, keeps a record from being worked
    by the wrong owner or from the wrong position.
    """

    def __init__(
        self,
        number: int,
        *,
        topics: Sequence[str],
        group: str,
        writer: TransactionalWriter,
        positions: Mapping[str, int],
        commit_interval_s: float,
        emit: Emit,
        on_room: Callable[[], None],
    ) -> None:
        self.number = number
        self.committed = dict(positions)
        self.waiting_since_s = monotonic()
        self._committed_at_s = monotonic()
        self._topics = topics
        self._group = group
        self._writer = writer
        self._commit_interval_s = commit_interval_s
        self._emit = emit
        self._on_room = on_room
        self._is_open = False
        self._is_sampled = True
        self._changed = asyncio.Event()
        self._writing = asyncio.Lock()
        self._waiting: dict[str, deque[Record]] = {}
        self._waiting_bytes = 0
        self._read_to: dict[str, int] = {}
        self._told: dict[str, int] = {}
        self._ends: dict[str, int] = {}

    # -- for the engine ----------------------------------------------------------------------------------------------

    def open(self) -> None:
        """From now on records are delivered, from the committed positions on; what was read before is forgotten."""
        self._waiting = {topic: deque() for topic in self._topics}
        self._waiting_bytes = 0
        self._read_to = dict(self.committed)
        self._told = dict(self.committed)
        self._ends = {}
        self._is_sampled = True
        self._is_open = True

    def close_intake(self) -> None:
        """From now on `take` returns None."""
        self._is_open = False
        self._changed.set()

    def put(self, topic: str, records: Sequence[Record]) -> None:
        """Delivers records of one topic, in their order."""
        if not self.has_work:
            self.waiting_since_s = monotonic()
        self._waiting[topic].extend(records)
        self._waiting_bytes += sum(len(record.value or b"") for record in records)
        # Of several topics, none may be worked before the ends have been sampled: after these records were fetched.
        self._is_sampled = len(self._topics) == 1
        self._changed.set()

    def read_to(self, topic: str, position: int) -> None:
        """All records of the topic before `position` have been delivered."""
        if self._read_to[topic] != position:
            self._read_to[topic] = position
            self._changed.set()

    def sampled(self, ends: Mapping[str, int]) -> None:
        """The high watermarks of the topics, asked for after everything delivered so far was fetched."""
        self._ends.update(ends)
        self._is_sampled = True
        self._changed.set()

    @property
    def is_unsampled(self) -> bool:
        """True while delivered records wait for a sample of the ends."""
        return not self._is_sampled

    @property
    def waits_for_an_end(self) -> bool:
        """True while a topic has not been read to the end that was sampled last."""
        return any(self._read_to[topic] < end for topic, end in self._ends.items())

    @property
    def is_full(self) -> bool:
        """True when fetching should pause."""
        return self._waiting_records > _MAX_BUFFERED_RECORDS or self._waiting_bytes > _MAX_BUFFERED_BYTES

    @property
    def has_room(self) -> bool:
        """True when fetching should go on."""
        return self._waiting_records < _MAX_BUFFERED_RECORDS // 2 and self._waiting_bytes < _MAX_BUFFERED_BYTES // 2

    @property
    def has_work(self) -> bool:
        """True when something was delivered that has not been taken."""
        return self._waiting_records > 0

    @property
    def _waiting_records(self) -> int:
        return sum(map(len, self._waiting.values()))

    # -- for the hop -------------------------------------------------------------------------------------------------

    async def take(self, *, max_records: int = 1_000_000) -> Batch | None:
        """See `ports.Number`."""
        while self._is_open and not self._has_news:
            self._changed.clear()
            await self._changed.wait()
        await self._gather(max_records)
        if not self._is_open:
            return None
        return self._pop(max_records)

    async def commit(self, written: Sequence[NewRecord], positions: Mapping[str, int]) -> None:
        """See `ports.Number`."""
        async with self._writing:
            moved = {topic: position for topic, position in positions.items() if position != self.committed[topic]}
            if not moved and not written:
                return
            await self._write(written, moved)
            self.committed.update(moved)
            self._committed_at_s = self.waiting_since_s = monotonic()

    @property
    def _has_news(self) -> bool:
        if not self._is_sampled:
            return False
        return self._waiting_records > 0 or self._read_to != self._told

    async def _gather(self, max_records: int) -> None:
        """Waits until a commit interval has passed since the last transaction, or there is enough for the next one.

        A lone record after a pause is not held up; under load, transactions do not become many and small.
        """
        until_s = self._committed_at_s + self._commit_interval_s
        enough = min(max_records, _MAX_BUFFERED_RECORDS // 4)
        while self._is_open and self._waiting_records < enough and (left_s := until_s - monotonic()) > 0:
            self._changed.clear()
            try:
                async with asyncio.timeout(left_s):
                    await self._changed.wait()
            except TimeoutError:
                return

    def _pop(self, max_records: int) -> Batch:
        taken: list[Record] = []
        positions = {}
        for topic, waiting in self._waiting.items():
            while waiting and len(taken) < max_records:
                taken.append(waiting.popleft())
            positions[topic] = waiting[0].offset if waiting else self._read_to[topic]
        self._waiting_bytes -= sum(len(record.value or b"") for record in taken)
        self._told = positions
        self._on_room()
        return Batch(records=taken, positions=positions, ends=dict(self._ends))

    async def _write(self, written: Sequence[NewRecord], positions: Mapping[str, int]) -> None:
        started_s = monotonic()
        offsets = {TopicPartition(topic, self.number): position for topic, position in positions.items()}
        try:
            await self._writer.write(written, offsets)
        except TransactionError as error:
            self._tell_failed(error)
            raise
        took_s = monotonic() - started_s
        self._emit(TransactionCommitted(group=self._group, number=self.number, records=len(written), took_s=took_s))

    def _tell_failed(self, error: TransactionError) -> None:
        cause = "fenced" if isinstance(error, FencedError) else type(error.__cause__).__name__
        self._emit(TransactionFailed(group=self._group, number=self.number, cause=cause))
