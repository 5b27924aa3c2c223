"""What is looked at while a consumer works, with readers that say what the test wants."""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError

from bridge.adapters.kafka import watch
from bridge.adapters.kafka.restore import Plan
from bridge.adapters.kafka.watch import Seen, View, Watch
from bridge.core.events.engine import LagMeasured, StableOffsetMeasured
from bridge.core.watchdog import Watchdog
from tests.kafka.working import Told

LISTS, CLICKS = TopicPartition("lists", 3), TopicPartition("clicks", 3)


class Reader:
    """Knows the ends by partition; those that it does not know are 0. None: nobody answers.

    Where it is asked for any that is `leaderless`, it does not answer.
    """

    def __init__(self, ends: Mapping[TopicPartition, int] | None) -> None:
        self.ends = ends
        self.leaderless: TopicPartition | None = None
        self._client = SimpleNamespace(_conns={})

    async def end_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        asked = list(partitions)
        if self.ends is None or self.leaderless in asked:
            raise KafkaConnectionError
        return {partition: self.ends.get(partition, 0) for partition in asked}


class Idle:
    """Knows how far the numbers that are not running are behind; None: nobody answers."""

    def __init__(self) -> None:
        self.lag_records: int | None = 0
        self.asked: Mapping[TopicPartition, int | None] = {}

    async def records(self, known: Mapping[TopicPartition, int | None]) -> int | None:
        self.asked = known
        return self.lag_records


class World(Told):
    """A watch over the lists and the clicks of number 3."""

    def __init__(self) -> None:
        super().__init__()
        self.probe, self.stable = Reader({LISTS: 9}), Reader({LISTS: 9})
        self.idle_lag = Idle()
        self.is_running = True
        self.committed: dict[str, int] | None = {"lists": 4, "clicks": 0}
        self.others: list[Seen] = []
        self.unworkable: list[TopicPartition] = []
        self.is_assigned = True
        self.waits = False
        self.stuck: list[str] = []
        self.watchdog = Watchdog(stuck_after_s=2)
        self.now_s = 0.0
        self.looks = 0
        plan = Plan(
            group="tally",
            topics=["lists", "clicks"],
            state_topic=None,
            audit_topic="audit",
            make_hop=lambda _: cast("Any", None),
            waits=lambda number: self.waits and number == 3,
        )
        self.watch = Watch(
            plan,
            probe=self.probe,
            stable_probe=self.stable,
            idle_lag=cast("Any", self.idle_lag),
            watchdog=self.watchdog,
            view=self._view,
            on_stuck=self.stuck.append,
            emit=self.emit,
        )

    def _view(self) -> View:
        seen = Seen(number=3, is_running=self.is_running, committed=self.committed)
        return View(numbers=[seen, *self.others] if self.is_assigned else None, unworkable=self.unworkable)

    def monotonic(self) -> float:
        self.looks += 1
        return self.now_s

    async def look(self, times: int = 5) -> None:
        """Looks so many times, a second apart."""
        for _ in range(times):
            self.now_s += 1
            after = len(self.events)
            async with looking(self):
                await self.until(LagMeasured, after=after)


@asynccontextmanager
async def looking(world: World) -> Any:
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(world.watch.run())
        yield
        task.cancel()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr(watch, "monotonic", world.monotonic)
    return world


async def test_tells_the_lag_of_what_it_owns(world: World) -> None:
    await world.look(1)
    assert world.all(LagMeasured)[0] == LagMeasured(group="tally", lag_records=5)
    assert world.all(StableOffsetMeasured)[0] == StableOffsetMeasured(group="tally", age_s=0)
    assert world.idle_lag.asked == {}


@pytest.mark.parametrize(
    ("committed", "asked"),
    [({"lists": 4, "clicks": 0}, {LISTS: 4, CLICKS: 0}), (None, {LISTS: None, CLICKS: None})],
)
async def test_a_number_that_is_not_running_counts_all_the_same(
    world: World, committed: dict[str, int] | None, asked: Mapping[TopicPartition, int | None]
) -> None:
    """Parked numbers are what an alert on the lag is for."""
    world.is_running, world.committed, world.idle_lag.lag_records = False, committed, 7
    await world.look(1)
    assert world.idle_lag.asked == asked
    assert world.all(LagMeasured)[0].lag_records == 7


async def test_a_partition_that_cannot_be_worked_counts_too(world: World) -> None:
    """As of a topic that was given more partitions than the others."""
    world.unworkable, world.idle_lag.lag_records = [TopicPartition("lists", 4)], 7
    await world.look(1)
    assert world.idle_lag.asked == {TopicPartition("lists", 4): None}
    assert world.all(LagMeasured)[0].lag_records == 5 + 7


async def test_what_is_unknown_of_some_numbers_is_unknown_and_the_watchdog_does_not_mind(world: World) -> None:
    world.idle_lag.lag_records = None
    await world.look(1)
    assert world.all(LagMeasured)[0].lag_records is None
    assert world.all(StableOffsetMeasured)[0].age_s == 0
    assert world.watch.is_kafka_there
    await world.look(2)
    assert world.stuck == ["number 3"]


@pytest.mark.parametrize("reader", ["probe", "stable"])
async def test_a_reader_that_gives_no_answer_leaves_unknown_what_it_would_tell(world: World, reader: str) -> None:
    getattr(world, reader).ends = None
    await world.look(1)
    assert world.all(LagMeasured)[0].lag_records == (None if reader == "probe" else 5)
    assert world.all(StableOffsetMeasured)[0].age_s is None


async def test_a_partition_without_a_leader_blinds_it_for_one_number_only(world: World) -> None:
    """Kafka is there, and the others may be stuck all the same."""
    world.others = [Seen(number=5, is_running=True, committed={"lists": 0, "clicks": 0})]
    world.probe.leaderless = world.stable.leaderless = TopicPartition("clicks", 5)
    await world.look(3)
    assert world.watch.is_kafka_there
    assert world.all(LagMeasured)[0].lag_records is None
    assert world.all(StableOffsetMeasured)[0].age_s == 0
    assert world.stuck == ["number 3"]


async def test_while_it_waits_for_its_partitions_nobody_knows(world: World) -> None:
    """They are read by nobody meanwhile: that is not a lag of 0."""
    world.is_assigned = False
    await world.look(1)
    assert world.all(LagMeasured)[0].lag_records is None
    assert world.all(StableOffsetMeasured)[0].age_s == 0


async def test_once_nobody_looks_any_more_nobody_knows(world: World) -> None:
    await world.look(1)
    assert world.events[-2:] == [
        LagMeasured(group="tally", lag_records=None),
        StableOffsetMeasured(group="tally", age_s=None),
    ]


async def test_a_number_that_has_work_and_commits_nothing_is_stuck(world: World) -> None:
    await world.look(3)
    assert world.stuck == ["number 3"]


async def test_a_number_that_commits_is_not(world: World) -> None:
    for position in range(4, 9):
        world.committed = {"lists": position, "clicks": 0}
        await world.look(1)
    assert world.stuck == []


async def test_what_is_read_to_the_last_stable_offset_has_no_work(world: World) -> None:
    world.committed = {"lists": 9, "clicks": 0}
    await world.look()
    assert world.stuck == []


async def test_a_number_that_is_not_running_is_not_expected_to_do_anything(world: World) -> None:
    world.is_running = False
    await world.look()
    assert world.stuck == []


async def test_that_a_new_consumer_was_in_vain_is_not_forgotten_while_it_is_set_up(world: World) -> None:
    """A restore is looked at between one consumer and the next."""
    await world.look(3)
    world.is_running = False
    await world.look(1)
    world.is_running = True
    await world.look(3)
    assert world.stuck == ["number 3", "number 3"]
    assert world.watchdog.stalled_s(world.now_s) > 0


async def test_a_wait_on_purpose_is_none(world: World) -> None:
    world.waits = True
    await world.look()
    assert world.stuck == []


async def test_what_an_open_transaction_holds_up_is_told_and_waited_for(world: World) -> None:
    """The tally cannot count a list before it knows the clicks that were written before it."""
    world.probe.ends = {LISTS: 9, CLICKS: 5}
    world.watchdog._stuck_after_s = 6
    await world.look(20)
    assert [one.age_s for one in world.all(StableOffsetMeasured) if one.age_s is not None][-1] == 19
    assert world.stuck == []


async def test_partitions_that_do_not_come_are_a_reason_for_a_new_consumer(world: World) -> None:
    world.is_assigned = False
    await world.look(3)
    assert world.stuck == ["the way to its partitions"]


async def test_one_reader_that_gives_no_answer_is_one_too(world: World) -> None:
    world.stable.ends = None
    await world.look(3)
    assert world.stuck == ["one of its readers"]
    assert world.watch.is_kafka_there


async def test_a_kafka_that_is_away_is_none(world: World) -> None:
    world.probe.ends = world.stable.ends = None
    for _ in range(5):
        world.now_s += 1
        looks = world.looks
        async with looking(world):
            while world.looks == looks:
                await asyncio.sleep(0)
    assert not world.watch.is_kafka_there
    assert world.stuck == []
