"""The demo: broker, simulators and all workers for some seconds, faults on the way, and the books at the end."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import time_ns

import msgspec
from prometheus_client import CollectorRegistry

from bridge.adapters import http, kmp
from bridge.adapters.genesys import options as genesys_options
from bridge.adapters.kafka import clients as kafka
from bridge.adapters.kafka import topics as kafka_topics
from bridge.adapters.kafka.clients import Clients, group_of
from bridge.adapters.kafka.lag import KafkaLag
from bridge.adapters.kafka.verify import verify
from bridge.app import WORKERS, App, mendable_in
from bridge.client import AgentAssistStream
from bridge.core import valve
from bridge.core.books import Line, balance, missed
from bridge.core.errors import StartError
from bridge.core.events.kinds import Event
from bridge.core.missed import MissedTold
from bridge.core.topics import Options as TopicOptions
from bridge.core.topics import Topics, plans_of, topics_of
from bridge.core.verify_findings import Report
from bridge.demo.accounts import Seen, read_topics
from bridge.demo.broker import EmbeddedBroker
from bridge.demo.ladder import LadderTold
from bridge.demo.recovery import FaultTold, tell
from bridge.demo.timeline import PlannedFault, plan
from bridge.demo.watch import Show, Watch, percentile
from bridge.ports import Emit
from bridge.settings import Settings
from bridge.simulator.agents import AgentsSimulator
from bridge.simulator.genesys import CLIENT, GenesysSimulator
from bridge.simulator.kmp import KmpSimulator
from bridge.simulator.rest import LIBRARIES
from bridge.workers import ingress

INTERACTIONS = 20
FRAMES_PER_S = 40.0
_BURST_FRAMES = 800
_READY_S = 60.0
_SETTLE_S = 60.0
_LOOK_EVERY_S = 0.1


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What `bridge verify` says of the same topics: it knows nothing of the counterparts, and sees record by record."""

    balanced: bool
    records: int
    offenders: list[str]


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a demo, as `--json` prints it. `balanced`: each line of the books, and `verified`."""

    balanced: bool
    books: list[Line]
    gaps: list[MissedTold]
    ladder: LadderTold
    verified: Verified
    faults: list[FaultTold]
    latency_ms: Mapping[str, Mapping[str, float]]
    counts: Mapping[str, int]

    @property
    def is_good(self) -> bool:
        """Every line balances and every fault was recovered from."""
        return self.balanced and all(fault.recovered_after_s is not None for fault in self.faults)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stage:
    """Everything that runs in a demo."""

    clients: Clients
    topics: Topics
    genesys: GenesysSimulator
    kmp: KmpSimulator
    agents: AgentsSimulator
    app: App
    watch: Watch


async def play(*, seconds: float, show: Show, emit: Emit, bootstrap_servers: str | None = None) -> Result:
    """Plays the demo for `seconds` of traffic and returns the books.

    It starts the embedded broker, or uses the Kafka that `bootstrap_servers` names, under a prefix of its own. `emit`
    takes the workers' events beside the view. Raises StartError where something cannot be started or does not settle.
    """
    faults = plan(seconds, burst_frames=_BURST_FRAMES)
    watch = Watch(faults, seconds=seconds, clock=_now_ms)

    def tell_both(event: Event) -> None:
        watch.emit(event)
        emit(event)

    with TemporaryDirectory(prefix="bridge-demo-") as folder:
        broker = EmbeddedBroker(Path(folder)) if bootstrap_servers is None else nullcontext()
        with broker as embedded:
            servers = embedded.bootstrap_servers if embedded is not None else bootstrap_servers
            try:
                async with _stage(servers or "", watch, emit=tell_both) as stage:
                    return await _play(stage, faults, seconds=seconds, show=show)
            except BaseExceptionGroup as errors:
                raise mendable_in(errors) or errors from None


@asynccontextmanager
async def _stage(servers: str, watch: Watch, *, emit: Emit) -> AsyncIterator[_Stage]:
    async with AsyncExitStack() as stack:
        genesys = await stack.enter_async_context(GenesysSimulator(frames_per_s=FRAMES_PER_S))
        kmp_simulator = await stack.enter_async_context(KmpSimulator())
        settings = _settings(servers, genesys=genesys, kmp_simulator=kmp_simulator)
        clients = Clients(settings.kafka, client_id="bridge-demo")
        topics = topics_of(settings.topics, prefix=settings.kafka.prefix)
        await kafka_topics.apply(
            clients, plans_of(topics), partitions=topics.partitions, replication_factor=1, dry_run=False
        )
        agents = await stack.enter_async_context(AgentsSimulator(clients, topics))
        app = App(settings, WORKERS, emit=emit, registry=CollectorRegistry())
        yield _Stage(
            clients=clients, topics=topics, genesys=genesys, kmp=kmp_simulator, agents=agents, app=app, watch=watch
        )


def _settings(servers: str, *, genesys: GenesysSimulator, kmp_simulator: KmpSimulator) -> Settings:
    return Settings(
        kafka=kafka.Options(
            bootstrap_servers=servers,
            prefix=f"demo-{time_ns() // 1_000_000}-",
        ),
        topics=TopicOptions(partitions=6),
        genesys=genesys_options.Options(
            base_url=genesys.base_url,
            client_id=CLIENT,
            client_secret=CLIENT,
            content_library_id=LIBRARIES[0].id,
        ),
        ingress=ingress.Options(
            interactions=tuple(f"interaction-{number:02}" for number in range(1, INTERACTIONS + 1)),
            # So short that the burst's pause reaches its bound: frames are read and written on, and nothing is lost.
            pause_max_s=0.25,
        ),
        # So tight that a burst of a second closes it.
        valve=valve.Options(close_above_records=150, reopen_at_records=50, sample_every_s=0.05, min_dwell_s=0.5),
        kmp=kmp.Options(endpoint=kmp_simulator.endpoint),
        http=http.Options(port=0),
    )


async def _play(stage: _Stage, faults: Sequence[PlannedFault], *, seconds: float, show: Show) -> Result:
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(stage.app.run())
        showing = tasks.create_task(_show(stage, show))
        following = tasks.create_task(_follow(stage))
        await _until_ready(stage, running)
        started_ms = _now_ms()
        stage.watch.start()
        for fault in faults:
            stage.genesys.post(*fault.genesys)
            stage.kmp.post(*fault.kmp)
        await asyncio.sleep(seconds)
        await _settle(stage)
        stage.app.stop("the end of the demo")
        exit_code = await running
        showing.cancel()
        following.cancel()
    if exit_code:
        raise StartError("the workers did not drain in time", remedy="give the machine a moment and try again")
    seen = Seen(
        topics=stage.topics,
        frames=stage.genesys.sent,
        clicks=stage.agents.clicks,
        posts=stage.kmp.posts,
        records=await read_topics(stage.clients, stage.topics),
    )
    report = await verify(stage.clients, stage.topics)
    return _result(stage, faults, seen, report, started_ms=started_ms)


async def _until_ready(stage: _Stage, running: asyncio.Task[int]) -> None:
    """Waits until every worker is ready and the first list was seen."""
    await _until(
        lambda: running.done() or (all(one.is_ready for one in stage.app.conditions()) and stage.agents.lists_seen > 0),
        within_s=_READY_S,
        what="the workers",
    )
    if running.done():
        await running


async def _settle(stage: _Stage) -> None:
    """Nothing new is sent; returns when everything sent has come through."""
    stage.watch.phase = "settling: nothing new is sent, what is under way comes through"
    await stage.genesys.stop_sending()
    await stage.agents.stop_clicking()
    prefix = stage.clients.options
    # In the order of the data: where one is at rest, it has written all that the next one is to read. That may not be
    # committed on all partitions yet, and counts all the same.
    probes = [
        KafkaLag(stage.clients, topic=topic, groups=[group_of(prefix, group)], isolation_level="read_uncommitted")
        for topic, group in (
            (stage.topics.raw_suggestions, "ranker"),
            (stage.topics.ranked_suggestions, "tally"),
            (stage.topics.suggestion_clicks, "tally"),
            (stage.topics.acceptance_exports, "exporter"),
        )
    ]
    try:
        async with asyncio.timeout(_SETTLE_S):
            for probe in probes:
                while await probe.lag() != 0:
                    await asyncio.sleep(_LOOK_EVERY_S)
    except TimeoutError as error:
        raise StartError("the bridge did not come to rest", remedy="see the log for what it waits for") from error
    finally:
        await asyncio.gather(*(probe.stop() for probe in probes))


async def _until(holds: Callable[[], bool], *, within_s: float, what: str) -> None:
    try:
        async with asyncio.timeout(within_s):
            while not holds():
                await asyncio.sleep(_LOOK_EVERY_S)
    except TimeoutError as error:
        raise StartError(f"{what} did not get ready in {within_s:.0f} s", remedy="see the log for why") from error


async def _show(stage: _Stage, show: Show) -> None:
    while True:
        stage.watch.sent(len(stage.genesys.sent))
        stage.watch.latencies_ms.clear()
        stage.watch.latencies_ms.extend(list(stage.agents.latencies_ms)[-200:])
        if stage.agents.clicks:
            click = stage.agents.clicks[-1]
            stage.watch.last_click = f"{click.interaction_id}: {click.suggestion_id}, article {click.article_id}"
        show(stage.watch.snapshot())
        await asyncio.sleep(_LOOK_EVERY_S)


async def _follow(stage: _Stage) -> None:
    """Keeps the last list for the view, as any program beside the bridge would read it."""
    options = stage.clients.options
    topics = TopicOptions(partitions=stage.topics.partitions)
    async with AgentAssistStream(kafka=options, topics=topics) as stream:
        async for batch in stream:
            top = batch.ranked_suggestions[0]
            more = len(batch.ranked_suggestions) - 1
            stage.watch.last_list = f"{batch.interaction_id}: {top.title} ({top.confidence}) and {more} more"


def _result(stage: _Stage, faults: Sequence[PlannedFault], seen: Seen, report: Report, *, started_ms: int) -> Result:
    accounts = seen.accounts()
    books = balance(accounts)
    return Result(
        balanced=all(line.ok for line in books) and report.balanced,
        books=books,
        gaps=missed(accounts),
        ladder=stage.watch.ladder.told(),
        verified=Verified(
            balanced=report.balanced,
            records=report.records,
            offenders=[f"{one.topic}/{one.partition}/{one.offset}: {one.what}" for one in report.offenders],
        ),
        faults=tell(faults, seen, started_ms=started_ms, valve=stage.watch.valve),
        latency_ms={
            "frame_to_ranked": _figures(list(stage.agents.latencies_ms)),
            "click_to_kmp": _figures(seen.click_to_kmp_ms()),
        },
        counts={
            "frames": len(seen.frames),
            "lists": len(seen.records[seen.topics.ranked_suggestions]),
            "clicks": len(seen.clicks),
            "exports": len(seen.records[seen.topics.acceptance_exports]),
            "dead_letters": sum(len(seen.records[name]) for name in seen.topics.names() if "dlq." in name),
        },
    )


def _figures(latencies_ms: Sequence[int]) -> Mapping[str, float]:
    return {"p50": percentile(latencies_ms, 50), "p99": percentile(latencies_ms, 99)} if latencies_ms else {}


def _now_ms() -> int:
    return time_ns() // 1_000_000
