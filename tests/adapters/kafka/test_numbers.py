"""Numbers that come and go, without Kafka."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bridge.adapters.kafka.numbers import Numbers
from bridge.core.budget import Budget, Options
from bridge.core.errors import TransactionError
from bridge.core.events.engine import NumberAborted
from bridge.ports import Number
from tests.adapters.kafka.test_lifecycle import ScriptedHop, World, until


class SlowHop(ScriptedHop):
    """Finishes what it took when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.may_finish = asyncio.Event()
        self.was_cut_off = False

    async def work(self, number: Number) -> None:
        await super().work(number)
        try:
            await self.may_finish.wait()
        except asyncio.CancelledError:
            self.was_cut_off = True
            raise


class CutOffHop(ScriptedHop):
    """Its transaction failed while it was being cut off: it tells of that, and not of the cut."""

    async def work(self, number: Number) -> None:
        try:
            await super().work(number)
        except asyncio.CancelledError as error:
            raise TransactionError("no") from error


@asynccontextmanager
async def owning(world: World) -> AsyncIterator[Numbers]:
    """Owns number 4, which runs."""
    numbers = Numbers(world.steering, budget_of=lambda _: Budget(Options()))
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        numbers.open(tasks)
        numbers.start(4)
        await until(lambda: bool(list(numbers.running())))
        yield numbers
        numbers.close()


async def test_a_rebalance_while_the_process_stops_cuts_nothing_off() -> None:
    """And the other way round: both wait for what was taken, each as long as it may."""
    hop = SlowHop()
    world = World(hop)
    async with owning(world) as numbers, asyncio.TaskGroup() as drains:
        drains.create_task(numbers.drain(budget_s=None))
        await until(lambda: not list(numbers.running()))
        drains.create_task(numbers.drain(budget_s=60))
        asyncio.get_running_loop().call_soon(hop.may_finish.set)  # After the second has begun.
    assert not hop.was_cut_off
    assert not world.told(NumberAborted)


async def test_a_number_that_does_not_finish_in_time_is_cut_off_and_told() -> None:
    hop = SlowHop()
    world = World(hop)
    async with owning(world) as numbers:
        await numbers.drain(budget_s=0)
        assert not numbers.owned
    assert hop.was_cut_off
    assert world.told(NumberAborted) == [NumberAborted(group="hop", number=4)]


async def test_a_number_that_fails_as_it_is_lost_ends_all_the_same() -> None:
    """A TaskGroup that is busy with an error does not tell of a cancel; the consumer would wait for the number."""
    world = World(CutOffHop(), ScriptedHop())
    async with owning(world) as numbers:
        numbers.drop([4])
    assert len(world.writers) == 1, "it is not restored"
    assert world.writers[0].is_closed


async def test_what_a_stop_has_ended_is_not_told_as_cut_off_by_a_rebalance() -> None:
    hop = SlowHop()
    world = World(hop)
    async with owning(world) as numbers, asyncio.TaskGroup() as drains:
        drains.create_task(numbers.drain(budget_s=60))
        await until(lambda: not list(numbers.running()))
        numbers.close()
    assert not world.told(NumberAborted)
