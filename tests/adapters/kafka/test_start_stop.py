"""What is left of clients that are dropped, without a broker."""

import asyncio
import gc

import pytest
from aiokafka.errors import KafkaConnectionError

from bridge.adapters.kafka.clients import Clients, Options
from bridge.adapters.kafka.start_stop import _drop


async def test_what_its_end_makes_of_the_steps_of_a_dropped_producer_is_told_to_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A step that asks for a coordinator fails once its connection is closed, and whoever began it has gone."""
    producer, closed = Clients(Options()).transactional_producer("t"), asyncio.Event()
    told: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))

    async def step(self: object) -> None:
        await closed.wait()
        raise KafkaConnectionError

    async def close() -> None:
        closed.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    monkeypatch.setattr(producer.client, "close", close)
    begun = [asyncio.create_task(step(producer._sender))]
    await asyncio.sleep(0)
    await _drop(producer)
    begun.clear()
    gc.collect()
    assert told == []
    producer._closed = True  # It was never started: nothing is open.
