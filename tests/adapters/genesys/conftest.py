from collections.abc import AsyncIterator

import pytest

from tests.adapters.genesys.server import GenesysServer, genesys_server


@pytest.fixture
async def genesys() -> AsyncIterator[GenesysServer]:
    async with genesys_server() as server:
        yield server
