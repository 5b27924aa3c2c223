"""A stop that breaks off waits."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Stop:
    """Set once. `breaks` leaves its block then, in the midst of any wait."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._scopes: set[asyncio.Timeout] = set()

    @property
    def is_set(self) -> bool:
        return self._event.is_set()

    def set(self) -> None:
        """From now on nothing new is waited for."""
        self._event.set()
        now_s = asyncio.get_running_loop().time()
        for scope in self._scopes:
            scope.reschedule(now_s)

    async def wait(self) -> None:
        """Waits until it is set."""
        await self._event.wait()

    @asynccontextmanager
    async def breaks(self) -> AsyncIterator[None]:
        """A block that ends at its next wait once the stop is set."""
        scope = asyncio.timeout(0 if self.is_set else None)
        try:
            async with scope:
                self._scopes.add(scope)
                try:
                    yield
                finally:
                    self._scopes.discard(scope)
        except TimeoutError:
            if not scope.expired():
                raise
