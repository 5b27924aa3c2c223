import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress

import httpx
import pytest

from bridge.adapters.kmp import HttpKmp, Options, faults_of
from bridge.core.verdict import Answered, NoAnswer
from bridge.simulator.kmp import KmpSimulator
from tests.fakes.kmp import LoopbackKmp, loopback_kmp

_CREDENTIAL = "hidden.ABC-123="
_BODY = b'{"acceptanceRate":0.50, "n":1}'


@pytest.fixture
async def peer() -> AsyncIterator[LoopbackKmp]:
    async with loopback_kmp() as kmp:
        yield kmp


async def test_posts_the_bytes_with_their_key_and_sequence(peer: LoopbackKmp) -> None:
    """T12: the tutorial's POST; D8: with a key."""
    async with HttpKmp(Options(endpoint=peer.url, bearer_token=_CREDENTIAL)) as kmp:
        assert await kmp.post(_BODY, idempotency_key="e1", sequence="3/17") == Answered(status=200)
    (request,) = peer.requests
    assert (request.method, request.path, request.body) == ("POST", "/exports", _BODY)
    assert request.headers["content-type"] == "application/json"
    assert request.headers["idempotency-key"] == "e1"
    assert request.headers["bridge-sequence"] == "3/17"
    assert request.headers["authorization"] == f"Bearer {_CREDENTIAL}"


async def test_the_key_can_stand_quoted_and_under_another_name(peer: LoopbackKmp) -> None:
    options = Options(endpoint=peer.url, idempotency_header="X-Request-Key", quote_idempotency_key=True)
    async with HttpKmp(options) as kmp:
        await kmp.post(_BODY, idempotency_key="e1", sequence="0/0")
    assert peer.requests[0].headers["x-request-key"] == '"e1"'
    assert "authorization" not in peer.requests[0].headers


async def test_one_post_after_the_other_uses_one_connection(peer: LoopbackKmp) -> None:
    async with HttpKmp(Options(endpoint=peer.url, max_in_flight=4)) as kmp:
        for number in range(5):
            await kmp.post(_BODY, idempotency_key=f"e{number}", sequence="0/0")
    assert peer.connections == 1


async def test_no_more_connections_are_open_than_posts_may_be_in_flight(peer: LoopbackKmp) -> None:
    async with HttpKmp(Options(endpoint=peer.url, max_in_flight=2)) as kmp, asyncio.TaskGroup() as tasks:
        for number in range(10):
            tasks.create_task(kmp.post(_BODY, idempotency_key=f"e{number}", sequence="0/0"))
    assert len(peer.requests) == 10
    assert peer.connections == 2


@pytest.mark.parametrize("location", ["http://127.0.0.1:1/elsewhere", "http://[::1", "//:bad:port"])
async def test_a_redirect_is_an_answer_and_is_not_followed(peer: LoopbackKmp, location: str) -> None:
    peer.answer_with(307, f"location: {location}")
    async with HttpKmp(Options(endpoint=peer.url)) as kmp:
        assert await kmp.post(_BODY, idempotency_key="e1", sequence="0/0") == Answered(status=307)
    assert len(peer.requests) == 1


async def test_the_status_counts_though_the_body_never_ends(peer: LoopbackKmp) -> None:
    peer.reply = b"HTTP/1.1 202 Accepted\r\ncontent-length: 1000\r\n\r\nhalf"
    async with HttpKmp(Options(endpoint=peer.url, timeout_s=0.1)) as kmp:
        assert await kmp.post(_BODY, idempotency_key="e1", sequence="0/0") == Answered(status=202)


async def test_a_large_body_is_not_read_to_its_end(peer: LoopbackKmp) -> None:
    peer.reply = b"HTTP/1.1 422 No\r\ncontent-length: 100000000\r\n\r\n" + b"x" * 200_000
    async with HttpKmp(Options(endpoint=peer.url)) as kmp:
        assert await kmp.post(_BODY, idempotency_key="e1", sequence="0/0") == Answered(status=422)
        peer.answer_with(200)
        assert await kmp.post(_BODY, idempotency_key="e2", sequence="0/1") == Answered(status=200)
    assert peer.connections == 2


async def test_the_status_counts_though_the_connection_breaks_in_the_body(peer: LoopbackKmp) -> None:
    peer.reply = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nno chunk\r\n"
    async with HttpKmp(Options(endpoint=peer.url)) as kmp:
        assert await kmp.post(_BODY, idempotency_key="e1", sequence="0/0") == Answered(status=200)


async def test_an_answer_that_is_no_http_is_no_answer(peer: LoopbackKmp) -> None:
    peer.reply = b"hello\r\n\r\n"
    async with HttpKmp(Options(endpoint=peer.url)) as kmp:
        answer = await kmp.post(_BODY, idempotency_key="e1", sequence="0/0")
    assert answer == NoAnswer(cause="connection", detail="RemoteProtocolError")


async def test_no_connection_is_told_with_the_reason() -> None:
    async with HttpKmp(Options(endpoint="http://127.0.0.1:1/")) as kmp:
        answer = await kmp.post(_BODY, idempotency_key="e1", sequence="0/0")
    assert isinstance(answer, NoAnswer)
    assert answer.cause == "connection"
    assert answer.detail.startswith("ConnectError: ")


async def test_a_connection_that_tls_gives_up_is_no_answer(peer: LoopbackKmp, monkeypatch: pytest.MonkeyPatch) -> None:
    """httpx maps errors of the handshake, and lets through those of what comes after it: an alert, a broken record."""
    async with HttpKmp(Options(endpoint=peer.url, max_in_flight=1)) as kmp:
        with monkeypatch.context() as broken:
            broken.setattr(httpx.AsyncHTTPTransport, "handle_async_request", _broken_record)
            answer = await kmp.post(_BODY, idempotency_key="e1", sequence="0/0")
            assert answer == NoAnswer(cause="connection", detail="SSLError")
        assert await kmp.post(_BODY, idempotency_key="e1", sequence="0/0") == Answered(status=200)


async def _broken_record(*_: object) -> httpx.Response:
    raise ssl.SSLError(1, "bad record mac")


async def test_a_post_that_is_cancelled_frees_its_connection(peer: LoopbackKmp) -> None:
    peer.reply = None
    async with HttpKmp(Options(endpoint=peer.url, max_in_flight=1)) as kmp:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await kmp.post(_BODY, idempotency_key="e1", sequence="0/0")
        peer.answer_with(200)
        assert await kmp.post(_BODY, idempotency_key="e1", sequence="0/0") == Answered(status=200)


async def test_a_post_that_is_cut_off_at_any_moment_makes_none_after_it_wait() -> None:
    """To the library a connection may stay in use for ever then: as if the KMP were down, until the next start."""
    async with KmpSimulator() as simulator:
        hasty = Options(endpoint=simulator.endpoint, max_in_flight=1, timeout_s=5)
        async with HttpKmp(hasty) as kmp:
            for number in range(400):
                with suppress(TimeoutError):
                    async with asyncio.timeout(number % 100 * 0.00004):
                        await kmp.post(b"{}", idempotency_key=f"{number}", sequence="0/0")
            assert isinstance(await kmp.post(b"{}", idempotency_key="last", sequence="0/0"), Answered)


async def test_the_probe_reaches_the_endpoint_without_a_post(peer: LoopbackKmp) -> None:
    peer.answer_with(405, "retry-after: 3")
    async with HttpKmp(Options(endpoint=peer.url)) as kmp:
        assert await kmp.probe() == Answered(status=405, retry_after="3")
    assert [request.method for request in peer.requests] == ["HEAD"]


async def test_a_closed_kmp_has_no_open_clients(peer: LoopbackKmp) -> None:
    async with HttpKmp(Options(endpoint=peer.url, max_in_flight=2)) as kmp:
        await kmp.post(_BODY, idempotency_key="e1", sequence="0/0")
    assert all(client.is_closed for client in kmp._clients)


@pytest.mark.parametrize(
    "options",
    [
        Options(endpoint="https://kmp.example/exports"),
        Options(endpoint="http://localhost:8080/"),
        Options(endpoint="http://127.0.0.1:8080/"),
        Options(endpoint="http://[::1]:8080/"),
        Options(endpoint="http://kmp.example/", allow_plaintext=True),
        Options(endpoint="https://kmp.example/", bearer_token=_CREDENTIAL),
    ],
)
def test_these_options_have_no_fault(options: Options) -> None:
    assert list(faults_of(options)) == []


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (Options(), "kmp.endpoint: must be an http or https address"),
        (Options(endpoint="ftp://kmp.example/"), "kmp.endpoint: must be an http or https address"),
        (Options(endpoint="https://:443/"), "kmp.endpoint: must be an http or https address"),
        (Options(endpoint="https://kmp.example:port/"), "kmp.endpoint: must be an http or https address"),
        (Options(endpoint="https://kmp.example:99999/"), "kmp.endpoint: must be an http or https address"),
        (Options(endpoint="https://[kmp/"), "kmp.endpoint: must be an http or https address"),
        (
            Options(endpoint="https://joe:hidden@kmp.example/"),
            "kmp.endpoint: must carry no user and password; use kmp.bearer_token",
        ),
        (
            Options(endpoint="http://kmp.example/"),
            "kmp.endpoint: must be https unless kmp.allow_plaintext is set, got http://kmp.example",
        ),
        (
            Options(endpoint="https://kmp.example/", idempotency_header="Idempotency Key"),
            "kmp.idempotency_header: must be a header's name, got 'Idempotency Key'",
        ),
        (
            Options(endpoint="https://kmp.example/", bearer_token=f"{_CREDENTIAL}\n"),
            "kmp.bearer_token: must be a token as it stands after 'Bearer'",
        ),
    ],
)
def test_a_fault_is_one_line_without_a_secret(options: Options, fault: str) -> None:
    """D8, and T12: what would send a secret in the open, or can't be sent at all, is refused before the start."""
    assert list(faults_of(options)) == [fault]
    assert "hidden" not in fault


def test_the_token_is_not_printed_with_the_options() -> None:
    assert "hidden" not in repr(Options(bearer_token=_CREDENTIAL))


def test_the_policy_is_made_of_the_options() -> None:
    policy = Options(retry_after_max_s=9, backoff_first_s=1, backoff_cap_s=3).policy
    assert {408, 409, 425, 429, 500, 502, 503, 504} <= set(policy.retry_statuses)
    assert (policy.retry_after_max_s, policy.backoff_first_s, policy.backoff_cap_s) == (9, 1, 3)
