import asyncio

import pytest

from bridge.simulator.tasks import own_tasks
from bridge.simulator.times import Changes


async def test_what_the_block_raises_leaves_as_it_is() -> None:
    with pytest.raises(KeyError):
        async with own_tasks():
            raise KeyError("block")


async def test_a_task_that_fails_ends_the_block() -> None:
    async def fail() -> None:
        raise ValueError("task")

    async def block() -> None:
        async with own_tasks() as tasks:
            tasks.create_task(fail())
            await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as failed:
        await block()
    assert failed.group_contains(ValueError, match="task")


async def test_waiting_for_what_does_not_come_ends() -> None:
    with pytest.raises(TimeoutError):
        await Changes().until(lambda: False, timeout_s=0.01)
