"""One socket over its connections: opens it while something is wanted, and again by the reconnect table."""

from bridge.adapters.genesys.answers import FailedError, RefusedError
from bridge.adapters.genesys.opening import Opened, Opening, QuotaFullError
from bridge.adapters.genesys.relay import Relay
from bridge.adapters.genesys.shared import Shared
from bridge.adapters.genesys.tokens import Token
from bridge.adapters.genesys.traffic import GOOD_AFTER_S, Ending
from bridge.adapters.genesys.wanted import Wanted
from bridge.core.errors import StartError
from bridge.core.events.genesys import QuotaFree, QuotaFull, ReconnectScheduled, ResumeScheduled
from bridge.core.reconnect import NextTry, Streak, next_try, rule_of
from bridge.ports import Intake

_UNREADY_AFTER_FAILURES = 10
# A server that closes in good order, again and again within seconds, is no better than one that fails, even if it sends
# suggestions in between: coming back at once each time subscribes everything several times a second, uses up what the
# client may ask, and tells as many gaps.
_CLOSED_AT_ONCE = 3


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
        self._closed_at_once = 0
        self._trouble = "no socket is open yet"
        self._remedy = ""

    @property
    def trouble(self) -> str | None:
        """Why Genesys is not ready as far as this socket goes; None where it is."""
        if self._is_open or not len(self.wanted):
            return None
        failures = self._streak.failures
        is_barred = self._is_full or self._is_refused or not self._shared.had_good_start
        if is_barred or failures >= _UNREADY_AFTER_FAILURES:
            often = f" ({failures} failures in a row)" if failures > 1 else ""
            return f"{self._trouble}{often}{self._remedy}"
        return None

    async def run(self, opening: Opening, intake: Intake) -> None:
        """Keeps the socket until the stop. Raises StartError where trying again is of no use."""
        stop = self._shared.stop
        while not stop.is_set:
            opened = None
            async with stop.breaks():
                if not len(self.wanted):
                    self._need_no_quota()
                await self.wanted.until_any()
                opened = await self._open(opening)
            if opened is None:
                continue
            token, ending = await self._use(opened, opening, intake)
            async with stop.breaks():
                await self._after(ending, token, opening)

    async def _open(self, opening: Opening) -> Opened | None:
        """An open socket; None once the wait that a failure or a full quota asks for is over."""
        try:
            opened = await opening.open()
        except QuotaFullError as full:
            self._shared.emit(QuotaFull(socket=self._number, active=full.active, limit=full.limit))
            self._is_full = True
            await self._wait_after("quota", f"the quota is full: {full}")
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
        return opened

    async def _use(self, opened: Opened, opening: Opening, intake: Intake) -> tuple[Token, Ending]:
        shared = self._shared
        self._need_no_quota()
        self._is_refused = False
        self._is_open = shared.had_good_start = True
        try:
            return await Relay(self.wanted, intake, opening, number=self._number, shared=shared).run(opened)
        finally:
            self._is_open = False

    def _need_no_quota(self) -> None:
        """There is a connection, or nothing is wanted of one."""
        if self._is_full:
            self._is_full = False
            self._shared.emit(QuotaFree(socket=self._number))

    async def _after(self, ending: Ending, token: Token, opening: Opening) -> None:
        if ending.was_good:
            self._streak = Streak()
        if ending.is_ours:
            return
        if rule_of(ending.cause).renews_token:
            opening.forget(token)
        await self._wait_after(self._cause_of(ending), f"the socket was closed with {ending.code}")

    def _cause_of(self, ending: Ending) -> str:
        if ending.lived_s >= GOOD_AFTER_S or ending.cause != "closed":
            self._closed_at_once = 0
            return ending.cause
        self._closed_at_once += 1
        return ending.cause if self._closed_at_once <= _CLOSED_AT_ONCE else "broken"

    async def _wait_after(self, cause: str, reason: str, *, retry_after_s: float | None = None) -> None:
        shared, max_tries = self._shared, self._shared.options.max_tries
        coming = next_try(cause, self._streak, shared.backoff, chance=shared.chance(), retry_after_s=retry_after_s)
        self._streak, self._trouble = coming.streak, reason
        self._remedy = f"; {coming.rule.remedy}" if coming.rule.remedy else ""
        failures = coming.streak.failures
        if coming.rule.is_failure and 0 < max_tries < failures:
            raise StartError(
                f"Genesys: gave up after {failures} failures in a row, the last: {reason}",
                remedy="see what the reason says, or raise genesys.max_tries (0 = no end)",
            )
        self._tell_wait(coming, reason)
        await shared.sleep(coming.delay_s)

    def _tell_wait(self, coming: NextTry, reason: str) -> None:
        number, rule, delay_s = self._number, coming.rule, coming.delay_s
        if rule.is_failure:
            failures = coming.streak.failures
            self._shared.emit(
                ReconnectScheduled(socket=number, cause=rule.cause, reason=reason, delay_s=delay_s, failures=failures)
            )
        elif rule.delay == "at once":
            self._shared.emit(ResumeScheduled(socket=number, cause=rule.cause, delay_s=delay_s))
