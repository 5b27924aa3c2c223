"""Tasks that live as long as a simulator is entered."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def own_tasks() -> AsyncIterator[asyncio.TaskGroup]:
    """A TaskGroup for a block that ends the tasks itself: what the block raises leaves as it is, not in a group.

    A task that fails cancels the block, and leaves in an ExceptionGroup.
    """
    tasks = asyncio.TaskGroup()
    await tasks.__aenter__()
    try:
        yield tasks
    finally:
        await tasks.__aexit__(None, None, None)
