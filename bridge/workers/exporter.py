"""acceptance-exports -> the KMP, suggestion-audit, dlq.exports."""

import asyncio
import random
import time
from collections import deque
from collections.abc import Sequence

from bridge.core.errors import MalformedError, TransactionError
from bridge.core.events.exporter import ExportUnusable
from bridge.core.exports import Export, export_of, set_aside, told
from bridge.core.offsets import OffsetLedger
from bridge.core.records import NewRecord, Record
from bridge.core.topics import Topics
from bridge.core.verdict import RetryAfter, RetryPolicy
from bridge.ports import Batch, Clock, Condition, Emit, Kmp, Number
from bridge.workers.outlet import Chance, Monotonic, Outlet, Sleep

# How many records of a number are taken and not yet committed. Enough to work past an interaction whose export is
# retried; the rest stays on the topic, where it is seen as lag, and is not posted again after a restart.
MAX_OPEN_RECORDS = 1_000


class Exporters:
    """Makes the exporter of each number. All of a process share one way to the KMP, with one bound and one breaker."""

    def __init__(
        self,
        *,
        topics: Topics,
        kmp: Kmp,
        policy: RetryPolicy,
        max_in_flight: int,
        drain_timeout_s: float,
        clock: Clock,
        emit: Emit,
        chance: Chance = random.random,
        monotonic: Monotonic = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._topics = topics
        self._drain_timeout_s = drain_timeout_s
        self._emit = emit
        self._outlet = Outlet(
            kmp=kmp,
            policy=policy,
            max_in_flight=max_in_flight,
            clock=clock,
            emit=emit,
            chance=chance,
            monotonic=monotonic,
            sleep=sleep,
        )

    def new(self) -> "Exporter":
        """The hop for one number."""
        return Exporter(
            topics=self._topics, outlet=self._outlet, drain_timeout_s=self._drain_timeout_s, emit=self._emit
        )

    def waits(self, number: int) -> bool:
        """True while that number waits for the KMP on purpose."""
        return self._outlet.waits(number)

    def conditions(self) -> Sequence[Condition]:
        """What `/readyz` says of the KMP."""
        return [self._outlet.condition()]


class Exporter:
    """The hop of one number: posts its exports, in order per interaction, side by side across interactions."""

    def __init__(self, *, topics: Topics, outlet: Outlet, drain_timeout_s: float, emit: Emit) -> None:
        self._topics = topics
        self._outlet = outlet
        self._drain_timeout_s = drain_timeout_s
        self._emit = emit

    def restore(self, record: Record) -> None:
        """Takes nothing: this hop has no state but its position."""

    async def work(self, number: Number) -> None:
        """See `ports.Hop`. A retry that waits when the number drains is left to whoever works the number next."""
        turn = _Turn(
            number, topics=self._topics, outlet=self._outlet, drain_timeout_s=self._drain_timeout_s, emit=self._emit
        )
        try:
            await turn.run()
        except ExceptionGroup as errors:
            # The engine tells a lost number from a fault of ours by the type, which a TaskGroup wraps.
            lost, other = errors.split(TransactionError)
            if lost is None or other is not None:
                raise
            raise lost.exceptions[0] from None


class _Turn:
    """One call of `work`: what was taken and is not yet committed. The next call begins with nothing."""

    def __init__(self, number: Number, *, topics: Topics, outlet: Outlet, drain_timeout_s: float, emit: Emit) -> None:
        self._number = number
        self._topics = topics
        self._outlet = outlet
        self._drain_timeout_s = drain_timeout_s
        self._emit = emit
        self._ledger: OffsetLedger[tuple[NewRecord, ...]] = OffsetLedger()
        self._queues: dict[str, deque[Export]] = {}
        self._interactions: set[asyncio.Task[None]] = set()
        self._tasks = asyncio.TaskGroup()
        self._room = asyncio.Event()
        self._finished = asyncio.Event()
        self._is_draining = False
        self._is_over = False

    async def run(self) -> None:
        async with self._tasks:
            self._tasks.create_task(self._commit_runs())
            self._tasks.create_task(self._heed_draining())
            await self._take_all()
            await self._finish_posts()
            self._is_over = True
            self._finished.set()

    # -- taking --------------------------------------------------------------------------------------------------------

    async def _take_all(self) -> None:
        while not self._is_draining:
            room = MAX_OPEN_RECORDS - len(self._ledger)
            if room <= 0:
                self._room.clear()
                await self._room.wait()
            elif (batch := await self._number.take(max_records=room)) is None:
                self._is_draining = True
            else:
                self._accept(batch)

    async def _heed_draining(self) -> None:
        await self._number.until_draining()
        self._is_draining = True
        self._room.set()

    def _accept(self, batch: Batch) -> None:
        for record in batch.records:
            self._ledger.take(record.offset)
            try:
                self._line_up(export_of(record))
            except MalformedError as error:
                self._set_aside(record, error)
        self._ledger.read_to(batch.positions[self._topics.acceptance_exports])
        self._finished.set()

    def _set_aside(self, record: Record, error: MalformedError) -> None:
        self._emit(
            ExportUnusable(
                dlq_class=error.dlq_class, reason=error.reason, partition=record.partition, offset=record.offset
            )
        )
        self._ledger.finish(record.offset, set_aside(record, error, topics=self._topics))

    def _line_up(self, export: Export) -> None:
        queue = self._queues.get(export.interaction_id)
        if queue is not None:
            queue.append(export)
            return
        self._queues[export.interaction_id] = deque([export])
        task = self._tasks.create_task(self._export_all(export.interaction_id))
        self._interactions.add(task)
        task.add_done_callback(self._interactions.discard)

    # -- posting -------------------------------------------------------------------------------------------------------

    async def _export_all(self, interaction_id: str) -> None:
        """Posts what is lined up for one interaction, the next only when the one before is delivered or refused."""
        queue = self._queues[interaction_id]
        with self._outlet.waiting():
            while queue and not self._is_draining:
                records = await self._export(queue[0])
                if records is None:
                    return
                self._ledger.finish(queue.popleft().record.offset, records)
                self._finished.set()
        del self._queues[interaction_id]

    async def _export(self, export: Export) -> tuple[NewRecord, ...] | None:
        """Posts until the KMP took it or refused it; None where the number drains before."""
        attempt = 1
        while isinstance(verdict := await self._outlet.post(export, attempt=attempt), RetryAfter):
            if self._is_draining:
                return None
            await self._outlet.sleep_before_retry(verdict.delay_s, number=self._number.number)
            attempt += 1
        return told(export, verdict, attempts=attempt, topics=self._topics)

    # -- committing ----------------------------------------------------------------------------------------------------

    async def _commit_runs(self) -> None:
        """One transaction at a time; what is finished meanwhile is the next one."""
        is_last = False
        while not is_last:
            await self._finished.wait()
            self._finished.clear()
            is_last = self._is_over
            run = self._ledger.release()
            if run is None:
                continue
            self._room.set()
            written = [record for records in run.results for record in records]
            await self._number.commit(written, {self._topics.acceptance_exports: run.position})

    async def _finish_posts(self) -> None:
        """Waits for the POSTs under way, gives up everything that only waits."""
        for task in self._interactions - self._outlet.posting:
            task.cancel()
        if self._interactions:
            _, late = await asyncio.wait(self._interactions, timeout=self._drain_timeout_s)
            for task in late:
                task.cancel()
