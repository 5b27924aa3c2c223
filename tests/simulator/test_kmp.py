"""Over real sockets, by a plain client."""

import asyncio
import base64
from typing import Any

import httpx
import msgspec
import pytest

from bridge.simulator.kmp import KmpSimulator
from bridge.simulator.script import Answer, BeSlow, Burst
from tests.simulator.speaking import post

BODY: dict[str, Any] = {
    "type": "agent_assist_sync",
    "interactionId": "i-1",
    "acceptedArticleId": "a-1",
    "acceptanceRate": 0.5,
    "exportedAt": "2026-01-05T10:00:00.120Z",
}


async def export(
    kmp: KmpSimulator, key: str | None = "k-1", *, body: object = BODY, headers: dict[str, str] | None = None
) -> httpx.Response:
    sent = {"content-type": "application/json", "bridge-sequence": "3/17"} | (headers or {})
    if key is not None:
        sent["idempotency-key"] = key
    content = body if isinstance(body, bytes) else msgspec.json.encode(body)
    async with httpx.AsyncClient() as http:
        return await http.post(kmp.endpoint, content=content, headers=sent)


async def test_holds_a_post_by_its_key() -> None:
    """T12: the body and the key of an export."""
    async with KmpSimulator() as kmp:
        answer = await export(kmp)

        assert answer.status_code == 200
        assert kmp.held == {"k-1": msgspec.json.encode(BODY)}
        (taken,) = kmp.posts
        assert (taken.number, taken.key, taken.sequence, taken.status) == (1, "k-1", "3/17", 200)
        assert taken.body == msgspec.json.encode(BODY)


async def test_takes_a_repeat_and_counts_it() -> None:
    """D8: the same body under the same key is no second export."""
    async with KmpSimulator() as kmp:
        answers = [await export(kmp) for _ in range(2)]

        assert [answer.status_code for answer in answers] == [200, 200]
        assert [taken.is_repeat for taken in kmp.posts] == [False, True]
        assert (kmp.state().held, kmp.state().repeats) == (1, 1)


async def test_refuses_another_body_under_a_key_that_it_holds() -> None:
    async with KmpSimulator() as kmp:
        await export(kmp)
        assert (await export(kmp, body=BODY | {"acceptanceRate": 0.6})).status_code == 422
        assert kmp.held == {"k-1": msgspec.json.encode(BODY)}
        assert kmp.refused == {}


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "sync"},
        {"interactionId": ""},
        {"acceptanceRate": "0.5"},
        {"acceptanceRate": -1},
        {"exportedAt": "now"},
        {"more": 1},
    ],
)
async def test_checks_the_shape_of_the_body(wrong: dict[str, object]) -> None:
    async with KmpSimulator() as kmp:
        assert (await export(kmp, body=BODY | wrong)).status_code == 400
        assert kmp.held == {}
        assert list(kmp.refused) == ["k-1"]


async def test_takes_json_only() -> None:
    async with KmpSimulator() as kmp:
        assert (await export(kmp, body=b"\xff")).status_code == 400
        assert (await export(kmp, headers={"content-type": "text/plain"})).status_code == 400
        assert (await export(kmp, headers={"content-type": "application/json; charset=utf-8"})).status_code == 200


@pytest.mark.parametrize("headers", [{"bridge-sequence": "17"}, {"bridge-sequence": ""}, {"idempotency-key": ""}])
async def test_wants_a_key_and_a_sequence(headers: dict[str, str]) -> None:
    async with KmpSimulator() as kmp:
        assert (await export(kmp, None if "idempotency-key" in headers else "k-1", headers=headers)).status_code == 400
        assert kmp.held == {}


async def test_takes_the_key_from_the_header_that_it_is_told() -> None:
    async with KmpSimulator(idempotency_header="X-Key") as kmp:
        assert (await export(kmp, None, headers={"x-key": "mine"})).status_code == 200
        assert list(kmp.held) == ["mine"]


async def test_refuses_articles_that_it_does_not_know() -> None:
    async with KmpSimulator(refuse_articles={"a-1"}) as kmp:
        assert (await export(kmp)).status_code == 422
        assert kmp.held == {}
        assert kmp.refused == {"k-1": msgspec.json.encode(BODY)}


async def test_answers_by_script_and_then_takes_the_same_post() -> None:
    async with KmpSimulator(script=[Answer(name="away", where="post", status=503, retry_after="2", count=2)]) as kmp:
        await kmp.until(lambda: len(kmp.faults) == 1)
        answers = [await export(kmp) for _ in range(3)]

        assert [answer.status_code for answer in answers] == [503, 503, 200]
        assert answers[0].headers["retry-after"] == "2"
        assert [taken.status for taken in kmp.posts] == [503, 503, 200]
        assert not kmp.posts[-1].is_repeat
        assert kmp.refused == {}


async def test_a_scripted_refusal_is_one_until_the_key_is_held() -> None:
    async with KmpSimulator(script=[Answer(name="no", status=404)]) as kmp:
        await kmp.until(lambda: len(kmp.faults) == 1)
        assert (await export(kmp)).status_code == 404
        assert list(kmp.refused) == ["k-1"]
        assert (await export(kmp)).status_code == 200
        assert kmp.refused == {}


async def test_holds_what_it_was_too_slow_to_answer() -> None:
    """A client that gave up posts again: 409 while the first is worked on, then a repeat."""
    async with KmpSimulator(script=[BeSlow(name="slow", delay_s=0.5, for_s=0.3)]) as kmp:
        await kmp.until(lambda: len(kmp.faults) == 1)
        async with asyncio.TaskGroup() as tasks:
            slow = tasks.create_task(export(kmp))
            await kmp.until(lambda: len(kmp.posts) == 1)
            tasks.create_task(export(kmp))
            await kmp.until(lambda: len(kmp.posts) == 2)
        assert slow.result().status_code == 200
        assert (await export(kmp)).status_code == 200

        assert [(taken.status, taken.is_repeat) for taken in kmp.posts] == [(200, False), (409, False), (200, True)]


async def test_shows_its_books_over_http() -> None:
    async with KmpSimulator(refuse_articles={"a-2"}) as kmp, httpx.AsyncClient(base_url=kmp.base_url) as http:
        await export(kmp)
        await export(kmp, "k-2", body=BODY | {"acceptedArticleId": "a-2"})
        books = (await http.get("/simulator/posts")).json()
        state = (await http.get("/simulator/state")).json()

    assert [(taken["number"], taken["key"], taken["status"]) for taken in books["posts"]] == [
        (1, "k-1", 200),
        (2, "k-2", 422),
    ]
    assert base64.b64decode(books["held"]["k-1"]) == msgspec.json.encode(BODY)
    assert list(books["refused"]) == ["k-2"]
    assert (state["posts"], state["held"], state["refused"]) == (2, 1, 1)
    assert state["answers"] == {"post 200": 1, "post 422": 1}


async def test_takes_faults_over_http_but_only_its_own() -> None:
    async with KmpSimulator() as kmp:
        fault = {"fault": "answer", "name": "busy", "status": 429, "for_s": 60}
        assert (await post(kmp.base_url, "/simulator/faults", [fault])).json() == {"posted": ["busy"]}
        await kmp.until(lambda: len(kmp.faults) == 1)
        assert (await export(kmp)).status_code == 429
        assert (
            await post(kmp.base_url, "/simulator/faults", msgspec.to_builtins(Burst(name="b", frames=1)))
        ).json() == {"error": "this simulator cannot do Burst"}


async def test_a_probe_that_is_no_post_is_told_so() -> None:
    async with KmpSimulator() as kmp, httpx.AsyncClient() as http:
        assert (await http.get(kmp.endpoint)).status_code == 405
        assert kmp.posts == []
