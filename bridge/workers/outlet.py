"""Outlet: the one way from this process to the KMP, which the exports of all its numbers share."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import assert_never

from bridge.core.breaker import Breaker
from bridge.core.events.exporter import (
    BreakerReset,
    BreakerTripped,
    ExportCut,
    ExportDelivered,
    ExportPosted,
    ExportRefused,
    ExportRetried,
    KmpBack,
    KmpDown,
    KmpUnasked,
)
from bridge.core.events.kinds import Event
from bridge.core.exports import Export
from bridge.core.verdict import Answer, Delivered, NoAnswer, Refused, RetryAfter, RetryPolicy, Verdict, judge
from bridge.ports import Clock, Condition, Emit, Kmp

# For so long without a good answer, a KMP may be restarting: no reason yet to call anybody.
_DOWN_AFTER_S = 30.0

Chance = Callable[[], float]
Monotonic = Callable[[], float]
Sleep = Callable[[float], Awaitable[None]]


class Outlet:
    """Posts exports, at most `max_in_flight` at a time, and keeps the rests that the breaker asks for.

    `posting` holds the tasks that have a POST under way: they must not be cancelled lightly.
    """

    def __init__(
        self,
        *,
        kmp: Kmp,
        policy: RetryPolicy,
        max_in_flight: int,
        clock: Clock,
        emit: Emit,
        chance: Chance,
        monotonic: Monotonic,
        sleep: Sleep,
    ) -> None:
        self._sleep = sleep
        self._retrying = Counter[int]()
        self._queued = Counter[int]()
        self.posting: set[asyncio.Task[None] | None] = set()
        self._kmp = kmp
        self._policy = policy
        self._clock = clock
        self._emit = emit
        self._chance = chance
        self._monotonic = monotonic
        self._breaker = Breaker(first_s=policy.backoff_first_s, cap_s=policy.backoff_cap_s)
        self._slots = asyncio.Semaphore(max_in_flight)
        self._alone = asyncio.Lock()
        self._waiting = 0
        self._moved_at_s = monotonic()
        self._idle_since_s = monotonic()
        self._is_told_down = False
        self._told_tripped_at_s: float | None = None

    async def post(self, export: Export, *, attempt: int) -> Verdict:
        """Posts once, as soon as there is a slot and the KMP is not resting, and returns the verdict.

        While the breaker is tripped, posts go one at a time. Those that wait for that keep their slots: nobody else
        may post either, so only `max_in_flight` tasks wake up when the KMP is back, and not every waiting export.
        """
        async with self._slot(export.record.partition):
            if self._breaker.is_tripped(self._monotonic()):
                async with self._alone:
                    await self._rest()
                    if self._breaker.is_tripped(self._monotonic()):
                        return await self._ask(export, attempt=attempt)
            return await self._ask(export, attempt=attempt)

    async def sleep_before_retry(self, delay_s: float, *, number: int) -> None:
        """How an export of a number waits for its next try."""
        self._retrying[number] += 1
        try:
            await self._sleep(delay_s)
        finally:
            self._retrying[number] -= 1

    def waits(self, number: int) -> bool:
        """True while an export of that number waits on purpose: for its next try, for others, or a KMP that is down.

        All numbers share the slots, so a number of which nothing is posted for minutes may just have its turn last. It
        does not wait for others if none of them gets on.
        """
        now_s = self._monotonic()
        is_down = self._waiting > 0 and self._breaker.is_tripped(now_s)
        is_queued = self._queued[number] > 0 and now_s - self._moved_at_s < _DOWN_AFTER_S
        return self._retrying[number] > 0 or is_queued or is_down

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """While inside, there is something to post."""
        if self._waiting == 0 and self._monotonic() - self._idle_since_s >= _DOWN_AFTER_S:
            self._breaker.answered()  # What was learned before is too old to judge a KMP by.
        self._waiting += 1
        if self._waiting == 1:
            self._tell_breaker()
        try:
            yield
        finally:
            self._waiting -= 1
            if self._waiting == 0:
                self._idle_since_s = self._monotonic()
                self._forget_that_it_is_down()
                self._tell_breaker()

    def condition(self) -> Condition:
        """What `/readyz` says of the KMP: unready while something is to be posted and nothing got through for 30 s."""
        failing_s = self._breaker.failing_for_s(self._monotonic())
        if self._waiting == 0 or failing_s < _DOWN_AFTER_S:
            return Condition(name="kmp", is_ready=True)
        reason = f"no good answer for {failing_s:.0f} s (last: {self._breaker.cause}); exports wait, none is lost"
        return Condition(name="kmp", is_ready=False, reason=reason)

    @asynccontextmanager
    async def _slot(self, number: int) -> AsyncIterator[None]:
        self._queued[number] += 1
        try:
            await self._slots.acquire()
        finally:
            self._queued[number] -= 1
        try:
            self._moved_at_s = self._monotonic()
            yield
        finally:
            self._slots.release()

    async def _rest(self) -> None:
        while (rest_s := self._breaker.rest_s(self._monotonic())) > 0:
            await self._sleep(rest_s)

    async def _ask(self, export: Export, *, attempt: int) -> Verdict:
        task = asyncio.current_task()
        self.posting.add(task)
        self._emit(ExportPosted(in_flight=len(self.posting)))
        started_s = self._monotonic()
        try:
            answer = await self._kmp.post(export.body, idempotency_key=export.export_id, sequence=export.sequence)
        except asyncio.CancelledError:
            self._emit(ExportCut(export_id=export.export_id, in_flight=len(self.posting) - 1))
            raise
        finally:
            self.posting.discard(task)
        verdict = judge(answer, self._policy, attempt=attempt, now_ms=self._clock(), chance=self._chance())
        self._tell(export, verdict, answer, attempt=attempt, took_s=self._monotonic() - started_s)
        self._learn(export, verdict)
        self._tell_breaker()
        return verdict

    def _learn(self, export: Export, verdict: Verdict) -> None:
        now_s = self._monotonic()
        failing_s = self._breaker.failing_for_s(now_s)
        if isinstance(verdict, RetryAfter) and verdict.is_general:
            asked_s = verdict.delay_s if verdict.is_asked else None
            self._breaker.failed(
                export.export_id, cause=verdict.cause, asked_s=asked_s, now_s=now_s, chance=self._chance()
            )
            if failing_s >= _DOWN_AFTER_S and not self._is_told_down:
                self._is_told_down = True
                self._emit(KmpDown(cause=verdict.cause, failing_for_s=failing_s))
            return
        self._breaker.answered()
        if self._is_told_down:
            self._is_told_down = False
            self._emit(KmpBack(failed_for_s=failing_s))

    def _forget_that_it_is_down(self) -> None:
        if self._is_told_down:
            self._is_told_down = False
            self._emit(KmpUnasked(failed_for_s=self._breaker.failing_for_s(self._monotonic())))

    def _tell_breaker(self) -> None:
        """Tells the breaker's turns. With nothing to post it is told as reset: nobody here would learn when it is."""
        now_s, told_at_s = self._monotonic(), self._told_tripped_at_s
        is_tripped = self._waiting > 0 and self._breaker.is_tripped(now_s)
        if is_tripped and told_at_s is None:
            self._told_tripped_at_s = now_s
            self._emit(BreakerTripped(cause=self._breaker.cause, rest_s=self._breaker.rest_s(now_s)))
        elif not is_tripped and told_at_s is not None:
            self._told_tripped_at_s = None
            reason = "answered" if self._waiting > 0 else "unasked"
            self._emit(BreakerReset(reason=reason, tripped_for_s=now_s - told_at_s))

    def _tell(self, export: Export, verdict: Verdict, answer: Answer, *, attempt: int, took_s: float) -> None:
        export_id, in_flight = export.export_id, len(self.posting)
        match verdict:
            case Delivered(status=status):
                event: Event = ExportDelivered(
                    export_id=export_id, status=status, attempts=attempt, took_s=took_s, in_flight=in_flight
                )
            case Refused(status=status):
                event = ExportRefused(
                    export_id=export_id, status=status, attempts=attempt, took_s=took_s, in_flight=in_flight
                )
            case RetryAfter(cause=cause, delay_s=delay_s):
                event = ExportRetried(
                    export_id=export_id,
                    cause=cause,
                    detail=answer.detail if isinstance(answer, NoAnswer) else "",
                    delay_s=delay_s,
                    attempts=attempt,
                    took_s=took_s,
                    in_flight=in_flight,
                )
            case _:
                assert_never(verdict)
        self._emit(event)
