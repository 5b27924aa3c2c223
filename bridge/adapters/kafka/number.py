"""One partition number as this process owns it: what was read and is not yet taken, and what is committed."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic

from aiokafka import TopicPartition

from bridge.adapters.kafka.buffer import Buffer
from bridge.adapters.kafka.transactions import TransactionalWriter
from bridge.core.budget import Budget, Charge, Overrun
from bridge.core.dead_letters import SetAside, set_aside_in
from bridge.core.errors import BudgetError, FencedError, TransactionError
from bridge.core.events.dead_letters import BudgetSpent, DeadLettersWritten
from bridge.core.events.engine import TransactionCommitted, TransactionFailed
from bridge.core.records import NewRecord, Record
from bridge.ports import Batch, Emit

# A transaction of this many records is not made better by waiting for more.
_ENOUGH_RECORDS = 500


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
        budget: Budget,
        emit: Emit,
        on_room: Callable[[], None],
    ) -> None:
        self.number = number
        self.committed = dict(positions)
        self._committed_at_s = monotonic()
        self._topics = topics
        self._group = group
        self._writer = writer
        self._commit_interval_s = commit_interval_s
        self._budget = budget
        self._emit = emit
        self._on_room = on_room
        self._is_open = False
        self._changed = asyncio.Event()
        self._closed = asyncio.Event()
        self._writing = asyncio.Lock()
        self._buffers: dict[str, Buffer] = {}
        self._ends: dict[str, int] = {}
        # Offsets that the hop has, and has not committed.
        self._taken: dict[str, deque[int]] = {}

    # -- for the engine ------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """From now on records are delivered, from the committed positions on; what was read before is forgotten."""
        self._buffers = {topic: Buffer(self.committed[topic]) for topic in self._topics}
        self._ends = {}
        self._taken = {topic: deque() for topic in self._topics}
        self._is_open = True
        self._closed.clear()

    def close_intake(self) -> None:
        """From now on `take` returns None."""
        self._is_open = False
        self._closed.set()
        self._changed.set()

    def put(self, topic: str, records: Sequence[Record]) -> None:
        """Delivers records of one topic, in their order."""
        buffer = self._buffers[topic]
        buffer.put(records)
        if len(self._topics) == 1:
            buffer.release()
            self._changed.set()

    def read_to(self, topic: str, position: int) -> None:
        """All records of the topic before `position` have been delivered."""
        buffer = self._buffers[topic]
        if buffer.read_to != position:
            buffer.read_to = position
            self._changed.set()

    def sampled(self, ends: Mapping[str, int]) -> None:
        """The ends of the topics' logs, asked for after everything delivered so far was fetched."""
        self._ends.update(ends)
        for buffer in self._buffers.values():
            buffer.release()
        self._changed.set()

    @property
    def is_unsampled(self) -> bool:
        """True while delivered records wait for a sample of the ends."""
        return any(buffer.has_arriving for buffer in self._buffers.values())

    @property
    def waits_for_an_end(self) -> bool:
        """True while a topic has not been read to the end that was sampled last."""
        return any(self._buffers[topic].read_to < end for topic, end in self._ends.items())

    def topics_with_room(self) -> Iterator[str]:
        """The topics of which more may be delivered. A full one never holds up another."""
        return (topic for topic, buffer in self._buffers.items() if not buffer.is_full)

    # -- for the hop ---------------------------------------------------------------------------------------------------

    async def take(self, *, max_records: int = 1_000_000, topics: Collection[str] | None = None) -> Batch | None:
        """See `ports.Number`."""
        wanted = self._topics if topics is None else topics
        while self._is_open and not any(self._buffers[topic].has_news for topic in self._open_to(wanted)):
            self._changed.clear()
            await self._changed.wait()
        await self._gather(1 if self._budget.is_spent else min(max_records, _ENOUGH_RECORDS))
        if not self._is_open:
            return None
        return self._pop(max_records, self._open_to(wanted))

    async def until_draining(self) -> None:
        """See `ports.Number`."""
        await self._closed.wait()

    async def commit(self, written: Sequence[NewRecord], positions: Mapping[str, int]) -> None:
        """See `ports.Number`."""
        async with self._writing:
            moved = {topic: position for topic, position in positions.items() if position != self.committed[topic]}
            if not moved and not written:
                return
            aside = [one for record in written if (one := set_aside_in(record)) is not None]
            charge = self._charge(aside, positions)
            await self._write(written, moved)
            self.committed.update(moved)
            self._budget.adopt(charge, self.committed)
            self._committed_at_s = monotonic()
            self._tell_dead(aside)
            self._changed.set()

    async def _gather(self, enough: int) -> None:
        """Waits until a commit interval has passed since the last transaction, or there is enough for the next one.

        A lone record after a pause is not held up; under load, transactions do not become many and small.
        """
        until_s = self._committed_at_s + self._commit_interval_s
        while self._is_open and self._buffered_records < enough and (left_s := until_s - monotonic()) > 0:
            self._changed.clear()
            try:
                async with asyncio.timeout(left_s):
                    await self._changed.wait()
            except TimeoutError:
                return

    def _open_to(self, topics: Collection[str]) -> Collection[str]:
        """The topics of which records may be taken now.

        With a spent budget, one at a time of each: a hop must not work through a thousand that will not be committed,
        and what can be used before them must not wait for them.
        """
        return [topic for topic in topics if not self._taken[topic]] if self._budget.is_spent else topics

    @property
    def _buffered_records(self) -> int:
        return sum(buffer.records for buffer in self._buffers.values())

    def _pop(self, max_records: int, wanted: Collection[str]) -> Batch:
        taken: list[Record] = []
        for topic in wanted:
            ours = self._buffers[topic].take(1 if self._budget.is_spent else max_records - len(taken))
            self._taken[topic].extend(record.offset for record in ours)
            taken += ours
        self._on_room()
        positions = {topic: self._buffers[topic].position for topic in self._topics}
        return Batch(records=taken, positions=positions, ends=dict(self._ends))

    def _charge(self, aside: Iterable[SetAside], positions: Mapping[str, int]) -> Charge:
        """What the budget will be after this batch; raises BudgetError where it is too small for it."""
        dead: dict[str, dict[int, str]] = {}
        again = set()
        for one in aside:
            # What is sent back was bad before, which is no news of this release; `--max-replays` is its bound.
            if one.was_replayed:
                again.add((one.topic, one.offset))
            else:
                dead.setdefault(one.topic, {})[one.offset] = one.reason
        done = {topic: self._done(topic, before=position) for topic, position in positions.items()}
        if again:
            done = {topic: [at for at in offsets if (topic, at) not in again] for topic, offsets in done.items()}
        charge = self._budget.charge(done, dead)
        if isinstance(charge, Overrun):
            self._emit(
                BudgetSpent(
                    group=self._group, number=self.number, topic=charge.topic, offset=charge.offset, rule=charge.rule
                )
            )
            raise BudgetError(self._budget.reason)
        return charge

    def _done(self, topic: str, *, before: int) -> list[int]:
        """Takes off the list of taken offsets what a position passes."""
        taken = self._taken[topic]
        done = []
        while taken and taken[0] < before:
            done.append(taken.popleft())
        return done

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

    def _tell_dead(self, aside: Iterable[SetAside]) -> None:
        counts = Counter((one.dlq_topic, one.dlq_class) for one in aside)
        for (topic, dlq_class), letters in counts.items():
            self._emit(DeadLettersWritten(topic=topic, class_=dlq_class, letters=letters))

    def _tell_failed(self, error: TransactionError) -> None:
        cause = "fenced" if isinstance(error, FencedError) else type(error.__cause__).__name__
        self._emit(TransactionFailed(group=self._group, number=self.number, cause=cause))
