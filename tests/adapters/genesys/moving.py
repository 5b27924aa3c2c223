"""Time that moves only when a test says so."""

import asyncio
from collections.abc import Callable

from tests.adapters.genesys.server import Seen

START_MS = 1_767_607_200_000  # 2026-01-05T10:00:00Z


class MovingTime:
    """A monotonic clock, an epoch clock that can be moved alone, and a sleep that ends when the clock gets there."""

    def __init__(self, seen: Seen) -> None:
        self.now_s = 1_000.0
        self._skipped_ms = 0
        self._seen = seen
        self._sleepers: dict[asyncio.Future[None], float] = {}

    def monotonic(self) -> float:
        return self.now_s

    def clock(self) -> int:
        return START_MS + self._skipped_ms + round((self.now_s - 1_000) * 1000)

    async def sleep(self, delay_s: float) -> None:
        if delay_s <= 0:
            return
        sleeper: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers[sleeper] = self.now_s + delay_s
        self._seen.tell()
        try:
            await sleeper
        finally:
            self._sleepers.pop(sleeper, None)

    @property
    def waits_s(self) -> list[float]:
        """How much longer those sleep who do, the shortest first."""
        return sorted(round(due_s - self.now_s, 6) for due_s in self._sleepers.values())

    def skip(self, seconds: float) -> None:
        """Moves the epoch clock alone."""
        self._skipped_ms += round(seconds * 1000)

    def advance(self, by_s: float) -> None:
        """Moves both clocks; whoever was to sleep for no longer wakes."""
        self.now_s += by_s
        for sleeper, due_s in list(self._sleepers.items()):
            if due_s <= self.now_s + 1e-6 and not sleeper.done():
                del self._sleepers[sleeper]
                sleeper.set_result(None)

    async def until_someone_sleeps(self, for_s: float) -> None:
        """Waits until somebody sleeps for exactly so long."""
        await self._seen.until(lambda: for_s in self.waits_s)

    async def advance_until(self, is_so: Callable[[], object], *, at_most_s: float) -> None:
        """Moves from the end of one sleep to that of the next, until it is so; at most so far."""
        until_s = self.now_s + at_most_s

        def next_wait_s() -> float | None:
            return next((wait_s for wait_s in self.waits_s if self.now_s + wait_s <= until_s + 1e-6), None)

        while not is_so():
            await self._seen.until(lambda: is_so() or next_wait_s() is not None)
            wait_s = next_wait_s()
            if not is_so() and wait_s is not None:
                self.advance(wait_s)
