"""The tests' own broker."""

import pytest

from bridge.adapters.kafka.clients import Clients, Options
from bridge.adapters.kafka.start_stop import start_client, stop_client

pytestmark = pytest.mark.broker


async def test_a_client_starts_on_the_broker(bootstrap_servers: str) -> None:
    admin = Clients(Options(bootstrap_servers=bootstrap_servers)).admin()
    await start_client(admin, timeout_s=10)
    assert await stop_client(admin, timeout_s=5)
