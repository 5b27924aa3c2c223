"""What most tests on a broker begin with."""

import pytest

from tests.kafka.cluster import Cluster


@pytest.fixture
async def cluster(bootstrap_servers: str, prefix: str) -> Cluster:
    """The test's own topics, all of the bridge, with two partitions each."""
    cluster = Cluster(bootstrap_servers, prefix)
    await cluster.create_topics()
    return cluster
