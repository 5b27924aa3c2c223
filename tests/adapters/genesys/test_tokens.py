"""Tokens, against a real HTTP server."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
import pytest

from bridge.adapters.genesys.answers import FailedError, RefusedError
from bridge.adapters.genesys.rest import open_rest
from bridge.adapters.genesys.tokens import Tokens
from bridge.core.events.genesys import TokenRenewed
from bridge.core.events.kinds import Event
from tests.adapters.genesys.running import options_for
from tests.adapters.genesys.server import GenesysServer, Scripted


@dataclass(slots=True)
class Clock:
    now_ms: int = 1_000_000_000_000

    def __call__(self) -> int:
        return self.now_ms


@dataclass(slots=True)
class Scene:
    tokens: Tokens
    clock: Clock
    events: list[Event] = field(default_factory=list)


@asynccontextmanager
async def scene(genesys: GenesysServer, **changed: object) -> AsyncIterator[Scene]:
    clock, events = Clock(), list[Event]()

    def emit(event: Event) -> None:
        events.append(event)

    async with open_rest(options_for(genesys, **changed), clock=clock, emit=emit) as rest:
        yield Scene(rest.tokens, clock, events)


async def test_asks_by_client_credentials_in_json(genesys: GenesysServer) -> None:
    """T1."""
    async with scene(genesys) as one:
        assert (await one.tokens.token()).value == "token-1"
        ((path, body),) = genesys.requests
        assert path == "/api/v2/oauth/token"
        assert httpx.Response(200, content=body).json() == {
            "grant_type": "client_credentials",
            "client_id": "client-1",
            "client_secret": "secret-1",
            "scope": "agentassist:view conversation:read",
        }
        assert one.events == [TokenRenewed(life_s=3600)]


@pytest.mark.parametrize(("life_s", "good_for_s"), [(3600, 3540), (600, 540), (100, 90), (1, 0.9)])
async def test_is_cached_until_60_s_or_a_tenth_of_its_life_before_it_expires(
    genesys: GenesysServer, life_s: float, good_for_s: float
) -> None:
    """T1."""
    genesys.token_life_s = life_s
    async with scene(genesys) as one:
        await one.tokens.token()
        one.clock.now_ms += int(good_for_s * 1000) - 1
        assert (await one.tokens.token()).value == "token-1"
        one.clock.now_ms += 1
        assert (await one.tokens.token()).value == "token-2"


async def test_an_answer_that_tls_cannot_read_is_a_failure_of_tls(
    genesys: GenesysServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """httpx lets through what comes after the handshake: an alert, a broken record."""

    async def broken_record(*_: object) -> httpx.Response:
        raise ssl.SSLError(1, "bad record mac")

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", broken_record)
    async with scene(genesys) as one:
        with pytest.raises(FailedError, match="SSLError") as failed:
            await one.tokens.token()
    assert failed.value.cause == "tls"


async def test_all_who_ask_at_a_time_share_one_request(genesys: GenesysServer) -> None:
    """T1: single flight."""
    async with scene(genesys) as one:
        tokens = await asyncio.gather(*(one.tokens.token() for _ in range(20)))
        assert {token.value for token in tokens} == {"token-1"}
        assert genesys.tokens_given == 1


async def test_two_callers_with_the_same_stale_token_cause_one_renewal(genesys: GenesysServer) -> None:
    """T1, D10: a 401 renews at once."""
    async with scene(genesys) as one:
        stale = await one.tokens.token()
        tokens = await asyncio.gather(one.tokens.renew(stale), one.tokens.renew(stale))
        assert {token.value for token in tokens} == {"token-2"}
        assert (await one.tokens.renew(stale)).value == "token-2"
        assert genesys.tokens_given == 2


async def test_another_token_is_asked_for_once_and_the_old_one_stays_where_there_is_none(
    genesys: GenesysServer,
) -> None:
    async with scene(genesys) as one:
        first = await one.tokens.token()
        genesys.script("/token", Scripted(status=503))
        with pytest.raises(FailedError):
            await one.tokens.another(first)
        assert await one.tokens.token() == first
        second = await one.tokens.another(first)
        assert (second.value, await one.tokens.another(first)) == ("token-2", second)
        assert genesys.tokens_given == 2


async def test_a_token_does_not_show_itself(genesys: GenesysServer) -> None:
    async with scene(genesys) as one:
        assert "token-1" not in repr(await one.tokens.token())


async def test_all_who_ask_at_a_time_share_a_failure_too(genesys: GenesysServer) -> None:
    genesys.script("/token", Scripted(status=503, headers={"Retry-After": "7"}))
    async with scene(genesys) as one:
        outcomes = await asyncio.gather(*(one.tokens.token() for _ in range(5)), return_exceptions=True)
        assert all(isinstance(outcome, FailedError) and outcome.retry_after_s == 7 for outcome in outcomes)
        assert genesys.count("/token") == 1
        assert (await one.tokens.token()).value == "token-1"


async def test_a_caller_that_is_cancelled_does_not_take_the_others_with_it(genesys: GenesysServer) -> None:
    genesys.stalled.add("/api/v2/oauth/token")
    async with scene(genesys) as one:
        first = asyncio.create_task(one.tokens.token())
        await genesys.seen.until(lambda: genesys.count("/token") == 1)
        second = asyncio.create_task(one.tokens.token())
        genesys.stalled.clear()
        first.cancel()
        assert (await second).value == "token-1"
        assert first.cancelled()


@pytest.mark.parametrize(
    "answer",
    [
        Scripted(status=400, body=b'{"error":"invalid_client","description":"client not found: invalid_client"}'),
        Scripted(status=401, body=b'{"error":"invalid_client"}'),
    ],
)
async def test_a_refused_client_is_permanent_and_says_what_to_check(genesys: GenesysServer, answer: Scripted) -> None:
    """T15."""
    genesys.script("/token", answer)
    async with scene(genesys) as one:
        with pytest.raises(RefusedError) as raised:
            await one.tokens.token()
        assert raised.value.cause == "client-refused"
        assert raised.value.remedy.startswith("check genesys.client_id and genesys.client_secret")
        assert "secret-1" not in _everything_in(raised.value)


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        pytest.param(Scripted(status=429, headers={"Retry-After": "3"}), "busy", id="429"),
        pytest.param(Scripted(status=500), "unavailable", id="500"),
        pytest.param(Scripted(status=400, body=b'{"error":"invalid_request"}'), "unexpected", id="400"),
        pytest.param(Scripted(status=302, headers={"Location": "/elsewhere"}), "unexpected", id="redirect"),
        pytest.param(Scripted(status=200, body=b"<html>"), "unavailable", id="html"),
        pytest.param(Scripted(status=200, body=b"[" * 100_000), "unavailable", id="deep"),
        pytest.param(Scripted(status=200, body=b'"\xff"'), "unavailable", id="not UTF-8"),
        pytest.param(Scripted(status=200, body=b'{"access_token":"secret-token"}'), "unavailable", id="no life"),
        pytest.param(
            Scripted(status=200, body=b'{"access_token":"secret-token","expires_in":0}'), "unavailable", id="dead"
        ),
        pytest.param(Scripted(status=200, body=b'{"access_token":"","expires_in":60}'), "unavailable", id="empty"),
        pytest.param(
            Scripted(status=200, body=b'{"access_token":"secret-token\\r\\nx: y","expires_in":60}'),
            "unavailable",
            id="no header",
        ),
        pytest.param(Scripted(status=200, body=bytes(9 * 1024 * 1024)), "unavailable", id="huge"),
    ],
)
async def test_anything_else_may_be_tried_again(genesys: GenesysServer, answer: Scripted, cause: str) -> None:
    """T15, D10: 429 and 5xx, and garbage of every kind."""
    genesys.script("/token", answer)
    async with scene(genesys) as one:
        with pytest.raises(FailedError) as raised:
            await one.tokens.token()
        assert raised.value.cause == cause
        assert raised.value.retry_after_s == (3 if cause == "busy" else None)
        assert "secret" not in _everything_in(raised.value)
        assert (await one.tokens.token()).value == "token-1"


async def test_an_answer_that_does_not_come_in_time_is_given_up(genesys: GenesysServer) -> None:
    genesys.stalled.add("/api/v2/oauth/token")
    async with scene(genesys, request_timeout_s=0.1) as one:
        with pytest.raises(FailedError, match=r"within 0\.1 s"):
            await one.tokens.token()


async def test_a_life_without_end_has_one(genesys: GenesysServer) -> None:
    genesys.token_life_s = 1e300
    async with scene(genesys) as one:
        await one.tokens.token()
        one.clock.now_ms += 31 * 24 * 60 * 60 * 1000
        assert (await one.tokens.token()).value == "token-2"


@pytest.mark.parametrize("base_url", ["http://127.0.0.1:port", "nowhere", "ftp://127.0.0.1"])
async def test_an_address_that_is_none_is_permanent(genesys: GenesysServer, base_url: str) -> None:
    async with scene(genesys, base_url=base_url) as one:
        with pytest.raises(RefusedError, match=r"genesys\.base_url is no address"):
            await one.tokens.token()


async def test_a_name_and_password_in_the_address_are_not_shown(genesys: GenesysServer) -> None:
    async with scene(genesys, base_url="http://somebody:secret@127.0.0.1:1") as one:
        with pytest.raises(FailedError, match=r"POST http://127\.0\.0\.1:1/api") as raised:
            await one.tokens.token()
        assert raised.value.cause == "unreachable"


def test_options_do_not_show_the_secret() -> None:
    assert "secret-1" not in repr(options_for(GenesysServer(None)))  # type: ignore[arg-type]


def _everything_in(error: BaseException | None) -> str:
    """The texts of an error and of all that led to it."""
    texts: list[str] = []
    while error is not None:
        texts.append(repr(error))
        error = error.__cause__
    return "\n".join(texts)
