import asyncio

import pytest

from bridge.adapters.genesys.stopping import Stop


async def test_a_stop_breaks_off_the_waits_that_it_finds_and_those_that_come_later() -> None:
    stop = Stop()

    async def wait() -> bool:
        async with stop.breaks():
            await asyncio.Event().wait()
        return stop.is_set

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        waiting = [group.create_task(wait()) for _ in range(3)]
        group.create_task(stop.wait())
        group.create_task(_set(stop))
    assert all(task.result() for task in waiting)
    assert await wait()


async def _set(stop: Stop) -> None:
    stop.set()


async def test_a_block_that_ends_by_itself_is_left_alone() -> None:
    stop = Stop()
    async with stop.breaks():
        pass
    stop.set()
    assert stop.is_set


async def test_a_timeout_of_somebody_else_is_not_taken_for_the_stop() -> None:
    with pytest.raises(TimeoutError):
        async with Stop().breaks():
            raise TimeoutError


async def test_a_cancelled_task_is_cancelled() -> None:
    stop, entered = Stop(), asyncio.Event()

    async def wait() -> None:
        async with stop.breaks():
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
