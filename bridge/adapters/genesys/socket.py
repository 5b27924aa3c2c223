"""One socket over its connections: opens it while something is wanted, and again by the reconnect table."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from bridge.adapters.genesys.answers import FailedError, RefusedError
from bridge.adapters.genesys.opening import Opened, Opening, QuotaFullError
from bridge.adapters.genesys.options import Options
from bridge.adapters.genesys.stopping import Stop
from bridge.adapters.genesys.traffic import Defaults, Ending, Traffic
from bridge.adapters.genesys.wanted import Wanted
from bridge.core.dialects.agentassist import Session
from bridge.core.errors import StartError
from bridge.core.events.genesys import (
    QuotaFree,
    QuotaFull,
    ReconnectScheduled,
    ResumeScheduled,
    SocketClosed,
    SocketOpened,
)
from bridge.core.reconnect import Backoff, NextTry, Streak, next_try, rule_of
from bridge.ports import Clock, Emit, Intake

_UNREADY_AFTER_FAILURES = 10


@dataclass(slots=True, kw_only=True)
class Shared:
    """What the sockets of one process have in common."""

    options: Options
    defaults: Defaults
    max_frame_bytes: int
    clock: Clock
    monotonic: Callable[[], float]
    chance: Callable[[], float]
    emit: Emit
    stop: Stop
    open_sockets: int = 0
    had_good_start: bool = False


class Socket:
    """One socket of `genesys.max_sockets`; `wanted` is what it is to carry."""

    def __init__(self, number: int, shared: Shared) -> None:
        self.wanted = Wanted()
        self._number = number
        self._shared = shared
        self._streak = Streak()
        self._is_open = False
        self._is_full = False
        self._is_refused = False
        self._trouble = "no socket is open yet"

    @property
    def trouble(self) -> str | None:
        """Why Genesys is not ready as far as this socket goes; None where it is."""
        if self._is_open or not len(self.wanted):
            return None
        failures = self._streak.failures
        is_barred = self._is_full or self._is_refused or not self._shared.had_good_start
        if is_barred or failures >= _UNREADY_AFTER_FAILURES:
            return self._trouble if failures < 2 else f"{self._trouble} ({failures} failures in a row)"
        return None

    async def run(self, opening: Opening, intake: Intake) -> None:
        """Keeps the socket until the stop. Raises StartError where trying again is of no use."""
        stop = self._shared.stop
        while not stop.is_set:
            opened = None
            async with stop.breaks():
                await self.wanted.until_any()
                opened = await self._open(opening)
            if opened is None:
                continue
            ending = await self._use(opened, intake)
            async with stop.breaks():
                await self._after(ending, opened, opening)

    async def _open(self, opening: Opening) -> Opened | None:
        """An open socket; None once the wait that a failure or a full quota asks for is over."""
        try:
            opened = await opening.open()
        except QuotaFullError as full:
            await self._wait_for_quota(full)
            return None
        except RefusedError as error:
            if not self._shared.had_good_start:
                raise
            self._is_refused = True
            await self._wait_after(error.cause, str(error))
            return None
        except FailedError as error:
            await self._wait_after(error.cause, error.reason, retry_after_s=error.retry_after_s)
            return None
        self._tell_opened()
        return opened

    async def _use(self, opened: Opened, intake: Intake) -> Ending:
        shared = self._shared
        traffic = Traffic(
            opened.connection,
            Session(max_frame_bytes=shared.max_frame_bytes),
            self.wanted,
            intake,
            number=self._number,
            defaults=shared.defaults,
            idle_timeout_s=shared.options.idle_timeout_s,
            stop=shared.stop,
            clock=shared.clock,
            monotonic=shared.monotonic,
            emit=shared.emit,
        )
        try:
            ending = await traffic.run()
        finally:
            self._is_open = False
            shared.open_sockets -= 1
        self._tell_closed(ending, intake)
        return ending

    async def _after(self, ending: Ending, opened: Opened, opening: Opening) -> None:
        if ending.was_good:
            self._streak = Streak()
        if ending.cause is None:
            return
        if rule_of(ending.cause).renews_token:
            opening.forget(opened.token)
        await self._wait_after(ending.cause, f"the socket was closed with {ending.code}")

    async def _wait_after(self, cause: str, reason: str, *, retry_after_s: float | None = None) -> None:
        shared, options = self._shared, self._shared.options
        backoff = Backoff(
            first_s=options.reconnect_first_s, cap_s=options.reconnect_cap_s, jitter_s=options.reconnect_jitter_s
        )
        coming = next_try(cause, self._streak, backoff, chance=shared.chance(), retry_after_s=retry_after_s)
        self._streak, self._trouble = coming.streak, reason
        failures = coming.streak.failures
        if 0 < options.max_tries < failures:
            raise StartError(
                f"Genesys: gave up after {failures} failures in a row, the last: {reason}",
                remedy="see what the reason says, or raise genesys.max_tries (0 = no end)",
            )
        self._tell_wait(coming, reason)
        await asyncio.sleep(coming.delay_s)

    async def _wait_for_quota(self, full: QuotaFullError) -> None:
        self._is_full, self._trouble = True, f"the quota is full: {full}"
        self._shared.emit(QuotaFull(socket=self._number, active=full.active, limit=full.limit))
        await asyncio.sleep(self._shared.options.quota_poll_s)

    def _tell_wait(self, coming: NextTry, reason: str) -> None:
        number, cause, delay_s = self._number, coming.rule.cause, coming.delay_s
        if coming.rule.is_failure:
            failures = coming.streak.failures
            self._shared.emit(
                ReconnectScheduled(socket=number, cause=cause, reason=reason, delay_s=delay_s, failures=failures)
            )
        else:
            self._shared.emit(ResumeScheduled(socket=number, cause=cause, delay_s=delay_s))

    def _tell_opened(self) -> None:
        shared = self._shared
        if self._is_full:
            self._is_full = False
            shared.emit(QuotaFree(socket=self._number))
        self._is_refused = False
        self._is_open = shared.had_good_start = True
        shared.open_sockets += 1
        shared.emit(SocketOpened(socket=self._number, open_sockets=shared.open_sockets))

    def _tell_closed(self, ending: Ending, intake: Intake) -> None:
        shared = self._shared
        cause = ending.cause or ("stopped" if shared.stop.is_set else "unwanted")
        shared.emit(
            SocketClosed(
                socket=self._number,
                code=ending.code,
                cause=cause,
                lived_s=ending.lived_s,
                open_sockets=shared.open_sockets,
            )
        )
        if cause == "closed" and shared.options.on_normal_closure == "finish":
            finished = self.wanted.finish_live()
            if finished:
                intake.finished(finished, reason="closed", at_ms=shared.clock())
        lost = self.wanted.lose_connection()
        if lost:
            intake.disconnected(lost, cause=cause, at_ms=shared.clock())
