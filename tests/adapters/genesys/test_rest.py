"""The preflight, against a real HTTP server."""

from collections.abc import AsyncIterator

import pytest

from bridge.adapters.genesys.answers import FailedError, RefusedError
from bridge.adapters.genesys.rest import Rest, open_rest
from tests.adapters.genesys.running import options_for
from tests.adapters.genesys.server import GenesysServer, Scripted


@pytest.fixture
async def rest(genesys: GenesysServer) -> AsyncIterator[Rest]:
    async with open_rest(options_for(genesys), clock=lambda: 0, emit=lambda event: None) as opened:
        yield opened


async def test_the_library_that_exists_is_good(genesys: GenesysServer, rest: Rest) -> None:
    """T2."""
    genesys.libraries = [{"id": "other", "enabled": False}, {"id": "library-1"}]
    await rest.check_library()


async def test_a_missing_library_and_a_disabled_one_have_their_own_messages(genesys: GenesysServer, rest: Rest) -> None:
    """T2."""
    genesys.libraries = [{"id": "other"}]
    with pytest.raises(RefusedError, match=r"library-1 does not exist; check genesys\.content_library_id"):
        await rest.check_library()
    genesys.libraries = [{"id": "library-1", "enabled": False}]
    with pytest.raises(RefusedError, match="library-1 is disabled; enable it"):
        await rest.check_library()


async def test_403_names_the_scope(genesys: GenesysServer, rest: Rest) -> None:
    """T2, T15."""
    genesys.script("/contentlibraries", Scripted(status=403))
    with pytest.raises(RefusedError, match=r"403.*grant the scope agentassist:view"):
        await rest.check_library()


async def test_429_says_how_long_to_wait(genesys: GenesysServer, rest: Rest) -> None:
    """T2, T15, D10."""
    genesys.script("/contentlibraries", Scripted(status=429, headers={"Retry-After": "12"}))
    with pytest.raises(FailedError, match="429: too many requests") as raised:
        await rest.check_library()
    assert raised.value.retry_after_s == 12


async def test_401_renews_the_token_and_asks_once_more(genesys: GenesysServer, rest: Rest) -> None:
    """T1, D10."""
    genesys.script("/contentlibraries", Scripted(status=401))
    await rest.check_library()
    assert genesys.tokens_given == 2
    genesys.script("/contentlibraries", Scripted(status=401), Scripted(status=401))
    with pytest.raises(FailedError, match="401: the token was not accepted") as raised:
        await rest.check_library()
    assert raised.value.cause == "token"


@pytest.mark.parametrize(("body", "active"), [(b'{"activeWebSocketConnections":3}', 3), (b"{}", 0)])
async def test_says_how_many_connections_are_active(
    genesys: GenesysServer, rest: Rest, body: bytes, active: int
) -> None:
    """T3: absent is 0."""
    genesys.script("/config", Scripted(status=200, body=body))
    assert await rest.active_connections() == active


@pytest.mark.parametrize("body", [b"", b"[]", b'{"activeWebSocketConnections":"many"}', b"\xff", b"[" * 100_000])
async def test_an_answer_that_cannot_be_read_may_be_tried_again(
    genesys: GenesysServer, rest: Rest, body: bytes
) -> None:
    genesys.script("/config", Scripted(status=200, body=body))
    with pytest.raises(FailedError, match="cannot be read"):
        await rest.active_connections()


async def test_a_connection_that_breaks_may_be_tried_again(genesys: GenesysServer, rest: Rest) -> None:
    genesys.script("/config", Scripted(status=200, headers={"content-length": "100"}, body=b"{"))
    with pytest.raises(FailedError, match="RemoteProtocolError") as raised:
        await rest.active_connections()
    assert raised.value.cause == "unavailable"
