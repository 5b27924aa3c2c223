"""How late this process' event loop is, looked at all the time."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic

from bridge.core.events.process import LatenessMeasured, StoodStill
from bridge.core.standstill import STOOD_STILL_FROM_S, Looks
from bridge.ports import Emit

# A standstill may be longer than it is seen, by so much at most: the loop may have stopped just after a look.
_EVERY_S = 0.25


class LoopWatch:
    """Looks four times a second, and tells how late it came to do so. `monotonic` is in seconds."""

    def __init__(
        self,
        *,
        emit: Emit,
        monotonic: Callable[[], float] = monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._emit = emit
        self._now_s = monotonic
        self._sleep = sleep
        self._looks = Looks()

    async def run(self) -> None:
        """Looks until it is cancelled."""
        while True:
            late_s = self._looks.late_s(self._now_s(), again_in_s=_EVERY_S)
            self._emit(LatenessMeasured(late_s=late_s))
            if late_s >= STOOD_STILL_FROM_S:
                self._emit(StoodStill(stood_s=late_s))
            await self._sleep(_EVERY_S)
