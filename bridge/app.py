"""Composition root: settings -> adapters -> workers in one TaskGroup, and a stop that first drains, then aborts."""

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from time import monotonic, time_ns

from prometheus_client import CollectorRegistry

from bridge.adapters import http
from bridge.adapters.genesys.sockets import GenesysSockets
from bridge.adapters.kafka import topics as kafka_topics
from bridge.adapters.kafka.clients import Clients, group_of
from bridge.adapters.kafka.engine import Engine
from bridge.adapters.kafka.lag import KafkaLag
from bridge.adapters.kafka.restore import Plan
from bridge.adapters.kafka.subscriptions import KafkaTable, write_missing
from bridge.adapters.kafka.writer import KafkaWriter
from bridge.adapters.kmp import HttpKmp
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
from bridge.ports import Condition, Emit, Hop
from bridge.settings import Settings
from bridge.workers.exporter import Exporters
from bridge.workers.ingress import Ingress
from bridge.workers.ranker import Ranker
from bridge.workers.tally import Tally

WORKERS = ("ingress", "ranker", "tally", "exporter")
"""The workers, in the order of the data."""

EXIT_DRAINED, EXIT_FAILED, EXIT_CUT_SHORT, EXIT_WRONG_SETUP = 0, 1, 75, 78

_SECOND_WISH_S = 1.0
# A worker that has had something to do for so long without finishing any of it is taken for stuck. Above every
# deadline that ends in a retry (transactions, rebalances, restores).
_STUCK_AFTER_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A worker as the process sees it: `run` until `stop`, which returns how many records were given up."""

    name: str
    run: Callable[[], Awaitable[None]]
    stop: Callable[[], Awaitable[int]]
    conditions: Callable[[], Sequence[Condition]]
    stalled_s: Callable[[], float]


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
        async with AsyncExitStack() as stack:
            await self._until_set_up()
            serving = http.serve(
                self._settings.http,
                alive=self._alive,
                conditions=self.conditions,
                registry=self._registry,
                emit=self._emit,
            )
            await stack.enter_async_context(serving)
            self._parts = [await self._make(worker, stack) for worker in self._workers]
            return await self._work()

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
        is_alive = stalled_s < _STUCK_AFTER_S
        return Condition(name=part.name, is_ready=is_alive, reason="" if is_alive else reason)

    # -- start ---------------------------------------------------------------------------------------------------------

    async def _until_set_up(self) -> None:
        """Waits for Kafka within `run.start_timeout_s`; the topics must be there, and equal in partitions."""
        give_up_s = monotonic() + self._settings.run.start_timeout_s
        tries = 0
        problems: list[str] | None = None
        while problems is None:
            try:
                problems = await kafka_topics.check(self._clients, self._topics, timeout_s=_answer_s(give_up_s))
            except UnavailableError as error:
                tries += 1
                await self._wait_again(error, tries, give_up_s)
        if problems:
            raise WrongSetupError("; ".join(problems), remedy="run `bridge topics apply`")

    async def _wait_again(self, error: UnavailableError, tries: int, give_up_s: float) -> None:
        again_in_s = full_jitter_s(tries, first_s=0.5, cap_s=5.0, chance=random.random())
        if monotonic() + again_in_s > give_up_s or self._stopping.is_set():
            servers = self._settings.kafka.bootstrap_servers
            raise StartError(
                f"Kafka at {servers} does not answer ({error.reason})",
                remedy="check kafka.bootstrap_servers, and that the brokers run and can be reached from here",
            ) from error
        self._emit(StartDelayed(what=error.what, reason=error.reason, again_in_s=again_in_s))
        await asyncio.sleep(again_in_s)

    async def _make(self, worker: str, stack: AsyncExitStack) -> Part:
        match worker:
            case "ingress":
                return await self._make_ingress(stack)
            case "ranker":
                ranker = Ranker(options=self._settings.ranking, topics=self._topics, emit=self._emit, clock=_now_ms)
                inputs = [self._topics.raw_suggestions]
                return self._make_hop("ranker", inputs, make_hop=lambda _: ranker)
            case "tally":
                inputs = [self._topics.ranked_suggestions, self._topics.suggestion_clicks]
                state = self._topics.interaction_acceptance
                return self._make_hop("tally", inputs, state_topic=state, make_hop=self._new_tally)
            case "exporter":
                return await self._make_exporter(stack)
            case _:
                raise ValueError(worker)

    async def _make_ingress(self, stack: AsyncExitStack) -> Part:
        options = self._settings.ingress
        start_s = self._settings.run.start_timeout_s
        fresh = await write_missing(self._clients, self._topics, options.interactions, clock=_now_ms, timeout_s=start_s)
        sockets = GenesysSockets(
            self._settings.genesys,
            context_window_s=options.context_window_s,
            suggestion_types=options.suggestion_types,
            max_frame_bytes=options.max_frame_bytes,
            clock=_now_ms,
            monotonic=monotonic,
            chance=random.random,
            emit=self._emit,
        )
        writer = KafkaWriter(
            self._clients, raw_topic=self._topics.raw_suggestions, emit=self._emit, chance=random.random
        )
        await writer.start(timeout_s=start_s)
        stack.push_async_callback(writer.stop)
        lag = KafkaLag(
            self._clients, group=group_of(self._settings.kafka, "ranker"), topic=self._topics.raw_suggestions
        )
        stack.push_async_callback(lag.stop)
        table = KafkaTable(
            self._clients,
            group=group_of(self._settings.kafka, "ingress"),
            topic=self._topics.interaction_subscriptions,
            emit=self._emit,
        )
        stack.push_async_callback(table.stop)
        ingress = Ingress(
            options,
            self._settings.valve,
            topics=self._topics,
            sockets=sockets,
            table=table,
            writer=writer,
            lag=lag,
            emit=self._emit,
            clock=_now_ms,
            fresh=fresh,
        )
        timeout_s = self._settings.run.drain_timeout_s
        return Part(
            name="ingress",
            run=ingress.run,
            stop=lambda: ingress.stop(timeout_s=timeout_s),
            conditions=ingress.conditions,
            stalled_s=ingress.stalled_s,
        )

    async def _make_exporter(self, stack: AsyncExitStack) -> Part:
        options = self._settings.kmp
        kmp = await stack.enter_async_context(HttpKmp(options))
        exporters = Exporters(
            topics=self._topics,
            kmp=kmp,
            policy=options.policy,
            max_in_flight=options.max_in_flight,
            drain_timeout_s=options.timeout_s,
            clock=_now_ms,
            emit=self._emit,
        )
        part = self._make_hop("exporter", [self._topics.acceptance_exports], make_hop=lambda _: exporters.new())
        return Part(
            name=part.name,
            run=part.run,
            stop=part.stop,
            conditions=lambda: [*part.conditions(), *exporters.conditions()],
            # A KMP that is down is waited for without end: a restart would not help it.
            stalled_s=lambda: part.stalled_s() if all(one.is_ready for one in exporters.conditions()) else 0.0,
        )

    def _new_tally(self, _: int) -> Hop:
        return Tally(options=self._settings.clicks, topics=self._topics, emit=self._emit, clock=_now_ms)

    def _make_hop(
        self, worker: str, inputs: Sequence[str], *, make_hop: Callable[[int], Hop], state_topic: str | None = None
    ) -> Part:
        plan = Plan(
            group=group_of(self._settings.kafka, worker),
            topics=inputs,
            state_topic=state_topic,
            audit_topic=self._topics.suggestion_audit,
            make_hop=make_hop,
        )
        engine = Engine(self._clients, plan, clock=_now_ms, chance=random.random, emit=self._emit)

        async def stop() -> int:
            engine.stop()
            return 0

        return Part(name=worker, run=engine.run, stop=stop, conditions=engine.conditions, stalled_s=engine.stalled_s)

    # -- work and stop -------------------------------------------------------------------------------------------------

    async def _work(self) -> int:
        self._emit(ProcessStarted(workers=tuple(self._workers)))
        exit_code = EXIT_FAILED
        try:
            async with asyncio.TaskGroup() as tasks:
                running = {part.name: tasks.create_task(self._run(part), name=part.name) for part in self._parts}
                stop = tasks.create_task(self._stop(running))
                await asyncio.wait(running.values())
                exit_code = await stop if self._stopping.is_set() else EXIT_DRAINED
                stop.cancel()
        except asyncio.CancelledError:
            exit_code = EXIT_CUT_SHORT
            raise
        finally:
            drained_s = monotonic() - self._stop_asked_s if self._stop_asked_s else 0.0
            self._emit(ProcessStopped(exit_code=exit_code, drained_s=drained_s))
        return exit_code

    async def _run(self, part: Part) -> None:
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
        raise start_error_in(errors) or errors from None
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def start_error_in(errors: ExceptionGroup) -> StartError | None:
    """The first StartError in a group of errors, however deep a TaskGroup has wrapped it."""
    for error in errors.exceptions:
        if isinstance(error, StartError):
            return error
        if isinstance(error, ExceptionGroup) and (found := start_error_in(error)) is not None:
            return found
    return None


def _kind_of(error: BaseException) -> str:
    """The kinds of an error and of those inside it; never its text, which may quote a record."""
    if isinstance(error, BaseExceptionGroup):
        return ", ".join(_kind_of(one) for one in error.exceptions)
    return type(error).__name__


def _answer_s(give_up_s: float) -> float:
    return min(10.0, max(1.0, give_up_s - monotonic()))


def _now_ms() -> int:
    return time_ns() // 1_000_000
