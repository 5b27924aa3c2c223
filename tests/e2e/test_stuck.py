"""A worker that finishes nothing, as a process."""

import pytest

from tests.e2e.processes import environment_of, running
from tests.kafka.cluster import Cluster
from tests.kafka.stream import assert_verified, streaming

pytestmark = [pytest.mark.broker, pytest.mark.e2e, pytest.mark.faults]


async def test_a_worker_that_is_stuck_in_spite_of_a_new_consumer_is_told_dead(
    bootstrap_servers: str, prefix: str
) -> None:
    """So that whoever looks at `/livez` starts it again. Each number is stuck, through the restores in between."""
    cluster = Cluster(bootstrap_servers, prefix, partitions=4, rebalance_timeout_ms=2_000)
    await cluster.create_topics()
    # A process of any worker takes no more time for a POST than a rebalance has.
    options = {"KAFKA__STUCK_AFTER_S": "3", "KAFKA__TRANSACTION_TIMEOUT_MS": "2000", "KMP__TIMEOUT_S": "1"}
    environment = environment_of(cluster, **options) | {"TEST_STANDS": "1"}
    async with (
        streaming(cluster, per_s=50),
        running("run", "ranker", module="tests.e2e.faulty_bridge", **environment) as ranker,
    ):
        await ranker.until_ready()
        await ranker.until("worker_stuck")
        await ranker.until("consumer_rebuilt")
        await ranker.until_dead()
        assert ranker.told("batch_ranked") == []
    # All of it is still open.
    await assert_verified(cluster, is_done=False)
