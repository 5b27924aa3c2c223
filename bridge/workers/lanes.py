"""The way from the holding buffer to Kafka: one lane for each topic and partition, none waits for another."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from bridge.core.events.ingress import FramesWritten
from bridge.core.holding import Holding, Lane
from bridge.core.records import NewRecord
from bridge.ports import Clock, Emit, Writer

# The largest batch: what a broker takes in one piece with room to spare, and enough to be worth a round trip.
_BATCH_BYTES = 500 * 1024


class Lanes:
    """Writes what is put in, each lane in order, at once while nothing of it is under way.

    `may_write` says of a topic whether it may be written now; call `wake` when its answer changes. `on_written` is
    called after each acknowledgement. Used between `open` and the end of the task group given to it.
    """

    def __init__(
        self,
        holding: Holding,
        writer: Writer,
        *,
        may_write: Callable[[str], bool],
        on_written: Callable[[], None],
        emit: Emit,
        clock: Clock,
        now_s: Callable[[], float],
    ) -> None:
        self._holding = holding
        self._writer = writer
        self._may_write = may_write
        self._on_written = on_written
        self._emit = emit
        self._clock = clock
        self._now_s = now_s
        self._tasks: asyncio.TaskGroup | None = None
        self._waiting: dict[Lane, asyncio.Event] = {}
        self._writers: list[asyncio.Task[None]] = []
        self._emptied = asyncio.Event()
        self._under_way: dict[Lane, float] = {}

    def open(self, tasks: asyncio.TaskGroup) -> None:
        """From now on what is put in is written, by tasks of this group."""
        self._tasks = tasks

    def put(self, record: NewRecord, *, size: int) -> Sequence[NewRecord]:
        """Holds a record until it is written; returns what the buffer had to shed for it."""
        shed = self._holding.put(record, size=size)
        self._notice((record.topic, record.partition or 0))
        return shed

    def stalled_s(self) -> float:
        """For how long the batch that waits longest has not been acknowledged; 0 while nothing is under way."""
        return self._now_s() - min(self._under_way.values()) if self._under_way else 0.0

    def wake(self) -> None:
        """`may_write` may answer otherwise now."""
        for event in self._waiting.values():
            event.set()

    async def until_empty(self) -> None:
        """Returns when everything held is acknowledged."""
        while self._holding.records:
            self._emptied.clear()
            await self._emptied.wait()

    def close(self) -> Mapping[str, int]:
        """Ends the writing; returns how many records of each topic are left, and lost."""
        for task in self._writers:
            task.cancel()
        self._writers.clear()
        self._tasks = None
        left: Counter[str] = Counter()
        for (topic, _), records in self._holding.left().items():
            left[topic] += records
        return left

    def _notice(self, lane: Lane) -> None:
        event = self._waiting.get(lane)
        if event is not None:
            event.set()
        elif self._tasks is not None:
            event = self._waiting[lane] = asyncio.Event()
            event.set()
            self._writers.append(self._tasks.create_task(self._write(lane, event), name=f"write-{lane[0]}-{lane[1]}"))

    async def _write(self, lane: Lane, event: asyncio.Event) -> None:
        topic, partition = lane
        while True:
            await event.wait()
            event.clear()
            while self._may_write(topic) and (records := self._holding.take(lane, max_bytes=_BATCH_BYTES)):
                self._under_way[lane] = self._now_s()
                count = await self._writer.write(topic, partition, records)
                del self._under_way[lane]
                self._holding.done(lane, count)
                self._tell(topic, partition, records[:count])

    def _tell(self, topic: str, partition: int, written: Sequence[NewRecord]) -> None:
        oldest_ms = written[0].timestamp
        self._emit(
            FramesWritten(
                topic=topic,
                partition=partition,
                records=len(written),
                value_bytes=sum(len(record.value or b"") for record in written),
                age_s=0.0 if oldest_ms is None else max(0, self._clock() - oldest_ms) / 1000,
            )
        )
        if not self._holding.records:
            self._emptied.set()
        self._on_written()
