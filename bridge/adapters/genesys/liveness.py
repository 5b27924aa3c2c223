"""Whether the other end of a connection is still there."""

import asyncio
from collections.abc import Awaitable, Callable

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from bridge.adapters.genesys.opening import CLOSE_TIMEOUT_S
from bridge.adapters.genesys.shared import Shared

_TICK_S = 1.0
# Pongs are written without waiting. Beyond it the peer pings and does not read them, and they would fill the memory.
_MAX_UNSENT_BYTES = 1024 * 1024


class Liveness:
    """Drops a connection from which nothing comes any more, pongs included, or whose peer does not read.

    `frames` is how many have been read, `is_paused` whether reading is: while we don't read, a pong that has come is
    not seen, so the peer's silence is our own doing. `on_tick` is called about once a second.
    """

    def __init__(
        self,
        connection: ClientConnection,
        shared: Shared,
        *,
        frames: Callable[[], int],
        is_paused: Callable[[], bool],
        on_tick: Callable[[], None],
    ) -> None:
        self.is_half_open = False
        self._connection = connection
        self._idle_timeout_s = shared.options.idle_timeout_s
        self._tick_s = min(_TICK_S, self._idle_timeout_s / 6)
        self._monotonic = shared.monotonic
        self._sleep = shared.sleep
        self._frames = frames
        self._is_paused = is_paused
        self._on_tick = on_tick

    async def watch(self) -> None:
        """Returns once the connection is closed, or has been dropped."""
        heard_at_s, frames = self._monotonic(), self._frames()
        pong: Awaitable[float] | None = None
        while self._connection.state is State.OPEN:
            await self._sleep(self._tick_s)
            self._on_tick()
            silent_s = self._monotonic() - heard_at_s
            if self._connection.transport.get_write_buffer_size() > _MAX_UNSENT_BYTES:
                self.drop()
            elif self._is_paused() or frames != self._frames() or _has_come(pong):
                heard_at_s, frames, pong = self._monotonic(), self._frames(), None
            elif silent_s >= self._idle_timeout_s:
                self.drop()
            elif silent_s >= self._idle_timeout_s / 3 and pong is None:
                pong = await self._ping(timeout_s=self._tick_s)
        await self._drop_unless_closed()

    async def until_heard(self) -> None:
        """Waits until the peer has read all that was sent: it answers a ping after what came before it.

        Gives up after `genesys.idle_timeout_s`, and where the connection ends.
        """
        try:
            async with asyncio.timeout(self._idle_timeout_s):
                await (await self._connection.ping())
        except (TimeoutError, ConnectionClosed):
            return

    def drop(self) -> None:
        """The peer is not there any more."""
        self.is_half_open = True
        self._connection.transport.abort()

    async def _ping(self, *, timeout_s: float) -> Awaitable[float] | None:
        try:
            async with asyncio.timeout(timeout_s):
                return await self._connection.ping()
        except (TimeoutError, ConnectionClosed):
            return None

    async def _drop_unless_closed(self) -> None:
        # After the closing handshake it is the server that ends the connection (RFC 6455 section 7.1.1); some don't.
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._connection.wait_closed()
        except TimeoutError:
            self._connection.transport.abort()


def _has_come(pong: Awaitable[float] | None) -> bool:
    return isinstance(pong, asyncio.Future) and pong.done()
