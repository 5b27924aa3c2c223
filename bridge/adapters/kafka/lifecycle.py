"""One number from its assignment to its loss: restore, run, drain, and again."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import assert_never

from bridge.adapters.kafka.number import Draining, OwnedNumber, Parked, Restoring, Running, State
from bridge.adapters.kafka.restore import Restored
from bridge.adapters.kafka.start_stop import own_cancellations_only
from bridge.core.errors import BudgetError, FencedError, TransactionError, UnavailableError
from bridge.core.events.engine import NumberFenced, NumberParked, NumberRestored
from bridge.core.reconnect import full_jitter_s
from bridge.ports import Emit

_BACKOFF_FIRST_S = 0.5
_BACKOFF_CAP_S = 10.0
# A number that has run for so long was a good one: its failure is a first one.
_GOOD_AFTER_S = 60.0
# What cannot be used now may be later (a KMP that is mended), but a new release takes its time.
_OVERRUN_FIRST_S = 2.0
_OVERRUN_CAP_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Steering:
    """What a number asks of the engine that owns it.

    `adopt` makes the port object of a restored number; `begin` seeks the consumer to the positions and lets it fetch,
    `rest` lets it fetch nothing more; `chance` is from 0 to 1.
    """

    group: str
    heartbeat_s: float
    restore: Callable[[int], Awaitable[Restored]]
    adopt: Callable[[int, Restored], OwnedNumber]
    begin: Callable[[int, Mapping[str, int]], None]
    rest: Callable[[int], None]
    chance: Callable[[], float]
    emit: Emit


class NumberLife:
    """Runs in a task of its own until it is cancelled, or its number is revoked before it came to run."""

    def __init__(self, number: int, steering: Steering) -> None:
        self.number = number
        self.state: State = Restoring()
        self.owned: OwnedNumber | None = None
        self._steering = steering
        self._last_committed: Mapping[str, int] | None = None
        self._failures = 0
        self._running_since_s: float | None = None
        self._drained = asyncio.Event()
        self._came_back = asyncio.Event()
        self._is_revoked = False

    async def run(self) -> None:
        """Restores and works the number, again and again; every failure starts it over after a pause."""
        while not self._is_revoked:
            try:
                with own_cancellations_only():
                    await self._live()
            except FencedError:
                self._steering.emit(NumberFenced(group=self._steering.group, number=self.number))
                # A woken zombie still believes that it owns the number. If it fenced the rightful owner in turn, both
                # would lose time for ever: within two heartbeats it learns that it was voted out, and is cancelled.
                await self._park("fenced by another owner", pause_s=2 * self._steering.heartbeat_s)
            except BudgetError as error:
                await self._park(str(error), pause_s=self._backoff_s(first_s=_OVERRUN_FIRST_S, cap_s=_OVERRUN_CAP_S))
            except (TransactionError, UnavailableError) as error:
                await self._park(str(error), pause_s=self._backoff_s(first_s=_BACKOFF_FIRST_S, cap_s=_BACKOFF_CAP_S))

    @property
    def is_kept(self) -> bool:
        """True once it has drained: producer, position and state are kept in case the number comes back."""
        return self.owned is not None and isinstance(self.state, Parked)

    @property
    def is_running(self) -> bool:
        """True while records are delivered to it."""
        return isinstance(self.state, Running)

    @property
    def committed(self) -> Mapping[str, int] | None:
        """Its committed position by topic, the last known one while it is parked; None until its first restore."""
        return self._last_committed if self.owned is None else self.owned.committed

    @property
    def told_state(self) -> str:
        """The state in words."""
        match self.state:
            case Parked(reason):
                return reason
            case Restoring():
                return "restoring"
            case Running():
                return "running"
            case Draining():
                return "draining"
            case _ as never:
                assert_never(never)

    def revoke(self) -> bool:
        """Takes the number away. True if it drains now: wait for `until_drained`; else it is to be dropped at once.

        Twice is once: a rebalance may come while the process stops, or the other way round.
        """
        if self.owned is not None and isinstance(self.state, Draining):
            return True
        if self.owned is None or not isinstance(self.state, Running):
            self._is_revoked = True
            return False
        self.state = Draining()
        self.owned.close_intake()
        return True

    async def until_drained(self) -> None:
        """Returns when a revoked number has finished and committed what it took."""
        await self._drained.wait()

    def come_back(self) -> None:
        """The number was assigned again before anybody else could have it: it goes on where it stopped."""
        self._came_back.set()

    def end(self) -> None:
        """The number is lost; its task is to be cancelled.

        A task that has failed and waits for its POSTs to be cut off takes that for its failure: it must not go on.
        """
        self._is_revoked = True

    async def _live(self) -> None:
        restored = await self._restore()
        try:
            while not self._is_revoked:
                await self._run_once(restored)
        finally:
            self._last_committed = self.committed
            self.owned = None
            await restored.writer.close()

    async def _restore(self) -> Restored:
        self.state, started_s = Restoring(), monotonic()
        restored = await self._steering.restore(self.number)
        self._steering.emit(
            NumberRestored(
                group=self._steering.group,
                number=self.number,
                state_records=restored.state_records,
                took_s=monotonic() - started_s,
            )
        )
        self.owned = self._steering.adopt(self.number, restored)
        return restored

    async def _run_once(self, restored: Restored) -> None:
        """From the first record to the end of a drain, then until the number comes back."""
        owned = self.owned
        if owned is None or self._is_revoked:
            return
        self._drained.clear()
        self._came_back.clear()
        owned.open()
        self.state, self._running_since_s = Running(), monotonic()
        self._steering.begin(self.number, owned.committed)
        try:
            await restored.hop.work(owned)
            self._failures = 0
        except (TransactionError, UnavailableError):
            if isinstance(self.state, Draining):
                self._is_revoked = True
            raise
        finally:
            self._drained.set()
        self.state = Parked("revoked; it goes on if it comes back")
        await self._came_back.wait()

    async def _park(self, reason: str, *, pause_s: float) -> None:
        if self._is_revoked:
            return
        self.state = Parked(reason)
        # Else it would be read to its end, and again after each restore, for nothing.
        self._steering.rest(self.number)
        self._steering.emit(NumberParked(group=self._steering.group, number=self.number, reason=reason))
        await asyncio.sleep(pause_s)

    def _backoff_s(self, *, first_s: float, cap_s: float) -> float:
        ran_s = 0.0 if self._running_since_s is None else monotonic() - self._running_since_s
        self._running_since_s = None
        self._failures = 1 if ran_s > _GOOD_AFTER_S else self._failures + 1
        return full_jitter_s(self._failures, first_s=first_s, cap_s=cap_s, chance=self._steering.chance())
