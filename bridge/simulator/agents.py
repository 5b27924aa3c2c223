"""Agents at their desks: they read `ranked-suggestions` and click, through Kafka, with faults by script."""

import heapq
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from random import Random
from types import TracebackType
from typing import Self

import msgspec
from starlette.applications import Starlette

from bridge.adapters.kafka.clients import Clients
from bridge.adapters.kafka.live import LiveReader, Publisher
from bridge.core.errors import UnavailableError
from bridge.core.partitions import partition_of
from bridge.core.records import NewRecord, Record
from bridge.core.topics import Topics
from bridge.simulator.clicks import ClickMix, Kind, PlannedClick, RankedList, malformed, plan_clicks, plan_good_click
from bridge.simulator.faults import AppliedFault, FaultsInForce, RunningScript
from bridge.simulator.memory import Remembered
from bridge.simulator.script import BeSlow, Burst, Fault, Garbage, Script
from bridge.simulator.serving import add_action, add_fault_route, add_page, serving
from bridge.simulator.tasks import own_tasks
from bridge.simulator.times import Changes, Elapsed, now_ms

_MAX_WAITING_CLICKS = 10_000
_MAX_CLICKS_ON_THE_WAY = 500
_MAX_LATENCIES = 100_000
_RECENT_LISTS = 50
_STOP_WITHIN_S = 10.0
# A click that is given up may be written all the same, and the books would not know its place: so brokers that are away
# are waited for.
_CONFIRMED_WITHIN_S = 300.0
_LOOK_AGAIN_S = 60.0

_ranked = msgspec.json.Decoder(RankedList)


class SentClick(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A click that was written to `topic`, partition and offset (None while, or if, no broker has confirmed it).

    `kind` is what it is meant to be: a `repeat` follows a `good` one under the same `click_id`. `is_misplaced` tells a
    click that is not on its key's partition.
    """

    kind: Kind
    click_id: str | None
    interaction_id: str
    suggestion_id: str
    article_id: str
    topic: str
    partition: int | None
    offset: int | None
    at_ms: int
    is_misplaced: bool


class AgentsState(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What `GET /simulator/state` answers: `waiting` are clicks to come, `on_the_way` those not yet confirmed."""

    lists_seen: int
    clicks: dict[str, int]
    waiting: int
    on_the_way: int
    is_stopped: bool
    faults: list[AppliedFault]


class AgentsSimulator:
    """Agents at work while it is entered: `async with AgentsSimulator(clients, topics, seed=7) as agents:`.

    They see every list that is committed after it was entered; what they do follows from `mix` and `seed`, and from the
    order in which they see the lists. `base_url` serves the control pages. Entering raises StartError (no such topic,
    address taken) and UnavailableError (no Kafka).
    """

    def __init__(
        self,
        clients: Clients,
        topics: Topics,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        mix: ClickMix | None = None,
        script: Script = (),
        seed: int = 1,
    ) -> None:
        self._clicks: Remembered[SentClick] = Remembered()
        self.latencies_ms: deque[int] = deque(maxlen=_MAX_LATENCIES)
        self.lists_seen = 0
        self._clients = clients
        self._topics = topics
        self._host = host
        self._port = port
        self._base_url = ""
        self._mix = mix or ClickMix()
        self._chance = Random(seed)
        self._recent: deque[RankedList] = deque(maxlen=_RECENT_LISTS)
        self._waiting: list[tuple[float, int, PlannedClick]] = []
        self._planned = 0
        self._owed: deque[Kind] = deque()  # What faults ask for, until there is a list to click on.
        self._on_the_way = 0
        self._is_stopped = False
        self._elapsed = Elapsed()
        self._changes = Changes()
        self._in_force = FaultsInForce()
        self._script = RunningScript[BeSlow | Burst | Garbage](
            script, takes=(BeSlow, Burst, Garbage), elapsed=self._elapsed
        )

    # -- for whoever runs it -------------------------------------------------------------------------------------------

    @property
    def base_url(self) -> str:
        """`http://127.0.0.1:1234`, once entered."""
        return self._base_url

    @property
    def clicks(self) -> Sequence[SentClick]:
        """The clicks that were written (at least the last 500,000), in their order."""
        return self._clicks.items

    @property
    def faults(self) -> Sequence[AppliedFault]:
        """The faults that have begun."""
        return self._script.applied

    def state(self) -> AgentsState:
        """How things stand."""
        return AgentsState(
            lists_seen=self.lists_seen,
            clicks=dict(Counter(click.kind for click in self.clicks)),
            waiting=len(self._waiting),
            on_the_way=self._on_the_way,
            is_stopped=self._is_stopped,
            faults=list(self._script.applied),
        )

    def post(self, *faults: Fault) -> None:
        """Adds faults, `at_s` seconds from now. Raises ValueError for a kind that this simulator cannot do."""
        self._script.post(faults)

    async def stop_clicking(self, *, timeout_s: float = _STOP_WITHIN_S) -> bool:
        """Clicks no more, and waits until what was written is confirmed; False if that was not so in time.

        Lists are still read, and their latencies noted.
        """
        self._is_stopped = True
        self._waiting.clear()
        self._owed.clear()
        try:
            await self.until(lambda: self._on_the_way == 0, timeout_s=timeout_s)
        except TimeoutError:
            return False
        return True

    async def until(self, holds: Callable[[], bool], *, timeout_s: float = 10.0) -> None:
        """Waits until `holds()`, which is asked whenever something has happened here; raises TimeoutError."""
        await self._changes.until(holds, timeout_s=timeout_s)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self._base_url = await stack.enter_async_context(serving(self._app(), host=self._host, port=self._port))
            self._publisher = Publisher(self._clients)
            stack.push_async_callback(self._publisher.close)
            await self._publisher.start()
            reader = LiveReader(self._clients, self._topics.ranked_suggestions)
            stack.push_async_callback(reader.close)
            await reader.start()
            self._elapsed.restart()
            self._tasks = await stack.enter_async_context(own_tasks())
            for work in (self._click(), self._script.run(self._perform)):
                stack.callback(self._tasks.create_task(work).cancel)
            self._tasks.create_task(self._read(reader))
            stack.push_async_callback(reader.close)  # Ends the reading, before the group waits for it.
            stack.push_async_callback(self.stop_clicking)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    # -- reading -------------------------------------------------------------------------------------------------------

    async def _read(self, reader: LiveReader) -> None:
        while (record := await reader.next()) is not None:
            self._see(record, at_ms=now_ms())
            self._changes.tell()

    def _see(self, record: Record, *, at_ms: int) -> None:
        try:
            ranked = _ranked.decode(record.value or b"")
        except msgspec.DecodeError:
            return  # What another writer left on the topic is no list for an agent.
        self.lists_seen += 1
        if ranked.sent_at_ms is not None:
            self.latencies_ms.append(at_ms - ranked.sent_at_ms)
        if ranked.clickable:
            self._recent.append(ranked)
        self._plan(plan_clicks(ranked, mix=self._mix, at_ms=at_ms, chance=self._chance))
        self._plan_owed()

    def _plan(self, clicks: Sequence[PlannedClick]) -> None:
        if self._is_stopped or len(self._waiting) + len(clicks) > _MAX_WAITING_CLICKS:
            return  # Agents who are too busy let a list pass.
        slow_s = self._in_force.delay_s(now_s=self._elapsed())
        for click in clicks:
            self._planned += 1
            heapq.heappush(self._waiting, (self._elapsed() + click.delay_s + slow_s, self._planned, click))

    def _plan_owed(self) -> None:
        while self._owed and self._recent:
            self._recent.rotate(-1)
            click = plan_good_click(self._recent[-1], at_ms=now_ms(), chance=self._chance)
            is_good = self._owed.popleft() == "good"
            self._plan([click if is_good else malformed(click, chance=self._chance)])

    # -- clicking ------------------------------------------------------------------------------------------------------

    async def _click(self) -> None:
        while True:
            while self._waiting and self._waiting[0][0] <= self._elapsed():
                if self._on_the_way >= _MAX_CLICKS_ON_THE_WAY:
                    break
                self._on_the_way += 1
                self._tasks.create_task(self._publish(heapq.heappop(self._waiting)[2]))
            await self._changes.next(timeout_s=self._wait_s())

    def _wait_s(self) -> float:
        if not self._waiting or self._on_the_way >= _MAX_CLICKS_ON_THE_WAY:
            return _LOOK_AGAIN_S
        return max(0.0, self._waiting[0][0] - self._elapsed())

    async def _publish(self, click: PlannedClick) -> None:
        sent = SentClick(
            kind=click.kind,
            click_id=click.click_id,
            interaction_id=click.interaction_id,
            suggestion_id=click.suggestion_id,
            article_id=click.article_id,
            topic=self._topics.suggestion_clicks,
            partition=None,
            offset=None,
            at_ms=now_ms(),
            is_misplaced=click.is_misplaced,
        )
        number = self._clicks.add(sent)
        try:
            written = await self._publisher.publish(self._record_of(click), timeout_s=_CONFIRMED_WITHIN_S)
            confirmed = msgspec.structs.replace(sent, partition=written.partition, offset=written.offset)
            self._clicks.replace(number, confirmed)
        except UnavailableError:
            return  # No broker has confirmed it in time: so it stays, as one that may or may not be there.
        finally:
            self._on_the_way -= 1
            self._changes.tell()

    def _record_of(self, click: PlannedClick) -> NewRecord:
        count = self._topics.partitions
        partition = (partition_of(click.key, count) + 1) % count if click.is_misplaced else None
        return NewRecord(topic=self._topics.suggestion_clicks, key=click.key, value=click.value, partition=partition)

    # -- control -------------------------------------------------------------------------------------------------------

    def _perform(self, fault: BeSlow | Burst | Garbage) -> None:
        match fault:
            case BeSlow():
                self._in_force.apply(fault, now_s=self._elapsed())
            case Burst(frames=count):
                self._owed.extend(["good"] * count)
            case Garbage(count=count):
                self._owed.extend(["malformed"] * count)
        self._plan_owed()
        self._changes.tell()

    def _app(self) -> Starlette:
        app = Starlette()
        add_fault_route(app, self._script.post)
        add_page(app, "/simulator/clicks", lambda: self._clicks.items)
        add_page(app, "/simulator/latencies", lambda: list(self.latencies_ms))
        add_page(app, "/simulator/state", self.state)
        add_action(app, "/simulator/stop", self._stop_clicking)
        return app

    async def _stop_clicking(self) -> AgentsState:
        await self.stop_clicking()
        return self.state()
