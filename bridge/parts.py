"""Each worker with the adapters that it works through."""

import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from time import monotonic, time_ns

from bridge.adapters.genesys.sockets import GenesysSockets
from bridge.adapters.kafka.clients import Clients, group_of
from bridge.adapters.kafka.engine import Engine
from bridge.adapters.kafka.lag import KafkaLag
from bridge.adapters.kafka.oldest import OldestLetters
from bridge.adapters.kafka.peek import KafkaTails
from bridge.adapters.kafka.restore import Plan
from bridge.adapters.kafka.subscriptions import KafkaTable, write_missing
from bridge.adapters.kafka.writer import KafkaWriter
from bridge.adapters.kmp import HttpKmp
from bridge.core.topics import Topics
from bridge.ports import Condition, Emit, Hop
from bridge.settings import Settings
from bridge.workers.exporter import Exporters
from bridge.workers.ingress import Ingress
from bridge.workers.ranker import Ranker
from bridge.workers.tally import Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A worker as the process sees it: `run` until `stop`, which returns how many records were given up."""

    name: str
    run: Callable[[], Awaitable[None]]
    stop: Callable[[], Awaitable[int]]
    conditions: Callable[[], Sequence[Condition]]
    stalled_s: Callable[[], float]


class Parts:
    """Makes the workers of one process."""

    def __init__(self, settings: Settings, clients: Clients, topics: Topics, *, emit: Emit) -> None:
        self._settings = settings
        self._clients = clients
        self._topics = topics
        self._emit = emit

    async def make(self, worker: str, stack: AsyncExitStack) -> Part:
        """The worker of that name; what it holds open is closed by the stack. Raises UnavailableError."""
        match worker:
            case "ingress":
                return await self._make_ingress(stack)
            case "ranker":
                ranker = Ranker(options=self._settings.ranking, topics=self._topics, emit=self._emit, clock=_now_ms)
                inputs = [self._topics.raw_suggestions]
                outputs = [self._topics.ranked_suggestions, self._topics.dlq_ranker]
                return self._make_hop("ranker", inputs, outputs=outputs, make_hop=lambda _: ranker)
            case "tally":
                inputs = [self._topics.ranked_suggestions, self._topics.suggestion_clicks]
                state = self._topics.interaction_acceptance
                outputs = [self._topics.acceptance_exports, self._topics.dlq_clicks]
                return self._make_hop(
                    "tally",
                    inputs,
                    outputs=outputs,
                    moves_on=[self._topics.suggestion_clicks],
                    state_topic=state,
                    make_hop=self._new_tally,
                )
            case "exporter":
                return await self._make_exporter(stack)
            case _:
                raise ValueError(worker)

    def oldest_letters(self, workers: Sequence[str]) -> OldestLetters:
        """What tells how old the dead letters of these workers are."""
        by_worker = {
            "ingress": self._topics.dlq_ingress,
            "ranker": self._topics.dlq_ranker,
            "tally": self._topics.dlq_clicks,
            "exporter": self._topics.dlq_exports,
        }
        return OldestLetters(
            self._clients,
            [by_worker[worker] for worker in workers],
            partitions=self._topics.partitions,
            clock=_now_ms,
            emit=self._emit,
        )

    async def _make_ingress(self, stack: AsyncExitStack) -> Part:
        options = self._settings.ingress
        start_s = self._settings.run.start_timeout_s
        fresh = await write_missing(
            self._clients,
            self._topics,
            options.interactions,
            clock=_now_ms,
            timeout_s=start_s,
            ttl_s=options.subscription_ttl_s,
        )
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
        groups = self._settings.valve.groups or (group_of(self._settings.kafka, "ranker"),)
        lag = KafkaLag(self._clients, groups=groups, topic=self._topics.raw_suggestions)
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
            tails=KafkaTails(self._clients, topic=self._topics.raw_suggestions),
            writer=writer,
            lag=lag,
            emit=self._emit,
            clock=_now_ms,
            fresh=fresh,
        )
        # Less than the whole, so that what has to be given up is counted and told before the process is cut short.
        timeout_s = self._settings.run.drain_timeout_s * 0.9
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
        part = self._make_hop(
            "exporter",
            [self._topics.acceptance_exports],
            outputs=[self._topics.dlq_exports],
            make_hop=lambda _: exporters.new(),
            # A KMP that is down is waited for without end: neither a new consumer nor a restart would help it.
            waits=exporters.waits,
        )
        return Part(
            name=part.name,
            run=part.run,
            stop=part.stop,
            conditions=lambda: [*part.conditions(), *exporters.conditions()],
            stalled_s=part.stalled_s,
        )

    def _new_tally(self, _: int) -> Hop:
        return Tally(options=self._settings.clicks, topics=self._topics, emit=self._emit, clock=_now_ms)

    def _make_hop(
        self,
        worker: str,
        inputs: Sequence[str],
        *,
        outputs: Sequence[str],
        make_hop: Callable[[int], Hop],
        moves_on: Sequence[str] = (),
        state_topic: str | None = None,
        waits: Callable[[int], bool] = lambda _: False,
    ) -> Part:
        plan = Plan(
            group=group_of(self._settings.kafka, worker),
            topics=inputs,
            state_topic=state_topic,
            audit_topic=self._topics.suggestion_audit,
            make_hop=make_hop,
            outputs=[*outputs, self._topics.suggestion_audit],
            moves_on=moves_on,
            waits=waits,
            partitions=self._topics.partitions,
        )
        engine = Engine(
            self._clients, plan, clock=_now_ms, chance=random.random, emit=self._emit, budget=self._settings.dlq
        )

        async def stop() -> int:
            engine.stop()
            return 0

        return Part(name=worker, run=engine.run, stop=stop, conditions=engine.conditions, stalled_s=engine.stalled_s)


def _now_ms() -> int:
    return time_ns() // 1_000_000
