"""The partition numbers that one consumer owns, each with its life in a task."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import suppress

from bridge.adapters.kafka.lifecycle import NumberLife, Steering
from bridge.adapters.kafka.number import OwnedNumber
from bridge.adapters.kafka.watch import Seen
from bridge.core.budget import Budget
from bridge.core.events.engine import NumberAborted


class Numbers:
    """Starts and ends numbers between `open` and `close`."""

    def __init__(self, steering: Steering, *, budget_of: Callable[[int], Budget]) -> None:
        self._steering = steering
        self._budget_of = budget_of
        self._lives: dict[int, NumberLife] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None

    def open(self, group: asyncio.TaskGroup) -> None:
        """From now on numbers live in this group."""
        self._group = group

    def close(self) -> None:
        """Ends all numbers; a rebalance that ends only now starts nothing more."""
        self._group = None
        self.drop(self.owned)

    @property
    def owned(self) -> AbstractSet[int]:
        """The numbers that are restoring, running, draining or parked here."""
        return self._lives.keys()

    def running(self) -> Iterator[OwnedNumber]:
        """Those to which records are delivered."""
        for life in list(self._lives.values()):
            if life.owned is not None and life.is_running:
                yield life.owned

    def start(self, number: int) -> None:
        if self._group is not None:
            life = self._lives[number] = NumberLife(number, self._steering)
            self._tasks[number] = self._group.create_task(life.run(), name=f"{self._steering.group}-{number}")

    def come_back(self, number: int) -> None:
        """A drained number was assigned again."""
        self._lives[number].come_back()

    def drop(self, numbers: Iterable[int]) -> None:
        """Ends these numbers; an open transaction is left for the next owner to fence."""
        for number in list(numbers):
            life = self._lives.pop(number, None)
            if life is not None:
                life.end()
                self._tasks.pop(number).cancel()

    async def drain(self, *, budget_s: float | None) -> None:
        """Finishes and commits what was taken, and keeps the numbers that have done so in time."""
        draining = {number: life for number, life in self._lives.items() if life.revoke()}
        self.drop(self.owned - draining.keys())
        with suppress(TimeoutError):
            async with asyncio.timeout(budget_s):
                await asyncio.gather(*(life.until_drained() for life in draining.values()))
        for number, life in draining.items():
            if self._lives.get(number) is life and not life.is_kept:
                self._steering.emit(NumberAborted(group=self._steering.group, number=number))
                self.drop([number])

    def reasons(self) -> dict[int, str]:
        """Why numbers are not as they must be; one that is tried again with a spent budget runs, but is not."""
        return {
            number: reason
            for number, life in self._lives.items()
            if (reason := self._budget_of(number).reason or ("" if life.is_running else life.told_state))
        }

    def seen(self) -> list[Seen]:
        """What the watch looks at."""
        return [
            Seen(number=number, is_running=life.owned is not None and life.is_running, committed=life.committed)
            for number, life in self._lives.items()
        ]
