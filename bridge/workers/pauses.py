"""Whether the sockets may be read now: the valve on the ranker's lag, the queue to Kafka, and the bound of a pause."""

import asyncio
from collections.abc import Awaitable, Callable

from bridge.core.events.ingress import (
    LagSampled,
    LagUnknown,
    PauseOverrun,
    ReadingPaused,
    ReadingResumed,
    ValveClosed,
    ValveOpened,
    ValveOverridden,
)
from bridge.core.holding import Holding
from bridge.core.valve import Gate, Turn, Valve
from bridge.ports import Emit, LagProbe

# Above this share of the bytes, taken up by what is never shed, nothing is read: the rest of the room is for frames.
_FULL_FROM = 1 / 2


class Pauses:
    """Samples the valve, decides about the gate, and tells what turned.

    `stalled_s` says for how long Kafka has acknowledged nothing of what waits; `on_valve` is called when the valve has
    turned. Times are monotonic seconds.
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
        emit: Emit,
        now_s: Callable[[], float],
    ) -> None:
        self._gate = gate
        self._valve = valve
        self._lag = lag
        self._holding = holding
        self._stalled_s = stalled_s
        self._on_valve = on_valve
        self._emit = emit
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
        self._readable.set()

    async def sample(self, *, every_s: float, sleep: Callable[[float], Awaitable[None]]) -> None:
        """Looks at the lag again and again, until it is cancelled."""
        while True:
            lag_records = await self._lag.lag()
            self._sampled(lag_records)
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
            self._readable.set()
        else:
            self._readable.clear()
        if turn is not None:
            self._tell(turn)

    def _sampled(self, lag_records: int | None) -> None:
        now_s = self._now_s()
        has_turned = self._valve.sample(lag_records, now_s=now_s)
        if lag_records is None:
            self._emit(LagUnknown(unknown_s=self._valve.unknown_s(now_s)))
        else:
            self._emit(LagSampled(lag_records=lag_records))
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
            case "overridden" if cause == "valve" and self._gate.overflow == "write":
                self._emit(ValveOverridden(lag_records=self._valve.lag_records, paused_s=lasted_s))
            case _:
                self._emit(PauseOverrun(cause=cause, paused_s=lasted_s))
