"""Composition root: settings -> adapters -> workers in one TaskGroup, and a stop that first drains, then aborts."""

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from time import monotonic, time_ns
from typing import TypeVar

from prometheus_client import CollectorRegistry

from bridge.adapters import http
from bridge.adapters.event_loop import LoopWatch
from bridge.adapters.genesys.rest import open_rest
from bridge.adapters.kafka import topics as kafka_topics
from bridge.adapters.kafka.clients import Clients
from bridge.adapters.kafka.oldest import OldestLetters
from bridge.core.errors import StartError, UnavailableError, WrongSetupError
from bridge.core.events.process import (
    DrainCutShort,
    DrainStarted,
    ProcessStarted,
    ProcessStopped,
    StartDelayed,
    WorkerFailed,
)
from bridge.core.reconnect import full_jitter_s
from bridge.core.topics import Topics, topics_of
from bridge.parts import Part, Parts
from bridge.ports import Condition, Emit
from bridge.settings import Settings

WORKERS = ("ingress", "ranker", "tally", "exporter")
"""The workers, in the order of the data."""

EXIT_DRAINED, EXIT_FAILED, EXIT_CUT_SHORT, EXIT_WRONG_SETUP = 0, 1, 75, 78

_T = TypeVar("_T")

_ANSWER_S = 10.0
_SECOND_WISH_S = 1.0
# A worker that has had something to do for so many times `kafka.stuck_after_s` without finishing any of it is taken for
# dead: after the first time its consumer was made anew, and that did not help.
_STUCK_TIMES = 2


class _StoppedError(Exception):
    """The stop was asked for before the workers were started."""


class App:
    """The workers of one process, from their start to their stop."""

    def __init__(self, settings: Settings, workers: Sequence[str], *, emit: Emit, registry: CollectorRegistry) -> None:
        self._settings = settings
        self._workers = workers
        self._emit = emit
        self._registry = registry
        self._topics: Topics = topics_of(settings.topics, prefix=settings.kafka.prefix)
        self._clients = Clients(settings.kafka)
        self._stopping = asyncio.Event()
        self._stop_asked_s = 0.0
        self._cause = ""
        self._parts: list[Part] = []

    def stop(self, cause: str) -> None:
        """Asks for the stop: nothing new is taken, what was taken is finished and committed."""
        if not self._stopping.is_set():
            self._cause, self._stop_asked_s = cause, monotonic()
            self._stopping.set()

    async def run(self) -> int:
        """Works until `stop`; returns the exit code.

        Raises StartError where something outside is not as it must be (WrongSetupError: no wait will mend it).
        """
        try:
            return await self._start_and_work()
        except _StoppedError:
            return EXIT_DRAINED

    async def _start_and_work(self) -> int:
        async with AsyncExitStack() as stack:
            serving = http.serve(
                self._settings.http,
                alive=self._alive,
                conditions=self.conditions,
                registry=self._registry,
                emit=self._emit,
            )
            await stack.enter_async_context(serving)
            await self._until_set_up()
            parts = Parts(self._settings, self._clients, self._topics, emit=self._emit)
            self._parts = [await parts.make(worker, stack) for worker in self._workers]
            return await self._work(parts.oldest_letters(self._workers))

    def conditions(self) -> Sequence[Condition]:
        """What `/readyz` says."""
        if not self._parts:
            return [Condition(name="process", is_ready=False, reason="starting")]
        return [condition for part in self._parts for condition in part.conditions()]

    def _alive(self) -> Sequence[Condition]:
        return [self._progress_of(part) for part in self._parts]

    def _progress_of(self, part: Part) -> Condition:
        stalled_s = part.stalled_s()
        reason = f"has had work for {stalled_s:.0f} s without finishing any"
        is_alive = stalled_s < _STUCK_TIMES * self._settings.kafka.stuck_after_s
        return Condition(name=part.name, is_ready=is_alive, reason="" if is_alive else reason)

    # -- start ---------------------------------------------------------------------------------------------------------

    async def _until_set_up(self) -> None:
        """Kafka and, for ingress, Genesys must answer (see `_until_answered`), and the topics must fit."""
        problems = await self._until_answered(
            lambda timeout_s: kafka_topics.check(self._clients, self._topics, timeout_s=timeout_s),
            where=f"Kafka at {self._settings.kafka.bootstrap_servers}",
            remedy="check that the brokers run, and kafka.bootstrap_servers, security_protocol, sasl_… and ssl_…",
        )
        if problems:
            raise WrongSetupError("\n".join(problems), remedy=kafka_topics.remedy_of(problems))
        if "ingress" in self._workers:
            await self._until_answered(
                self._check_genesys,
                where=f"Genesys at {self._settings.genesys.base_url}",
                remedy="check genesys.base_url, and that it can be reached from here",
            )

    async def _check_genesys(self, _: float) -> None:
        # Its own deadline is genesys.request_timeout_s.
        async with open_rest(self._settings.genesys, clock=_now_ms, emit=self._emit) as rest:
            await rest.check_library()

    async def _until_answered(self, ask: Callable[[float], Awaitable[_T]], *, where: str, remedy: str) -> _T:
        """The answer of something outside, asked again with backoff until it gives one.

        What it asks to be waited for is waited for, and counts to nobody's patience: it is there.
        """
        give_up_s = monotonic() + self._settings.run.start_timeout_s
        tries = 0
        while True:
            try:
                return await ask(min(_ANSWER_S, max(1.0, give_up_s - monotonic())))
            except UnavailableError as error:
                tries += 1
                again_in_s = full_jitter_s(tries, first_s=0.5, cap_s=5.0, chance=random.random())
                asked_s = error.retry_after_s or 0.0
                again_in_s, give_up_s = max(again_in_s, asked_s), give_up_s + asked_s
                if monotonic() + again_in_s > give_up_s:
                    problem = f"{where} does not answer ({error.reason})"
                    raise StartError(problem, remedy=error.remedy or remedy) from error
                self._emit(StartDelayed(what=error.what, reason=error.reason, again_in_s=again_in_s))
                await self._pause(again_in_s)

    async def _pause(self, pause_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._stopping.wait()
                raise _StoppedError

    # -- work and stop -------------------------------------------------------------------------------------------------

    async def _work(self, oldest_letters: OldestLetters) -> int:
        self._emit(ProcessStarted(workers=tuple(self._workers)))
        exit_code = EXIT_FAILED
        try:
            async with asyncio.TaskGroup() as tasks:
                running = {part.name: tasks.create_task(self._run_part(part), name=part.name) for part in self._parts}
                stop = tasks.create_task(self._stop(running))
                looks = (oldest_letters.run(), LoopWatch(emit=self._emit).run())
                looking = [tasks.create_task(look) for look in looks]
                await asyncio.wait(running.values())
                for task in looking:
                    task.cancel()
                exit_code = await stop if self._stopping.is_set() else EXIT_DRAINED
                stop.cancel()
        except asyncio.CancelledError:
            exit_code = EXIT_CUT_SHORT
            raise
        finally:
            drained_s = monotonic() - self._stop_asked_s if self._stop_asked_s else 0.0
            self._emit(ProcessStopped(exit_code=exit_code, drained_s=drained_s))
        return exit_code

    async def _run_part(self, part: Part) -> None:
        try:
            await part.run()
        except Exception as error:
            self._emit(WorkerFailed(worker=part.name, reason=_kind_of(error)))
            raise

    async def _stop(self, running: dict[str, asyncio.Task[None]]) -> int:
        """Drains, then aborts at the deadline."""
        await self._stopping.wait()
        deadline_s = self._settings.run.drain_timeout_s
        self._emit(DrainStarted(signal=self._cause, deadline_s=deadline_s))
        given_up = [0]
        with suppress(TimeoutError):  # What still runs then is told, and cut short.
            async with asyncio.timeout(deadline_s):
                given_up = list(await asyncio.gather(*(part.stop() for part in self._parts)))
                await asyncio.wait(running.values())
        left = tuple(name for name, task in running.items() if not task.done())
        if left:
            self._emit(DrainCutShort(workers=left))
            for name in left:
                running[name].cancel()
        return EXIT_CUT_SHORT if left or any(given_up) else EXIT_DRAINED


async def run(settings: Settings, workers: Sequence[str], *, emit: Emit, registry: CollectorRegistry) -> int:
    """Runs the workers until SIGTERM or SIGINT and returns the exit code; a second signal drops what is open.

    Raises StartError for what an operator can mend.
    """
    app = App(settings, workers, emit=emit, registry=registry)
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    asked_s: list[float] = []

    def on_signal(number: signal.Signals) -> None:
        app.stop(number.name)
        # One stop may signal a process twice, itself and by its group: only a later signal is a second wish.
        if asked_s and monotonic() - asked_s[0] > _SECOND_WISH_S and task is not None:
            task.cancel()
        asked_s.append(monotonic())

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    try:
        return await app.run()
    except asyncio.CancelledError:
        if len(asked_s) > 1:
            return EXIT_CUT_SHORT
        raise
    except ExceptionGroup as errors:
        raise mendable_in(errors) or errors from None
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def mendable_in(errors: BaseExceptionGroup) -> StartError | UnavailableError | None:
    """The first error that an operator can mend in a group of errors, however deep a TaskGroup has wrapped it."""
    for error in errors.exceptions:
        if isinstance(error, StartError | UnavailableError):
            return error
        if isinstance(error, BaseExceptionGroup) and (found := mendable_in(error)) is not None:
            return found
    return None


def _kind_of(error: BaseException) -> str:
    """The kinds of an error and of those inside it; never its text, which may quote a record."""
    if isinstance(error, BaseExceptionGroup):
        return ", ".join(_kind_of(one) for one in error.exceptions)
    return type(error).__name__


def _now_ms() -> int:
    return time_ns() // 1_000_000
