"""Ingress between fakes: frames in at the sockets, records out at the writer; time moves only when a test says so."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.core import valve
from bridge.core.dialects.agentassist import Notice, Refusal, Suggestions, Unreadable
from bridge.core.errors import StartError
from bridge.core.events import ingress as told
from bridge.core.events import subscriptions
from bridge.core.events.kinds import Event
from bridge.core.partitions import partition_of
from bridge.core.records import Kind, NewRecord, StoredRecord, digest, made_here
from bridge.core.times import to_rfc3339
from bridge.core.topics import Options as TopicOptions
from bridge.core.topics import Topics, topics_of
from bridge.core.valve import Lag
from bridge.workers.ingress import Ingress, Options
from tests.fakes.lag import FakeLag
from tests.fakes.sockets import FakeSockets
from tests.fakes.table import FakeTable
from tests.fakes.tails import FakeTails
from tests.fakes.writer import FakeWriter

TOPICS: Topics = topics_of(TopicOptions(partitions=4))
ALL = range(4)
RAW, AUDIT, DLQ = TOPICS.raw_suggestions, TOPICS.suggestion_audit, TOPICS.dlq_ingress
START_MS = 1_767_607_200_000  # 2026-01-05T10:00:00Z
START = "2026-01-05T10:00:00.000Z"


class FakeTime:
    """Time that stands still but in `advance`."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._sleepers: dict[asyncio.Future[None], float] = {}
        self._went_to_sleep = asyncio.Event()

    def now_ms(self) -> int:
        return START_MS + round(self.now_s * 1000)

    async def sleep(self, delay_s: float) -> None:
        sleeper: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers[sleeper] = self.now_s + delay_s
        self._went_to_sleep.set()
        try:
            await sleeper
        finally:
            self._sleepers.pop(sleeper, None)

    async def advance(self, by_s: float) -> None:
        """Moves on; whatever is due on the way has been done, and sleeps again, when this returns."""
        await self._until_asleep(2)
        until_s = self.now_s + by_s
        while self._sleepers and min(self._sleepers.values()) <= until_s + 1e-9:
            self.now_s = max(self.now_s, min(self._sleepers.values()))
            for sleeper in [one for one, due_s in self._sleepers.items() if due_s <= self.now_s]:
                del self._sleepers[sleeper]
                sleeper.set_result(None)
            await self._until_asleep(2)
        self.now_s = until_s

    async def _until_asleep(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self._sleepers) < count:
                self._went_to_sleep.clear()
                await self._went_to_sleep.wait()


class Stage:
    """An ingress at work, everything around it within reach."""

    def __init__(self, *, is_connected: bool = True, at_most: int = 1_000_000, **options: object) -> None:
        fresh: Any = options.pop("fresh", ())
        self.time = FakeTime()
        self.sockets = FakeSockets(clock=self.time.now_ms, is_connected=is_connected)
        self.table = FakeTable()
        self.tails = FakeTails()
        self.writer = FakeWriter(at_most=at_most)
        self.lag = FakeLag()
        self.events: list[Event] = []
        self.to_come: asyncio.Queue[Suggestions | None] = asyncio.Queue()
        self._emitted = asyncio.Event()
        self.ingress = Ingress(
            msgspec.convert(options, Options),
            valve.Options(),
            topics=TOPICS,
            sockets=self.sockets,
            table=self.table,
            tails=self.tails,
            writer=self.writer,
            lag=self.lag,
            emit=self._emit,
            clock=self.time.now_ms,
            fresh=fresh,
            monotonic=lambda: self.time.now_s,
            sleep=self.time.sleep,
        )
        self._tasks = asyncio.TaskGroup()
        self._is_stopped = False

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._tasks.create_task(self.ingress.run())
        await self.time.advance(0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and not self._is_stopped:
            self.writer.come_back()
            await self.stop()
        async with asyncio.timeout(10):
            await self._tasks.__aexit__(kind, error, trace)

    async def stop(self, *, timeout_s: float = 10) -> int:
        self._is_stopped = True
        return await self.ingress.stop(timeout_s=timeout_s)

    def deliver(self, *frames: Any) -> asyncio.Task[None]:
        """The frames come in as soon as they may be read."""
        return self._tasks.create_task(self.sockets.deliver(*frames))

    def feed(self) -> asyncio.Task[None]:
        """What is put into `to_come` comes in, one after the other, until None."""
        return self._tasks.create_task(self._feed())

    async def _feed(self) -> None:
        while (one := await self.to_come.get()) is not None:
            await self.sockets.deliver(one)

    async def carry(self, *names: str) -> None:
        """Owns every partition, and has subscriptions for these written and live."""
        self.table.own(*ALL)
        self.table.write(*(subscription(name, at_ms=self.time.now_ms()) for name in names))
        await self.sockets.until_live(*names)
        await self.until(lambda: len(self.audits("subscription_started")) == len(names))

    def audits(self, event: str) -> list[dict[str, Any]]:
        values = [orjson.loads(record.value or b"") for record in self.writer.on(AUDIT)]
        return [value for value in values if value["event"] == event]

    def told(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Waits until `is_so`, looking again after each event."""
        async with asyncio.timeout(10):
            while not is_so():
                self._emitted.clear()
                await self._emitted.wait()

    def _emit(self, event: Event) -> None:
        self.events.append(event)
        self._emitted.set()


def subscription(name: str, *, at_ms: int = START_MS, partition: int | None = None, **fields: object) -> StoredRecord:
    key = name.encode()
    return StoredRecord(
        topic=TOPICS.interaction_subscriptions,
        partition=home(name) if partition is None else partition,
        timestamp=at_ms,
        key=key,
        value=orjson.dumps({"interactionId": name, **fields}),
    )


def null(name: str) -> StoredRecord:
    return StoredRecord(topic=TOPICS.interaction_subscriptions, partition=home(name), key=name.encode())


def home(name: str) -> int:
    return partition_of(name.encode(), TOPICS.partitions)


def frame(name: str, text: str = "1", *, occurrence: int = 0) -> Suggestions:
    value = orjson.dumps({"interactionId": name, "suggestions": [], "text": text})
    return Suggestions(interaction_id=name, value=value, occurrence=occurrence)


def texts(records: list[NewRecord]) -> list[str]:
    return [orjson.loads(record.value or b"")["text"] for record in records]


# -- frames ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("occurrence", [0, 3, 10])
async def test_a_frame_becomes_a_record_that_others_can_rely_on(occurrence: int) -> None:
    async with Stage() as stage:
        one = frame("i", "é", occurrence=occurrence)
        await stage.deliver(one)
        (record,) = await stage.writer.until_written(RAW, 1)
    ce_id = digest(b"i", one.value, b"%d" % occurrence)
    assert record == NewRecord(
        topic=RAW,
        key=b"i",
        value=one.value,
        headers=made_here(kind=Kind.RECEIVED, subject="i", at_ms=START_MS, ce_id=ce_id),
        partition=home("i"),
        timestamp=START_MS,
    )


async def test_frames_of_an_interaction_stay_in_order_whatever_the_batches_are() -> None:
    async with Stage(at_most=3) as stage:
        frames = [frame(name, f"{at}") for at in range(50) for name in ("a", "b", "c")]
        await stage.deliver(*frames)
        await stage.writer.until_written(RAW, 150)
    for name in ("a", "b", "c"):
        mine = [record for record in stage.writer.written[RAW, home(name)] if record.key == name.encode()]
        assert texts(mine) == [f"{at}" for at in range(50)]


async def test_what_comes_while_a_batch_is_under_way_goes_out_as_one() -> None:
    async with Stage() as stage:
        stage.writer.go_away()
        await stage.deliver(*(frame("i", f"{at}") for at in range(5)))
        stage.writer.come_back()
        await stage.writer.until_written(RAW, 5)
        assert [len(batch) for batch in stage.writer.batches] in ([1, 4], [5])


async def test_partitions_do_not_wait_for_one_another() -> None:
    away, there = next((a, b) for a, b in itertools.product("abcdef", "abcdef") if home(a) != home(b))
    async with Stage() as stage:
        stage.writer.go_away(home(away))
        await stage.deliver(frame(away), frame(there))
        assert [record.key for record in await stage.writer.until_written(RAW, 1)] == [there.encode()]


async def test_an_unreadable_frame_is_a_dead_letter_without_a_key() -> None:
    """T15, D7: what cannot be read is set aside with its bytes, and the next frame goes on."""
    async with Stage() as stage:
        broken = Unreadable(value=b"\xff", dlq_class="decode", reason="the frame is no JSON in UTF-8", size=1)
        await stage.deliver(broken, frame("i"))
        (letter,) = await stage.writer.until_written(DLQ, 1)
        await stage.writer.until_written(RAW, 1)
    headers = dict(letter.headers)
    assert (letter.key, letter.value) == (None, b"\xff")
    assert (headers["x-dlq-class"], headers["x-dlq-worker"], headers["x-dlq-size"]) == (b"decode", b"ingress", b"1")
    assert [event.dlq_class for event in stage.told(told.FrameSetAside)] == ["decode"]


async def test_an_unreadable_frame_that_names_its_interaction_stands_with_its_records() -> None:
    async with Stage() as stage:
        broken = Unreadable(value=b"{}", dlq_class="schema", reason="r", size=2, interaction_id="i")
        await stage.deliver(*[broken] * 2)
        letters = await stage.writer.until_written(DLQ, 2)
    assert [(letter.key, letter.partition) for letter in letters] == [(b"i", home("i"))] * 2


async def test_dead_frames_are_spread_over_the_partitions() -> None:
    async with Stage() as stage:
        broken = Unreadable(value=b"", dlq_class="decode", reason="r", size=0)
        await stage.deliver(*[broken] * 8)
        letters = await stage.writer.until_written(DLQ, 8)
    assert [letter.partition for letter in letters] == [0, 0, 1, 1, 2, 2, 3, 3]


async def test_notices_and_refusals_are_no_records() -> None:
    async with Stage() as stage:
        await stage.deliver(
            Notice(type="heartbeat"), Refusal(interaction_id=None, code="c", request_id=None), frame("i")
        )
        await stage.writer.until_written(RAW, 1)
        assert list(stage.writer.written) == [(RAW, home("i"))]


# -- the valve and the queue -------------------------------------------------------------------------------------------


async def test_a_stopped_ranker_closes_the_valve_and_every_frame_arrives_once_it_is_back() -> None:
    """T6, D1: the backlog is the ranker's lag. D2: after the pause comes the resume, and nothing is lost."""
    async with Stage() as stage:
        stage.lag.records = 5_001
        await stage.time.advance(0.5)
        assert [event.lag_records for event in stage.told(told.ValveClosed)] == [5_001]
        assert not stage.ingress.may_read
        delivery = stage.deliver(*(frame("i", f"{at}") for at in range(100)))
        await stage.time.advance(5)
        assert stage.writer.on(RAW) == []
        stage.lag.records = 1_000
        await stage.time.advance(0.5)
        assert stage.told(told.ValveOpened)
        await delivery
        assert texts(await stage.writer.until_written(RAW, 100)) == [f"{at}" for at in range(100)]
    assert [event.cause for event in stage.told(told.ReadingPaused)] == ["valve"]
    assert [event.paused_s for event in stage.told(told.ReadingResumed)] == [5.5]


async def test_write_overrides_the_valve_after_the_longest_pause_once_and_loses_nothing() -> None:
    async with Stage(overflow="write") as stage:
        stage.lag.records = 9_999
        await stage.time.advance(0.5)
        delivery = stage.deliver(*(frame("i", f"{at}") for at in range(10)))
        await stage.time.advance(9.5)
        assert stage.writer.on(RAW) == []
        await stage.time.advance(0.5)
        await delivery
        assert len(await stage.writer.until_written(RAW, 10)) == 10
        await stage.time.advance(30)
        assert [event.lag_records for event in stage.told(told.ValveOverridden)] == [9_999]
        assert stage.ingress.may_read


async def test_block_pauses_until_the_valve_opens() -> None:
    async with Stage(overflow="block") as stage:
        stage.lag.records = 9_999
        await stage.time.advance(0.5)
        delivery = stage.deliver(frame("i"))
        await stage.time.advance(60)
        assert not stage.ingress.may_read
        assert stage.writer.on(RAW) == []
        stage.lag.records = 0
        await stage.time.advance(0.5)
        await delivery
        await stage.writer.until_written(RAW, 1)


async def test_shed_holds_what_it_reads_until_the_valve_opens_and_drops_the_oldest_beyond_its_bound() -> None:
    async with Stage(overflow="shed", hold_max_frames=4) as stage:
        await stage.carry("a", "b")
        stage.lag.records = 9_999
        await stage.time.advance(0.5)
        delivery = stage.deliver(
            frame("a", "1"), frame("b", "2"), frame("b", "3"), frame("b", "4"), frame("b", "5"), frame("b", "6")
        )
        await stage.time.advance(10.5)
        await delivery
        assert stage.writer.on(RAW) == [], "the valve is closed"
        assert stage.ingress.stalled_s() == 0, "what is held on purpose is not stuck"
        await stage.time.advance(0.5)
        await stage.until(lambda: len(stage.audits("suggestions_shed")) == 1)
        (shed,) = stage.audits("suggestions_shed")
        assert (shed["interactionId"], shed["frames"], shed["cause"]) == ("b", 2, "valve")
        # Read at the end of the pause, and perhaps sent at its beginning.
        assert (shed["from"], shed["to"]) == ("2026-01-05T10:00:00.500Z", "2026-01-05T10:00:10.500Z")
        stage.lag.records = 0
        await stage.time.advance(0.5)
        assert sorted(texts(await stage.writer.until_written(RAW, 4))) == ["1", "4", "5", "6"]
    assert [event.cause for event in stage.told(told.PauseOverrun)] == ["valve"]
    assert [(event.cause, event.frames, event.interactions) for event in stage.told(told.FramesShed)] == [
        ("valve", 2, 1)
    ]


async def test_the_lag_is_told_in_records_and_in_seconds() -> None:
    async with Stage() as stage:
        stage.lag.records, stage.lag.oldest_ms = 12, START_MS - 3_500
        await stage.time.advance(0.5)
        stage.lag.records, stage.lag.oldest_ms = 0, None
        await stage.time.advance(0.5)
    assert [(event.lag_records, event.age_s) for event in stage.told(told.LagSampled)] == [(0, 0), (12, 4), (0, 0)]


async def test_an_unknown_lag_pauses_only_after_its_time() -> None:
    async with Stage() as stage:
        stage.lag.records = None
        await stage.time.advance(44)
        assert stage.ingress.may_read
        assert all(condition.is_ready for condition in stage.ingress.conditions() if condition.name == "ranker lag")
        await stage.time.advance(2)
        assert not stage.ingress.may_read
        assert [event.lag_records for event in stage.told(told.ValveClosed)] == [None]
        (lag,) = [condition for condition in stage.ingress.conditions() if condition.name == "ranker lag"]
        assert "does the ranker run?" in lag.reason
        stage.lag.records = 0
        await stage.time.advance(2)
        assert stage.ingress.may_read


async def test_a_full_queue_pauses_the_sockets_until_it_is_half_empty() -> None:
    """T6: the queue is bounded, and the pause ends."""
    async with Stage(max_queue_frames=10) as stage:
        stage.writer.go_away()
        delivery = stage.deliver(*(frame("i", f"{at}") for at in range(30)))
        await stage.until(lambda: bool(stage.told(told.ReadingPaused)))
        await stage.time.advance(1)
        assert not delivery.done()
        assert stage.told(told.HoldingSampled)[-1].frames == 10
        stage.writer.come_back()
        await delivery
        assert texts(await stage.writer.until_written(RAW, 30)) == [f"{at}" for at in range(30)]
    assert {event.cause for event in stage.told(told.ReadingPaused)} == {"queue"}


# -- Kafka away --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("overflow", ["write", "shed", "block"])
async def test_while_kafka_is_away_frames_are_held_and_none_is_lost_that_fits(overflow: str) -> None:
    async with Stage(overflow=overflow, max_queue_frames=10, hold_max_frames=100) as stage:
        stage.writer.go_away()
        delivery = stage.deliver(*(frame("i", f"{at}") for at in range(100)))
        await stage.until(lambda: bool(stage.told(told.ReadingPaused)))
        await stage.time.advance(9.9)
        assert not delivery.done()
        await stage.time.advance(0.1)
        await delivery
        (writer,) = [condition for condition in stage.ingress.conditions() if condition.name == RAW]
        assert "is Kafka there?" in writer.reason
        assert stage.ingress.stalled_s() == pytest.approx(10), "Kafka answers the probe: a restart may help"
        stage.lag.records = None
        await stage.time.advance(0.5)
        assert stage.ingress.stalled_s() == 0, "it answers nothing: a restart would lose what is held"
        stage.writer.come_back()
        assert texts(await stage.writer.until_written(RAW, 100)) == [f"{at}" for at in range(100)]
        assert stage.ingress.stalled_s() == 0
        await stage.time.advance(0.5)
    assert [event.cause for event in stage.told(told.PauseOverrun)] == ["queue"]
    assert [(event.stalled_s, event.frames) for event in stage.told(told.WritingStalled)] == [(3.0, 10)]
    assert [event.stalled_s for event in stage.told(told.WritingResumed)] == [10.75]
    assert not stage.told(told.FramesShed)


@pytest.mark.parametrize("overflow", ["write", "shed", "block"])
async def test_beyond_the_bound_the_oldest_superseded_lists_go_and_it_is_told(overflow: str) -> None:
    async with Stage(overflow=overflow, max_queue_frames=5, hold_max_frames=10) as stage:
        await stage.carry("a", "b")
        stage.writer.go_away()
        delivery = stage.deliver(frame("b", "only"), *(frame("a", f"{at}") for at in range(20)))
        await stage.time.advance(10.5)
        await delivery
        stage.writer.come_back()
        await stage.writer.until_written(RAW, 10)
        await stage.time.advance(0.5)
        await stage.until(lambda: len(stage.audits("suggestions_shed")) == 1)
    (shed,) = stage.audits("suggestions_shed")
    assert (shed["interactionId"], shed["frames"], shed["cause"]) == ("a", 11, "kafka")
    assert "only" in texts(stage.writer.on(RAW))
    # What was under way when Kafka went away is never shed; the rest are the newest.
    kept = [int(text) for text in texts(stage.writer.written[RAW, home("a")]) if text != "only"]
    under_way = next(at for at, number in enumerate(kept) if number != at)
    assert kept == [*range(under_way), *range(20 - (9 - under_way), 20)]


async def test_gaps_wait_summed_up_while_kafka_takes_nothing() -> None:
    async with Stage(hold_max_bytes=16_384) as stage:
        await stage.carry("i")
        stage.writer.go_away()
        await stage.deliver(Unreadable(value=b"x" * 2_000, dlq_class="decode", reason="r", size=2_000))
        for _ in range(3):
            await stage.time.advance(1)
            await stage.sockets.disconnect(cause="dropped")
            await stage.sockets.connect()
        stage.writer.come_back()
        await stage.writer.until_written(DLQ, 1)
        await stage.time.advance(0.5)
        await stage.until(lambda: len(stage.audits("reception_gap")) == 1)
        (gap,) = stage.audits("reception_gap")
    assert (gap["from"], gap["to"], gap["cause"]) == (None, "2026-01-05T10:00:03.000Z", "dropped")


async def test_nothing_is_read_while_dead_letters_fill_the_buffer() -> None:
    async with Stage(hold_max_bytes=16_384, pause_max_s=1.0) as stage:
        stage.writer.go_away()
        broken = Unreadable(value=b"x" * 4_000, dlq_class="decode", reason="r", size=4_000)
        delivery = stage.deliver(*[broken] * 10)
        await stage.until(lambda: bool(stage.told(told.ReadingPaused)))
        await stage.time.advance(60)
        assert not stage.ingress.may_read
        assert not delivery.done()
        stage.writer.come_back()
        await delivery
        assert len(await stage.writer.until_written(DLQ, 10)) == 10
    assert stage.told(told.ReadingPaused)[0].cause == "bound"


# -- subscriptions -----------------------------------------------------------------------------------------------------


async def test_copies_of_what_another_socket_delivered_are_told_once_kafka_takes_something() -> None:
    async with Stage(hold_max_bytes=1_048_576) as stage:
        await stage.carry("i", "j")
        stage.writer.go_away()
        filler = "x" * 200_000
        await stage.deliver(*(frame("i", f"{at}{filler}") for at in range(2)))
        await stage.sockets.suppress("i", frames=3)
        await stage.sockets.suppress("j", frames=1)
        await stage.sockets.suppress("i", frames=4)
        await stage.time.advance(1)
        stage.writer.come_back()
        await stage.writer.until_written(RAW, 2)
        await stage.time.advance(1)
        await stage.until(lambda: len(stage.audits("duplicates_suppressed")) == 2)
        told_of = {one["interactionId"]: one["frames"] for one in stage.audits("duplicates_suppressed")}
        assert told_of == {"i": 7, "j": 1}


async def test_what_is_written_to_the_topic_is_subscribed_and_told() -> None:
    """T4: subscribed over the socket, with the request's id on the audit."""
    async with Stage() as stage:
        await stage.carry("i")
        (started,) = stage.audits("subscription_started")
        assert started == {
            "event": "subscription_started",
            "interactionId": "i",
            "timestamp": START,
            "requestId": "request-1",
            "reason": "written",
        }
        stage.table.write(null("i"))
        await stage.sockets.until_live()
        await stage.until(lambda: len(stage.audits("subscription_ended")) == 1)
        (ended,) = stage.audits("subscription_ended")
        assert (ended["requestId"], ended["reason"]) == ("request-1", "unsubscribed")
        await stage.stop()
        assert stage.audits("reception_gap") == [], "a first subscription has no gap, and one that is over has none"


@pytest.mark.parametrize(("last_ms", "from_time"), [(None, None), (START_MS - 5_000, "2026-01-05T09:59:55.000Z")])
async def test_a_takeover_has_a_gap_and_a_subscription_of_this_start_has_none(
    last_ms: int | None, from_time: str | None
) -> None:
    """The gap begins with the last record of the partition, whichever interaction that is of."""
    async with Stage(fresh=("fresh",)) as stage:
        if last_ms is not None:
            stage.tails.last[home("old")] = last_ms
        stage.table.write(subscription("old", at_ms=START_MS - 1), subscription("fresh", at_ms=START_MS - 1))
        stage.table.own(*ALL)
        await stage.sockets.until_live("old", "fresh")
        await stage.until(lambda: len(stage.audits("subscription_started")) == 2)
        await stage.until(lambda: len(stage.audits("reception_gap")) == 1)
        (gap,) = stage.audits("reception_gap")
        assert (gap["interactionId"], gap["from"], gap["to"], gap["cause"]) == (
            "old",
            from_time,
            START,
            "takeover",
        )
        reasons = {one["interactionId"]: one["reason"] for one in stage.audits("subscription_started")}
        assert reasons == {"old": "takeover", "fresh": "written"}


async def test_the_ends_of_partitions_are_read_when_they_are_gained() -> None:
    async with Stage() as stage:
        await stage.carry("a", "b")
        stage.table.own(0, 1)
        stage.table.own(0, 1, 2)
        await stage.until(lambda: len(stage.told(subscriptions.PartitionsAssigned)) == 3)
        assert stage.tails.asked == [{0, 1, 2, 3}, {2}]


async def test_a_gap_begins_with_the_pause_where_the_socket_broke_behind_a_backlog() -> None:
    """What was read after the pause may have been sent before it ended, and so may what was lost behind it."""
    async with Stage(overflow="block") as stage:
        await stage.carry("i")
        await stage.time.advance(2)
        await stage.deliver(frame("i", "1"))
        stage.lag.records = 9_999
        await stage.time.advance(1)
        paused = stage.time.now_ms() - 500
        delivery = stage.deliver(frame("i", "2"))
        await stage.time.advance(20)
        stage.lag.records = 0
        await stage.time.advance(0.5)
        await delivery
        await stage.sockets.disconnect(cause="dropped")
        await stage.sockets.connect()
        await stage.until(lambda: len(stage.audits("reception_gap")) == 1)
        (gap,) = stage.audits("reception_gap")
        assert gap["from"] == to_rfc3339(paused)
    assert [(event.cause, event.paused_s) for event in stage.told(told.PauseProlonged)] == [("valve", 10.0)]


async def test_the_gap_of_a_process_that_stood_still_begins_where_frames_began_to_wait() -> None:
    async with Stage() as stage:
        await stage.carry("i")
        await stage.time.advance(1)
        stage.time.now_s += 30  # Nothing ran meanwhile.
        await stage.deliver(frame("i"))
        await stage.time.advance(0.25)
        await stage.sockets.disconnect(cause="half-open")
        await stage.sockets.connect()
        await stage.until(lambda: len(stage.audits("reception_gap")) == 1)
        (gap,) = stage.audits("reception_gap")
        assert (gap["from"], gap["to"]) == ("2026-01-05T10:00:01.250Z", "2026-01-05T10:00:31.250Z")
    assert [event.waited_s for event in stage.told(told.FramesWaited)] == [29.75]


async def test_a_lost_connection_is_a_gap_from_the_last_frame_to_the_next_subscription() -> None:
    """T7: after the reconnect everything is subscribed again, and what may be missing is told."""
    async with Stage() as stage:
        await stage.carry("i", "silent")
        await stage.time.advance(1)
        await stage.deliver(frame("i"))
        await stage.time.advance(1)
        await stage.sockets.disconnect(cause="dropped")
        await stage.time.advance(3)
        await stage.sockets.connect()
        await stage.until(lambda: len(stage.audits("reception_gap")) == 2)
        gaps = {one["interactionId"]: (one["from"], one["to"], one["cause"]) for one in stage.audits("reception_gap")}
        assert gaps == {
            "i": ("2026-01-05T10:00:01.000Z", "2026-01-05T10:00:05.000Z", "dropped"),
            "silent": (None, "2026-01-05T10:00:05.000Z", "dropped"),
        }
        assert len(stage.audits("subscription_started")) == 2, "a reconnect starts nothing anew"
    assert next((event.cause, event.interactions) for event in stage.told(subscriptions.GapsTold)) == ("dropped", 2)


async def test_the_gap_of_a_connection_begins_with_its_own_last_frame_where_two_were_read() -> None:
    async with Stage() as stage:
        await stage.carry("i")
        for text in ("of the lost one", "of the other one"):
            await stage.time.advance(1)
            await stage.deliver(frame("i", text))
        await stage.sockets.disconnect(cause="dropped", read_to_ms=START_MS + 1_000)
        await stage.sockets.connect()
        await stage.until(lambda: len(stage.audits("reception_gap")) == 1)
        assert stage.audits("reception_gap")[0]["from"] == "2026-01-05T10:00:01.000Z"


async def test_what_genesys_refuses_is_told_and_waits_until_it_is_written_again() -> None:
    async with Stage() as stage:
        await stage.carry("i", "j")
        await stage.sockets.finish("i", reason="refused: unknown")
        await stage.until(lambda: len(stage.audits("subscription_ended")) == 1)
        assert stage.audits("subscription_ended")[0]["reason"] == "refused: unknown"
        await stage.sockets.disconnect()
        await stage.sockets.connect()
        await stage.sockets.until_live("j")
        stage.table.write(subscription("i"))
        await stage.sockets.until_live("i", "j")


async def test_what_went_away_while_it_was_being_sent_is_not_told() -> None:
    async with Stage(is_connected=False) as stage:
        stage.table.own(*ALL)
        stage.table.write(subscription("i"))
        await stage.sockets.until(lambda: "i" in stage.sockets.wanted)
        stage.table.write(null("i"))
        await stage.until(lambda: len(stage.audits("subscription_ended")) == 1)
        stage.ingress.subscribed(["i"], request_ids=["late"], at_ms=START_MS)
        await stage.stop()
        assert stage.audits("subscription_started") == []
        assert stage.audits("reception_gap") == []


async def test_a_rebalance_keeps_what_is_kept() -> None:
    names = ["a", "b", "c", "d", "e", "f"]
    async with Stage() as stage:
        await stage.carry(*names)
        kept = {name: request for name, request in stage.sockets.live.items() if home(name) != 0}
        assert 0 < len(kept) < len(names)
        stage.table.own(1, 2, 3)
        await stage.until(lambda: len(stage.told(subscriptions.PartitionsAssigned)) == 2)
        await stage.time.advance(0.75)
        assert stage.sockets.live.keys() == set(names), "until the other one has them"
        await stage.time.advance(0.5)
        assert stage.sockets.live == kept
        assert stage.audits("subscription_ended") == []
        stage.table.own(*ALL)
        await stage.sockets.until_live(*names)
        assert {name: stage.sockets.live[name] for name in kept} == kept
    assert [(event.owned, event.gained, event.lost) for event in stage.told(subscriptions.PartitionsAssigned)] == [
        (4, 4, 0),
        (3, 0, 1),
        (4, 1, 0),
    ]


async def test_what_comes_back_before_it_was_left_stays() -> None:
    async with Stage() as stage:
        await stage.carry("i")
        others = set(ALL) - {home("i")}
        stage.table.own(*others)
        stage.table.own(*ALL)
        await stage.until(lambda: len(stage.told(subscriptions.PartitionsAssigned)) == 3)
        await stage.time.advance(5)
        assert stage.sockets.live.keys() == {"i"}


async def test_a_gap_that_is_open_at_a_handover_is_left_to_the_other_replica() -> None:
    """The socket is gone: nothing of the partition was received since, so the other one's gap begins no later."""
    async with Stage() as stage:
        await stage.carry("i")
        await stage.deliver(frame("i"))
        await stage.sockets.disconnect()
        stage.table.own()
        await stage.until(lambda: len(stage.told(subscriptions.PartitionsAssigned)) == 2)
        await stage.time.advance(5)
        assert stage.sockets.wanted == {}
        await stage.sockets.connect()
        await stage.stop()
        assert stage.audits("reception_gap") == []


async def test_an_expired_subscription_is_ended_for_every_reader() -> None:
    async with Stage(subscription_ttl_s=10) as stage:
        await stage.carry("i")
        await stage.time.advance(10)
        await stage.sockets.until_live()
        (record,) = await stage.writer.until_written(TOPICS.interaction_subscriptions, 1)
        assert (record.key, record.value, record.partition) == (b"i", None, home("i"))
        await stage.until(lambda: len(stage.audits("subscription_ended")) == 1)
        assert stage.audits("subscription_ended")[0]["reason"] == "expired"


async def test_a_subscription_that_expired_while_nobody_had_it_has_a_gap_up_to_its_end() -> None:
    async with Stage(subscription_ttl_s=10) as stage:
        stage.tails.last[home("i")] = START_MS - 15_000
        stage.table.write(subscription("i", at_ms=START_MS - 20_000))
        stage.table.own(*ALL)
        await stage.until(lambda: bool(stage.told(subscriptions.PartitionsAssigned)))
        await stage.time.advance(0.25)
        await stage.writer.until_written(AUDIT, 2)
        (gap,) = stage.audits("reception_gap")
        assert (gap["from"], gap["cause"]) == ("2026-01-05T09:59:45.000Z", "takeover")
        assert gap["to"] == stage.audits("subscription_ended")[0]["timestamp"]
        assert stage.sockets.wanted == {}


async def test_a_record_that_is_no_subscription_is_a_dead_letter() -> None:
    async with Stage() as stage:
        stage.table.own(*ALL)
        misplaced = subscription("i", partition=(home("i") + 1) % 4)
        stage.table.write(misplaced)
        (letter,) = await stage.writer.until_written(DLQ, 1)
    assert (letter.key, letter.value, letter.partition) == (b"i", misplaced.value, misplaced.partition)
    assert dict(letter.headers)["x-dlq-class"] == b"misplaced"
    assert stage.sockets.wanted == {}
    assert [event.dlq_class for event in stage.told(subscriptions.SubscriptionSetAside)] == ["misplaced"]


async def test_ready_once_the_table_is_read() -> None:
    async with Stage() as stage:
        await stage.time.advance(0.5)

        def table() -> str:
            (one,) = [one for one in stage.ingress.conditions() if one.name == TOPICS.interaction_subscriptions]
            return one.reason

        assert table() == "no partitions are assigned yet"
        stage.table.own(*ALL)
        await stage.until(lambda: bool(stage.told(subscriptions.PartitionsAssigned)))
        assert table() == ""
        assert all(condition.is_ready for condition in stage.ingress.conditions())


async def test_not_ready_while_the_table_cannot_be_read() -> None:
    async with Stage() as stage:
        await stage.carry("i")
        stage.table.fail("it cannot be read: no answer")
        unready = [(one.name, one.reason) for one in stage.ingress.conditions() if not one.is_ready]
        assert unready == [(TOPICS.interaction_subscriptions, "it cannot be read: no answer")]
        stage.table.come_back()
        assert all(condition.is_ready for condition in stage.ingress.conditions())


# -- start and stop ----------------------------------------------------------------------------------------------------


async def test_a_stop_writes_what_was_read_and_tells_the_gap() -> None:
    """D4: the stop closes the sockets, and what they brought until then is written."""
    async with Stage() as stage:
        await stage.carry("i")
        stage.lag.records = 9_999
        await stage.time.advance(0.5)
        delivery = stage.deliver(*(frame("i", f"{at}") for at in range(10)))
        stop = asyncio.ensure_future(stage.stop())
        await delivery
        assert await stop == 0
        assert len(stage.writer.on(RAW)) == 10
        (gap,) = stage.audits("reception_gap")
        assert (gap["from"], gap["to"], gap["cause"]) == (
            "2026-01-05T10:00:00.500Z",
            "2026-01-05T10:00:00.500Z",
            "stopped",
        )


async def test_a_stop_writes_what_was_held_behind_a_closed_valve() -> None:
    async with Stage(overflow="shed") as stage:
        stage.lag.records = 9_999
        await stage.time.advance(0.5)
        delivery = stage.deliver(frame("i"))
        await stage.time.advance(10.5)
        await delivery
        assert stage.writer.on(RAW) == []
        assert await stage.stop() == 0
        assert len(stage.writer.on(RAW)) == 1


async def test_a_stop_gives_up_at_its_deadline_and_says_how_much() -> None:
    async with Stage() as stage:
        await stage.carry("i")
        stage.writer.go_away()
        await stage.deliver(frame("i", "1"), frame("i", "2"))
        assert await stage.stop(timeout_s=0.05) == 3
    assert {event.topic: event.records for event in stage.told(told.RecordsAbandoned)} == {RAW: 2, AUDIT: 1}


async def test_a_frame_that_comes_after_the_end_is_not_written() -> None:
    async with Stage() as stage:
        await stage.stop()
        stage.ingress.take(frame("i"), at_ms=START_MS)
        assert stage.writer.on(RAW) == []


async def test_sheds_are_told_at_a_stop() -> None:
    async with Stage(hold_max_frames=1) as stage:
        stage.writer.go_away()
        await stage.deliver(frame("i", "1"), frame("i", "2"), frame("i", "3"))
        stage.writer.come_back()
        await stage.stop()
        (shed,) = stage.audits("suggestions_shed")
        assert (shed["frames"], shed["cause"]) == (2, "queue")


async def test_a_refusal_at_the_start_is_raised_as_it_is() -> None:
    stage = Stage()
    stage.sockets.refuse_to_start(StartError("the library is missing", remedy="make one"))
    with pytest.raises(StartError, match="library"):
        await stage.ingress.run()


async def test_another_fault_keeps_its_group() -> None:
    stage = Stage()

    async def fail() -> Lag | None:
        raise RuntimeError("a fault")

    stage.lag.sample = fail  # type: ignore[method-assign] # one fault on purpose
    with pytest.raises(ExceptionGroup) as raised:
        await stage.ingress.run()
    assert raised.group_contains(RuntimeError, match="a fault")


# -- any order ---------------------------------------------------------------------------------------------------------

Step = tuple[str, int]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("frames"), st.integers(1, 20)),
            st.tuples(st.sampled_from(["away", "away", "back", "tick", "tick"]), st.just(0)),
        ),
        max_size=25,
    ),
    st.sampled_from(["write", "shed", "block"]),
)
def test_every_frame_is_written_in_order_or_told_as_shed(steps: list[Step], overflow: str) -> None:
    asyncio.run(_check(_play(steps, overflow)))


async def _check(play: Awaitable[None]) -> None:
    async with asyncio.timeout(20):
        await play


async def _play(steps: list[Step], overflow: str) -> None:
    numbers = itertools.count()
    sent: dict[str, list[str]] = {"a": [], "b": [], "c": []}
    async with Stage(overflow=overflow, at_most=4, pause_max_s=1.0, max_queue_frames=8, hold_max_frames=12) as stage:
        feeding = stage.feed()
        for what, amount in steps:
            match what:
                case "frames":
                    for name in itertools.islice(itertools.cycle(sent), amount):
                        sent[name].append(f"{next(numbers)}")
                        stage.to_come.put_nowait(frame(name, sent[name][-1]))
                case "away":
                    stage.writer.go_away()
                case "back":
                    stage.writer.come_back()
                case _:
                    await stage.time.advance(2)
        stage.writer.come_back()
        stage.to_come.put_nowait(None)
        await feeding
        await stage.stop()
    shed = dict.fromkeys(sent, 0)
    for one in stage.audits("suggestions_shed"):
        shed[one["interactionId"]] += one["frames"]
    for name, mine in sent.items():
        written = texts([record for record in stage.writer.on(RAW) if record.key == name.encode()])
        assert written == [text for text in mine if text in set(written)], "in order, none twice"
        assert len(written) + shed[name] == len(mine), "none is missing untold"
