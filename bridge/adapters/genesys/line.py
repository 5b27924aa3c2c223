"""A connection at work, from `SocketOpened` to `SocketClosed`, and what its end means for the subscriptions."""

import asyncio

from bridge.adapters.genesys.opening import Opened
from bridge.adapters.genesys.shared import Shared
from bridge.adapters.genesys.traffic import Ending, Traffic
from bridge.adapters.genesys.wanted import Wanted
from bridge.core.events.genesys import SocketClosed, SocketOpened
from bridge.core.reconnect import rule_of
from bridge.ports import Intake

# What a server may need to act on a subscription that it has read, and to send what it still has for the former
# connection; meanwhile both deliver.
OVERLAP_S = 2.0


class Line:
    """One connection of a socket. `ended` is the task that runs it, with how it ended."""

    def __init__(
        self,
        opened: Opened,
        wanted: Wanted,
        intake: Intake,
        *,
        number: int,
        shared: Shared,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self.token = opened.token
        self._wanted = wanted
        self._carried = wanted.connect()
        self._intake = intake
        self._number = number
        self._shared = shared
        self._traffic = Traffic(opened.connection, wanted, self._carried, intake, number=number, shared=shared)
        shared.duplicates.opened(self._traffic.session, number=number)
        shared.open_sockets += 1
        shared.emit(SocketOpened(socket=number, open_sockets=shared.open_sockets))
        self.ended = tasks.create_task(self._run())

    @property
    def subscriptions(self) -> int:
        """How many are subscribed on it."""
        return self._carried.live

    async def until_read_up(self) -> None:
        """Waits until what Genesys had sent here before the call is read, and nothing keeps what follows from it."""
        may_read = False
        while not may_read:
            await self._intake.until_readable()
            await self._traffic.until_heard()
            may_read = self._intake.may_read

    async def can_take_over(self) -> bool:
        """Waits until Genesys delivers here what is wanted, and until what comes can be taken: then it can."""
        await self._traffic.caught_up.wait()
        await self._traffic.until_heard()
        self._carried.is_heard = True
        may_read = False
        while not may_read:
            # What a pause has left on the way of the former connection is read first: its close might drop it.
            await self._intake.until_readable()
            await self._shared.sleep(OVERLAP_S)
            may_read = self._intake.may_read
        return True

    async def leave(self) -> None:
        """Closes the connection, because another one has taken over."""
        await self._traffic.leave()

    async def _run(self) -> Ending:
        try:
            ending = await self._traffic.run()
        finally:
            self._shared.open_sockets -= 1
            self._shared.duplicates.closed(self._traffic.session)
        self._tell_closed(ending)
        return ending

    def _tell_closed(self, ending: Ending) -> None:
        at_ms = self._shared.clock()
        if not ending.is_ours and rule_of(ending.cause).may_finish:
            self._finish(ending.cause, at_ms=at_ms)
        lost = self._wanted.disconnect(self._carried, is_read_up=ending.is_read_up)
        self._shared.emit(
            SocketClosed(
                socket=self._number,
                code=ending.code,
                cause=ending.cause,
                lived_s=ending.lived_s,
                open_sockets=self._shared.open_sockets,
                subscriptions=self._wanted.live,
            )
        )
        if lost:
            # A rotation loses nothing, unless its close is never answered.
            cause = "dropped" if ending.cause == "rotated" else ending.cause
            self._intake.disconnected(lost, cause=cause, read_to_ms=ending.read_to_ms)

    def _finish(self, cause: str, *, at_ms: int) -> None:
        if self._shared.options.on_normal_closure == "finish":
            finished = self._wanted.finish(self._carried)
            if finished:
                self._intake.finished(finished, reason=cause, at_ms=at_ms)
