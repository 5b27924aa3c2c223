"""The handshake, where REST works and the socket does not."""

import pytest

from bridge.adapters.genesys.answers import FailedError, RefusedError
from bridge.adapters.genesys.opening import Opening
from bridge.adapters.genesys.options import rest_url, socket_url
from bridge.adapters.genesys.rest import open_rest
from tests.adapters.genesys.running import options_for
from tests.adapters.genesys.server import GenesysServer


async def open_at(genesys: GenesysServer, base_url: str) -> None:
    async with open_rest(options_for(genesys), clock=lambda: 0, emit=lambda event: None) as rest:
        await Opening(options_for(genesys, base_url=base_url), rest, clock=lambda: 0).open()


async def test_a_refused_connection_may_be_tried_again(genesys: GenesysServer) -> None:
    with pytest.raises(FailedError, match=r"the handshake with ws://127\.0\.0\.1:1/") as raised:
        await open_at(genesys, "http://127.0.0.1:1")
    assert raised.value.cause == "unreachable"


async def test_an_address_that_is_none_is_permanent(genesys: GenesysServer) -> None:
    with pytest.raises(RefusedError, match=r"genesys\.base_url is no address"):
        await open_at(genesys, "nowhere")


@pytest.mark.parametrize("proxy", ["127.0.0.1:1", "http://user@127.0.0.1:1"])
async def test_a_proxy_that_is_for_rest_only_is_permanent(
    genesys: GenesysServer, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    """What httpx takes, the socket may not: nobody had looked at it before."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", proxy)
    with pytest.raises(RefusedError, match="the proxy that the environment names") as raised:
        await open_at(genesys, genesys.base_url)
    assert "HTTPS_PROXY" in raised.value.remedy
    assert "user" not in str(raised.value)


def test_the_socket_is_under_the_same_address_as_rest(genesys: GenesysServer) -> None:
    options = options_for(genesys, base_url="https://api.mypurecloud.com/")
    assert rest_url(options, "/api/v2/oauth/token") == "https://api.mypurecloud.com/api/v2/oauth/token"
    assert socket_url(options) == "wss://api.mypurecloud.com/api/v2/agentassist/websocket"
    assert socket_url(options_for(genesys)).startswith("ws://127.0.0.1:")
