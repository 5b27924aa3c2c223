"""Whether the sockets may be read now: the valve on the ranker's lag, the queue to Kafka, and the bound of a pause."""

import asyncio
from collections.abc import Awaitable, Callable

from bridge.core.events.ingress import (
    LagSampled,
    LagUnknown,
    PauseOverrun,
    PauseProlonged,
    ReadingPaused,
    ReadingResumed,
    ValveClosed,
    ValveOpened,
    ValveOverridden,
)
from bridge.core.gaps import Backlogs
from bridge.core.holding import Holding
from bridge.core.valve import Gate, Lag, Turn, Valve
from bridge.ports import Clock, Emit, LagProbe

# Above this share of the bytes, taken up by what is never shed, nothing is read: the rest of the room is for frames.
_FULL_FROM = 1 / 2


class Pauses:
    """Samples the valve, decides about the gate, and tells what turned.

    `stalled_s` says for how long Kafka has acknowledged nothing of what waits; `on_valve` is called when the valve has
    turned. `backlogs` are told from when to when nothing is read. Times are monotonic seconds.
    """

    def __init__(
        self,
        gate: Gate,
        valve: Valve,
        *,
        lag: LagProbe,
        holding: Holding,
        stalled_s: Callable[[], float],
        on_valve: Callable[[], None],
        backlogs: Backlogs,
        emit: Emit,
        clock: Clock,
        now_s: Callable[[], float],
    ) -> None:
        self._gate = gate
        self._valve = valve
        self._lag = lag
        self._holding = holding
        self._stalled_s = stalled_s
        self._on_valve = on_valve
        self._backlogs = backlogs
        self._emit = emit
        self._clock = clock
        self._now_s = now_s
        self._readable = asyncio.Event()
        self._readable.set()
        self._is_stopping = False

    @property
    def may_read(self) -> bool:
        """False during a pause. A stop reads on, until the sockets are closed."""
        return self._gate.is_open or self._is_stopping

    @property
    def cause(self) -> str | None:
        """Why there is a pause, or would be if it had not reached its bound; None where there is no reason for one."""
        return self._gate.cause

    async def until_readable(self) -> None:
        """Waits until `may_read`."""
        await self._readable.wait()

    def stop(self) -> None:
        """Ends all pauses: what the sockets still bring is read."""
        self._is_stopping = True
        self._let_read()

    async def sample(self, *, every_s: float, sleep: Callable[[float], Awaitable[None]]) -> None:
        """Looks at the lag again and again, until it is cancelled."""
        while True:
            self._sampled(await self._lag.sample())
            self.look()
            await sleep(every_s)

    def look(self) -> None:
        """Decides again, after the queue, the valve or the time has moved."""
        turn = self._gate.look(
            queue_frames=self._holding.frames,
            valve_is_open=self._valve.is_open,
            stalled_s=self._stalled_s(),
            is_full=self._holding.kept_bytes >= self._holding.max_bytes * _FULL_FROM,
            now_s=self._now_s(),
        )
        if self.may_read:
            self._let_read()
        elif self._readable.is_set():
            self._readable.clear()
            self._backlogs.began(at_ms=self._clock())
        if turn is not None:
            self._tell(turn)

    def _let_read(self) -> None:
        if not self._readable.is_set():
            self._readable.set()
            self._backlogs.ended(at_ms=self._clock())

    def _sampled(self, lag: Lag | None) -> None:
        now_s, lag_records = self._now_s(), None if lag is None else lag.records
        has_turned = self._valve.sample(lag_records, now_s=now_s)
        if lag is None:
            self._emit(LagUnknown(unknown_s=self._valve.unknown_s(now_s)))
        else:
            self._emit(LagSampled(lag_records=lag.records, age_s=lag.age_s(self._clock())))
        if has_turned:
            turned = ValveOpened if self._valve.is_open else ValveClosed
            self._emit(turned(lag_records=lag_records))
            self._on_valve()

    def _tell(self, turn: Turn) -> None:
        cause, lasted_s = self._gate.cause or "", self._gate.lasted_s
        match turn:
            case "paused":
                self._emit(ReadingPaused(cause=cause))
            case "resumed":
                self._emit(ReadingResumed(paused_s=lasted_s))
            case "prolonged":
                self._emit(PauseProlonged(cause=cause, paused_s=lasted_s))
            case "overridden" if cause == "valve" and self._gate.overflow == "write":
                self._emit(ValveOverridden(lag_records=self._valve.lag_records, paused_s=lasted_s))
            case _:
                self._emit(PauseOverrun(cause=cause, paused_s=lasted_s))
