"""One number from its assignment to its loss, without Kafka."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import cast

import pytest

from bridge.adapters.kafka.lifecycle import NumberLife, Steering
from bridge.adapters.kafka.number import OwnedNumber
from bridge.adapters.kafka.restore import Restored
from bridge.adapters.kafka.transactions import TransactionalWriter
from bridge.core.budget import Budget, Options
from bridge.core.errors import BudgetError, FencedError, TransactionError, UnavailableError
from bridge.core.events.engine import NumberFenced, NumberParked, NumberRestored
from bridge.core.events.kinds import Event
from bridge.core.records import Record
from bridge.ports import Number


class ClosingWriter:
    """A producer of which only the end matters."""

    def __init__(self) -> None:
        self.is_closed = False

    async def close(self) -> None:
        self.is_closed = True


class ScriptedHop:
    """Works until it drains, or fails once told to."""

    def __init__(
        self, fails_with: BaseException | None = None, *, drain_fails_with: BaseException | None = None
    ) -> None:
        self.fails_with = fails_with
        self.drain_fails_with = drain_fails_with
        self.rounds = 0

    def restore(self, record: Record) -> None:
        raise NotImplementedError

    async def work(self, number: Number) -> None:
        self.rounds += 1
        if self.fails_with is not None:
            raise self.fails_with
        await number.until_draining()
        if self.drain_fails_with is not None:
            raise self.drain_fails_with


class CommittingHop(ScriptedHop):
    """Commits up to 9 first."""

    async def work(self, number: Number) -> None:
        cast("OwnedNumber", number).committed["in"] = 9
        await super().work(number)


class World:
    """Everything around one number; `hops` are what each restore gives, in turn."""

    def __init__(self, *hops: ScriptedHop | Exception, heartbeat_s: float = 0.0) -> None:
        self.hops = list(hops)
        self.writers: list[ClosingWriter] = []
        self.begun: list[Mapping[str, int]] = []
        self.rested: list[int] = []
        self.events: list[Event] = []
        self._told = asyncio.Condition()
        self.steering = Steering(
            group="hop",
            heartbeat_s=heartbeat_s,
            restore=self._restore,
            adopt=self._adopt,
            begin=self._begin,
            rest=self.rested.append,
            chance=lambda: 0.0,
            emit=self.events.append,
        )
        self.life = NumberLife(4, self.steering)

    async def _restore(self, _: int) -> Restored:
        hop = self.hops.pop(0)
        if isinstance(hop, Exception):
            raise hop
        self.writers.append(ClosingWriter())
        writer = cast("TransactionalWriter", self.writers[-1])
        return Restored(hop=hop, writer=writer, positions={"in": 7}, state_records=0)

    def _adopt(self, number: int, restored: Restored) -> OwnedNumber:
        return OwnedNumber(
            number,
            topics=["in"],
            group="hop",
            writer=restored.writer,
            positions=restored.positions,
            commit_interval_s=0,
            budget=Budget(Options()),
            emit=self.events.append,
            on_room=lambda: None,
        )

    def _begin(self, number: int, positions: Mapping[str, int]) -> None:
        self.begun.append(dict(positions))

    def told(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]


@asynccontextmanager
async def living(world: World) -> AsyncIterator[asyncio.Task[None]]:
    """Runs the life of the number; it is cancelled at the end, as a dropped number is."""
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        task = tasks.create_task(world.life.run())
        yield task
        task.cancel()


async def until(holds: Callable[[], bool], tick: Callable[[], Awaitable[None]] = lambda: asyncio.sleep(0)) -> None:
    """Lets other tasks run until something holds."""
    while not holds():
        await tick()


async def test_it_begins_at_the_restored_positions() -> None:
    world = World(ScriptedHop())
    async with living(world):
        await until(lambda: world.life.told_state == "running")
        assert world.begun == [{"in": 7}]
        assert world.told(NumberRestored)


async def test_a_drained_number_keeps_its_producer_and_goes_on_when_it_comes_back() -> None:
    hop = ScriptedHop()
    world = World(hop)
    async with living(world):
        await until(lambda: world.life.told_state == "running")
        assert world.life.revoke()
        await world.life.until_drained()
        await until(lambda: world.life.is_kept)
        assert not world.writers[0].is_closed
        world.life.come_back()
        await until(lambda: hop.rounds == 2)
        assert (len(world.writers), len(world.begun)) == (1, 2)


async def test_a_number_that_is_dropped_closes_its_producer() -> None:
    world = World(ScriptedHop())
    async with living(world):
        await until(lambda: world.life.told_state == "running")
    assert world.writers[0].is_closed


async def test_a_failed_transaction_restores_with_a_new_producer_and_a_new_hop() -> None:
    failing = ScriptedHop(TransactionError("no"))
    world = World(failing, ScriptedHop())
    async with living(world):
        await until(lambda: world.life.told_state == "running" and len(world.writers) == 2)
        assert world.writers[0].is_closed
        assert world.told(NumberParked)


async def test_a_cancellation_that_nobody_asked_for_is_a_failure_like_any_other() -> None:
    """aiokafka lets those of its own tasks through: the number's task would end, and nobody be told."""
    world = World(ScriptedHop(asyncio.CancelledError()), ScriptedHop())
    async with living(world):
        await until(lambda: world.life.told_state == "running" and len(world.writers) == 2)
        assert world.writers[0].is_closed
        assert world.told(NumberParked)


async def test_a_fenced_number_parks_before_it_restores() -> None:
    """A woken zombie must not fence the rightful owner in turn."""
    world = World(ScriptedHop(FencedError("no")), ScriptedHop(), heartbeat_s=3_600)
    async with living(world):
        await until(lambda: bool(world.told(NumberFenced)))
        assert world.life.told_state == "fenced by another owner"
        assert len(world.writers) == 1
        assert not world.life.revoke(), "a parked number has nothing to drain"


async def test_a_number_that_would_set_too_much_aside_parks_with_the_reason_and_is_tried_again() -> None:
    world = World(ScriptedHop(BudgetError("more than 5 in a row")), ScriptedHop())
    async with living(world):
        await until(lambda: world.life.is_running and len(world.writers) == 2)
        assert world.told(NumberParked) == [NumberParked(group="hop", number=4, reason="more than 5 in a row")]


async def test_nothing_is_fetched_for_a_number_while_it_is_parked() -> None:
    """It would be read to its end and thrown away, again and again: all night, after a bad release."""
    world = World(ScriptedHop(FencedError("no")), heartbeat_s=3_600)
    async with living(world):
        await until(lambda: bool(world.told(NumberParked)))
        assert world.rested == [4]
        assert len(world.begun) == 1


async def test_a_parked_number_still_knows_its_last_position() -> None:
    world = World(CommittingHop(FencedError("no")), heartbeat_s=3_600)
    assert world.life.committed is None
    async with living(world):
        await until(lambda: bool(world.told(NumberParked)))
        assert world.life.committed == {"in": 9}


async def test_a_restore_that_fails_is_tried_again() -> None:
    world = World(UnavailableError("Kafka", "away"), ScriptedHop())
    async with living(world):
        await until(lambda: world.life.told_state == "running")
        assert len(world.told(NumberParked)) == 1


async def test_a_number_that_is_revoked_while_it_restores_is_not_kept() -> None:
    world = World(ScriptedHop())
    assert not world.life.revoke()
    async with asyncio.timeout(10):
        await world.life.run()
    assert not world.life.is_kept


async def test_a_number_whose_last_commit_fails_in_a_drain_is_not_kept() -> None:
    world = World(ScriptedHop(drain_fails_with=TransactionError("in the last commit")))
    async with living(world) as task:
        await until(lambda: world.life.told_state == "running")
        world.life.revoke()
        await world.life.until_drained()
        await until(task.done)
    assert world.writers[0].is_closed
    assert not world.life.is_kept


async def test_a_fault_of_ours_is_not_retried() -> None:
    world = World(ScriptedHop(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        await world.life.run()
    assert world.writers[0].is_closed
