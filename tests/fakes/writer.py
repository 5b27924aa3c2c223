"""A writer without Kafka: what was written is looked at, and Kafka can be made to go away."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence

from bridge.core.records import NewRecord


class FakeWriter:
    """Steer it with `go_away`, `come_back` and `at_most`; look at `written` and `batches`."""

    def __init__(self, *, at_most: int = 1_000_000) -> None:
        self.at_most = at_most
        """The largest batch, in records."""
        self.written: dict[tuple[str, int], list[NewRecord]] = defaultdict(list)
        self.batches: list[list[NewRecord]] = []
        self._away: dict[int | None, asyncio.Event] = {}
        self._changed = asyncio.Condition()
        self._under_way: set[tuple[str, int]] = set()

    def go_away(self, partition: int | None = None) -> None:
        """From now on nothing is acknowledged; of one partition only, if one is given."""
        self._away.setdefault(partition, asyncio.Event())

    def come_back(self) -> None:
        """Everything that waits is written."""
        away, self._away = self._away, {}
        for event in away.values():
            event.set()

    def on(self, topic: str) -> list[NewRecord]:
        """What was written to a topic, partition by partition."""
        return [record for lane in sorted(self.written) if lane[0] == topic for record in self.written[lane]]

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Waits until `is_so`, looking again after each batch."""
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(is_so)

    async def until_written(self, topic: str, count: int) -> list[NewRecord]:
        """Waits until the topic has that many records, and returns them."""
        await self.until(lambda: len(self.on(topic)) >= count)
        return self.on(topic)

    async def write(self, topic: str, partition: int, records: Sequence[NewRecord]) -> int:
        lane = topic, partition
        assert records, "nothing to write"
        assert lane not in self._under_way, "one call at a time for each topic and partition"
        self._under_way.add(lane)
        try:
            while away := self._away.get(None) or self._away.get(partition):
                await away.wait()
            batch = list(records[: self.at_most])
            async with self._changed:
                self.written[lane] += batch
                self.batches.append(batch)
                self._changed.notify_all()
            return len(batch)
        finally:
            self._under_way.remove(lane)
