"""Sockets without Genesys: the connection and what it says are steered by hand."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from itertools import count

from bridge.core.dialects.agentassist import Received
from bridge.core.errors import StartError
from bridge.core.values import Subscription
from bridge.ports import Clock, Condition, Intake


class FakeSockets:
    """One connection that is open from the start.

    Steer it with `deliver`, `suppress`, `disconnect`, `connect`, `finish` and `refuse_to_start`; look at `wanted` (what
    the worker wants) and `live` (what the open connection carries: interaction -> request id).
    """

    def __init__(self, *, clock: Clock, is_connected: bool = True) -> None:
        self.wanted: dict[str, Subscription] = {}
        self.live: dict[str, str] = {}
        self._clock = clock
        self._is_connected = is_connected
        self._is_stopping = False
        self._unsent: dict[str, None] = {}
        self._refusal: StartError | None = None
        self._intake: Intake | None = None
        self._request_ids = count(1)
        self._changed = asyncio.Event()
        self._turns: list[asyncio.Future[None]] = []

    # -- the port ------------------------------------------------------------------------------------------------------

    def subscribe(self, subscriptions: Sequence[Subscription]) -> None:
        for subscription in subscriptions:
            self.wanted[subscription.interaction_id] = subscription
            self._unsent[subscription.interaction_id] = None
        self._changed.set()

    def unsubscribe(self, interaction_ids: Sequence[str]) -> None:
        for interaction_id in interaction_ids:
            self.wanted.pop(interaction_id, None)
            self.live.pop(interaction_id, None)
            self._unsent.pop(interaction_id, None)
        self._changed.set()

    async def run(self, intake: Intake) -> None:
        self._intake = intake
        try:
            while not self._is_stopping:
                if self._refusal is not None:
                    raise self._refusal
                self._send_unsent(intake)
                self._tell()
                await self._changed.wait()
                self._changed.clear()
            self._lose_all(intake, cause="stopped")
        finally:
            self._intake = None
            self._tell()

    async def stop(self) -> None:
        self._is_stopping = True
        self._changed.set()
        await self.until(lambda: self._intake is None)

    def conditions(self) -> Sequence[Condition]:
        if self._is_connected or not self.wanted:
            return [Condition(name="genesys", is_ready=True)]
        return [Condition(name="genesys", is_ready=False, reason="no socket is open")]

    # -- what happens to it --------------------------------------------------------------------------------------------

    async def deliver(self, *received: Received) -> None:
        """The frames are read, one by one, each as soon as the intake may be read."""
        for one in received:
            intake = await self._running()
            if not intake.may_read:
                await intake.until_readable()
            intake.take(one, at_ms=self._clock())

    async def disconnect(self, *, cause: str = "dropped", read_to_ms: int | None = None) -> None:
        """The connection is gone, until `connect`; the last frame was read there at `read_to_ms`, or just now."""
        self._is_connected = False
        self._lose_all(await self._running(), cause=cause, read_to_ms=read_to_ms)

    async def connect(self) -> None:
        """The connection is back; returns once everything wanted is subscribed."""
        await self._running()
        self._is_connected = True
        self._changed.set()
        await self.until(lambda: self.live.keys() == self.wanted.keys())

    async def finish(self, *interaction_ids: str, reason: str = "refused: unknown_interaction") -> None:
        """Genesys ends these for good."""
        intake = await self._running()
        self.unsubscribe(interaction_ids)
        intake.finished(interaction_ids, reason=reason, at_ms=self._clock())

    async def suppress(self, interaction_id: str, *, frames: int = 1) -> None:
        """So many frames were copies."""
        (await self._running()).suppressed(interaction_id, frames=frames, at_ms=self._clock())

    def refuse_to_start(self, error: StartError) -> None:
        """`run` raises this."""
        self._refusal = error
        self._changed.set()

    async def until_live(self, *interaction_ids: str) -> None:
        """Waits until exactly these are subscribed on the open connection."""
        await self.until(lambda: self.live.keys() == set(interaction_ids))

    async def until(self, is_so: Callable[[], bool], *, within_s: float = 10) -> None:
        """Waits until `is_so`, looking again after each change."""
        async with asyncio.timeout(within_s):
            while not is_so():
                turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._turns.append(turn)
                await turn

    # -- inside --------------------------------------------------------------------------------------------------------

    async def _running(self) -> Intake:
        await self.until(lambda: self._intake is not None)
        assert self._intake is not None
        return self._intake

    def _send_unsent(self, intake: Intake) -> None:
        if not self._is_connected or not self._unsent:
            return
        sent = {interaction_id: f"request-{next(self._request_ids)}" for interaction_id in self._unsent}
        self._unsent.clear()
        self.live |= sent
        intake.subscribed(list(sent), request_ids=list(sent.values()), at_ms=self._clock())

    def _lose_all(self, intake: Intake, *, cause: str, read_to_ms: int | None = None) -> None:
        lost: Iterable[str] = list(self.live)
        self.live.clear()
        self._unsent = dict.fromkeys(self.wanted)
        if lost:
            intake.disconnected(list(lost), cause=cause, read_to_ms=self._clock() if read_to_ms is None else read_to_ms)
        self._tell()

    def _tell(self) -> None:
        turns, self._turns = self._turns, []
        for turn in turns:
            if not turn.done():
                turn.set_result(None)
