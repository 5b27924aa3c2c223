"""A number is made ready to run, on a broker."""

import asyncio
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from bridge.adapters.kafka import restore
from bridge.adapters.kafka.start_stop import start_client, stop_client
from tests.kafka.cluster import Cluster
from tests.kafka.restoring import restorer_of

pytestmark = pytest.mark.broker


async def test_a_number_that_is_taken_away_as_its_restore_ends_leaves_no_producer_open(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[AIOKafkaProducer] = []
    make = cluster.clients.transactional_producer

    def make_and_keep(transactional_id: str) -> AIOKafkaProducer:
        made.append(make(transactional_id))
        return made[-1]

    async def stop_and_be_cancelled(client: Any, *, timeout_s: float) -> None:
        await stop_client(client, timeout_s=timeout_s)
        raise asyncio.CancelledError

    async def begin(_: AIOKafkaAdminClient, __: str, inputs: list[TopicPartition], *, timeout_s: float) -> Any:
        return dict.fromkeys(inputs, 0)

    monkeypatch.setattr(cluster.clients, "transactional_producer", make_and_keep)
    monkeypatch.setattr(restore, "stop_client", stop_and_be_cancelled)
    # Not asked for here: the coordinator of a first group has to be made.
    monkeypatch.setattr(restore, "committed_positions", begin)
    admin = cluster.clients.admin()
    await start_client(admin, timeout_s=30)
    with pytest.raises(asyncio.CancelledError):
        await restorer_of(cluster, admin).restore(0)
    await stop_client(admin, timeout_s=5)
    assert [producer._closed for producer in made] == [True]
