"""How late the event loop is, while time moves only when a test says so."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from bridge.adapters.event_loop import LoopWatch
from bridge.core.events.kinds import Event
from bridge.core.events.process import LatenessMeasured, StoodStill
from tests.fakes.kmp import ManualTime


@asynccontextmanager
async def _looking(time: ManualTime) -> AsyncIterator[list[Event]]:
    """What is told while the loop is looked at."""
    told: list[Event] = []
    looking = asyncio.create_task(LoopWatch(emit=told.append, monotonic=time.monotonic, sleep=time.sleep).run())
    await time.until_sleeping()
    yield told
    looking.cancel()
    with suppress(asyncio.CancelledError):
        await looking


async def _look_after(time: ManualTime, seconds: float) -> None:
    time.advance(seconds)
    await time.until_sleeping()


async def test_tells_with_each_look_how_late_the_loop_is() -> None:
    time = ManualTime()
    async with _looking(time) as told:
        for seconds in (0.25, 0.5, 0.25):
            await _look_after(time, seconds)
    assert told == [LatenessMeasured(late_s=late_s) for late_s in (0.0, 0.0, 0.25, 0.0)]
    assert time.delays == [0.25] * 4


async def test_a_loop_that_stood_still_for_a_second_says_so_once() -> None:
    """Beyond the session it would have lost its partitions: the log says why."""
    time = ManualTime()
    async with _looking(time) as told:
        for seconds in (1.125, 1.25, 0.25, 30.25):
            await _look_after(time, seconds)
    assert [event for event in told if isinstance(event, StoodStill)] == [
        StoodStill(stood_s=1.0),
        StoodStill(stood_s=30.0),
    ]
