"""What every `Kmp` promises: the fake that workers are tested with, and the one over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

import pytest

from bridge.adapters.kmp import HttpKmp, Options
from bridge.core.verdict import Answered, NoAnswer
from bridge.ports import Kmp
from tests.fakes.kmp import FakeKmp, LoopbackKmp, loopback_kmp


class Peer(Protocol):
    """What the suite needs of the far side."""

    kmp: Kmp

    def answer_with(self, status: int, retry_after: str | None = None) -> None: ...
    def be_silent(self) -> None: ...
    async def go_away(self) -> None: ...
    def seen(self) -> list[tuple[bytes, str, str]]: ...


class InMemory:
    def __init__(self) -> None:
        self.fake = FakeKmp()
        self.kmp: Kmp = self.fake

    def answer_with(self, status: int, retry_after: str | None = None) -> None:
        self.fake.always = Answered(status=status, retry_after=retry_after)

    def be_silent(self) -> None:
        self.fake.always = NoAnswer(cause="timeout")

    async def go_away(self) -> None:
        self.fake.always = NoAnswer(cause="connection")

    def seen(self) -> list[tuple[bytes, str, str]]:
        return [(post.body, post.key, post.sequence) for post in self.fake.posts]


class OverHttp:
    def __init__(self, loopback: LoopbackKmp, kmp: Kmp) -> None:
        self.loopback = loopback
        self.kmp = kmp

    def answer_with(self, status: int, retry_after: str | None = None) -> None:
        self.loopback.answer_with(status, *(() if retry_after is None else (f"retry-after: {retry_after}",)))

    def be_silent(self) -> None:
        self.loopback.reply = None

    async def go_away(self) -> None:
        await self.loopback.go_away()

    def seen(self) -> list[tuple[bytes, str, str]]:
        return [
            (request.body, request.headers["idempotency-key"], request.headers["bridge-sequence"])
            for request in self.loopback.requests
        ]


@asynccontextmanager
async def _peer_of(kind: str) -> AsyncIterator[Peer]:
    if kind == "fake":
        yield InMemory()
        return
    async with loopback_kmp() as loopback, HttpKmp(Options(endpoint=loopback.url, timeout_s=2)) as kmp:
        yield OverHttp(loopback, kmp)


@pytest.fixture(params=["fake", "http"])
async def peer(request: pytest.FixtureRequest) -> AsyncIterator[Peer]:
    async with _peer_of(request.param) as made:
        yield made


async def test_the_kmp_sees_body_key_and_sequence_as_they_were_given(peer: Peer) -> None:
    await peer.kmp.post(b'{"n":0.850}', idempotency_key="e1", sequence="3/17")
    assert peer.seen() == [(b'{"n":0.850}', "e1", "3/17")]


@pytest.mark.parametrize("status", [200, 204, 301, 409, 422, 503])
async def test_any_status_is_an_answer(peer: Peer, status: int) -> None:
    peer.answer_with(status)
    assert await peer.kmp.post(b"{}", idempotency_key="e1", sequence="0/0") == Answered(status=status)


async def test_retry_after_is_passed_on_as_it_was_spelled(peer: Peer) -> None:
    peer.answer_with(429, "Mon, 05 Jan 2026 10:00:20 GMT")
    answer = await peer.kmp.post(b"{}", idempotency_key="e1", sequence="0/0")
    assert answer == Answered(status=429, retry_after="Mon, 05 Jan 2026 10:00:20 GMT")


async def test_silence_is_an_answer_in_time(peer: Peer) -> None:
    peer.be_silent()
    async with asyncio.timeout(5):
        answer = await peer.kmp.post(b"{}", idempotency_key="e1", sequence="0/0")
    assert isinstance(answer, NoAnswer)
    assert answer.cause == "timeout"


async def test_no_connection_is_an_answer_too(peer: Peer) -> None:
    await peer.kmp.post(b"{}", idempotency_key="e1", sequence="0/0")
    await peer.go_away()
    answer = await peer.kmp.post(b"{}", idempotency_key="e1", sequence="0/0")
    assert isinstance(answer, NoAnswer)
    assert answer.cause == "connection"


async def test_posts_go_side_by_side(peer: Peer) -> None:
    async with asyncio.TaskGroup() as tasks:
        made = [tasks.create_task(peer.kmp.post(b"{}", idempotency_key=f"e{n}", sequence=f"0/{n}")) for n in range(20)]
    assert {task.result() for task in made} == {Answered(status=200)}
    assert sorted(key for _, key, _ in peer.seen()) == sorted(f"e{n}" for n in range(20))
