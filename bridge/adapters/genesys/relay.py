"""A socket as long as it is open: before a token ends, a connection with a fresh one takes over, without a gap."""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, TypeVar

from bridge.adapters.genesys.answers import FailedError, RefusedError
from bridge.adapters.genesys.line import Line
from bridge.adapters.genesys.opening import Opened, Opening, QuotaFullError
from bridge.adapters.genesys.shared import Shared
from bridge.adapters.genesys.tokens import Token
from bridge.adapters.genesys.traffic import Ending
from bridge.adapters.genesys.wanted import Wanted
from bridge.core.events.genesys import RotationPutOff, SocketRotated
from bridge.core.reconnect import rule_of
from bridge.ports import Intake

_T = TypeVar("_T")


class Relay:
    """Runs one connection after the other. In order: open the next one, subscribe there, then close the former."""

    def __init__(self, wanted: Wanted, intake: Intake, opening: Opening, *, number: int, shared: Shared) -> None:
        self._wanted = wanted
        self._intake = intake
        self._opening = opening
        self._number = number
        self._shared = shared
        self._tasks = asyncio.TaskGroup()
        self._next_at_ms = 0.0

    async def run(self, opened: Opened) -> tuple[Token, Ending]:
        """Returns how the last connection ended, and the token that opened it; good is it if any of them was."""
        was_good = False
        async with self._tasks:
            line = self._start(opened)
            while (following := await self._unless_ended(self._next(line), line)) is not None:
                former, line = line, await self._hand_over(line, self._start(following))
                was_good = was_good or (former.ended.done() and former.ended.result().was_good)
            await asyncio.wait({line.ended})
        ending = line.ended.result()
        return line.token, replace(ending, was_good=ending.was_good or was_good)

    def _start(self, opened: Opened) -> Line:
        self._next_at_ms = self._opening.rotates_at_ms(opened.token)
        return Line(opened, self._wanted, self._intake, number=self._number, shared=self._shared, tasks=self._tasks)

    async def _next(self, line: Line) -> Opened | None:
        """The connection that is to take over; None where none does before the token has ended."""
        shared = self._shared
        async with shared.stop.breaks():
            while self._next_at_ms < line.token.to_ms:
                await shared.sleep(max(0.0, (self._next_at_ms - shared.clock()) / 1000))
                # Where older frames wait to be read here, newer ones of the next connection would be written first.
                await line.until_read_up()
                try:
                    return await self._opening.open_next(line.token)
                except QuotaFullError as full:
                    self._put_off(line, cause="quota", reason=str(full))
                except (RefusedError, FailedError) as error:
                    self._put_off(line, cause=error.cause, reason=str(error))
        return None

    async def _hand_over(self, former: Line, following: Line) -> Line:
        """The line that goes on."""
        may_close = await self._unless_ended(following.can_take_over(), former, following)
        if following.ended.done() and not former.ended.done():
            self._look_at(following.ended.result(), former, following)
            return former
        if may_close:
            await former.leave()
            await asyncio.wait({former.ended})
            self._shared.emit(SocketRotated(socket=self._number, subscriptions=following.subscriptions))
        return following

    def _look_at(self, ending: Ending, former: Line, following: Line) -> None:
        if ending.is_ours:
            return  # Nothing is wanted any more, or a stop: the former line ends as well.
        if rule_of(ending.cause).renews_token:
            self._opening.forget(following.token)
        self._put_off(former, cause=ending.cause, reason=f"the next socket was closed with {ending.code}")

    async def _unless_ended(self, work: Coroutine[Any, Any, _T], *lines: Line) -> _T | None:
        """What the work returns; None where a line ended first, and the work was cancelled."""
        task = self._tasks.create_task(work)
        await asyncio.wait({task, *(line.ended for line in lines)}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
        return None if task.cancelled() else task.result()

    def _put_off(self, line: Line, *, cause: str, reason: str) -> None:
        now_ms = self._shared.clock()
        self._next_at_ms = now_ms + self._shared.options.quota_poll_s * 1000
        left_s = max(0.0, (line.token.to_ms - now_ms) / 1000)
        self._shared.emit(RotationPutOff(socket=self._number, cause=cause, reason=reason, token_left_s=left_s))
