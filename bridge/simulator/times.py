"""The clocks of the simulators, and waiting by them."""

import asyncio
import time
from collections.abc import Callable


def now_ms() -> int:
    """Epoch milliseconds."""
    return time.time_ns() // 1_000_000


class Elapsed:
    """Seconds since it was made or restarted, monotonic."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()

    def __call__(self) -> float:
        return time.monotonic() - self._began_s

    def restart(self) -> None:
        """Counts from now."""
        self._began_s = time.monotonic()


class Changes:
    """Lets others wait until something that they can look at has become so."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def tell(self) -> None:
        """Something has changed: whoever waits looks again."""
        self._changed.set()

    async def next(self, *, timeout_s: float) -> None:
        """Waits for a change from now on, at most `timeout_s`."""
        self._changed.clear()
        await wait_for(self._changed, timeout_s=timeout_s)

    async def until(self, holds: Callable[[], bool], *, timeout_s: float) -> None:
        """Waits until `holds()`; raises TimeoutError after `timeout_s`."""
        async with asyncio.timeout(timeout_s):
            while not holds():
                self._changed.clear()
                await self._changed.wait()


async def wait_for(event: asyncio.Event, *, timeout_s: float) -> bool:
    """Waits until the event is set, at most `timeout_s`; True if it was set."""
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return False
    return True
