"""What clients leave behind."""

import asyncio
import signal
from pathlib import Path

import pytest

from bridge.adapters.kafka.clients import stop_client
from tests.broker import KafkaBroker
from tests.kafka.cluster import Cluster

pytestmark = pytest.mark.kafka


async def test_a_producer_whose_stop_is_cut_short_leaves_no_task_behind(tmp_path: Path, prefix: str) -> None:
    """It would hold its connections, and a number that is made anew again and again would add up."""
    with KafkaBroker(tmp_path / "broker") as broker:
        cluster = Cluster(broker.bootstrap_servers, prefix)
        await cluster.create_topics()
        before = asyncio.all_tasks()
        producer = cluster.clients.idempotent_producer(compression="none")
        await producer.start()
        broker.process.send_signal(signal.SIGSTOP)
        try:
            await producer.send(cluster.topics.raw_suggestions, b"{}", partition=0)
            assert not await stop_client(producer, timeout_s=0.2)
            left = asyncio.all_tasks() - before
            if left:
                await asyncio.wait(left, timeout=5)
            assert [task for task in left if not task.done()] == []
        finally:
            broker.process.send_signal(signal.SIGCONT)
