"""Health and metrics over HTTP."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter

from bridge.adapters.http import Options, serve
from bridge.core.errors import StartError
from bridge.core.events.kinds import Event
from bridge.core.events.process import HttpListening
from bridge.ports import Condition

_READY = Condition(name="kafka", is_ready=True)
_UNREADY = Condition(name="genesys", is_ready=False, reason="10 failures in a row")


@asynccontextmanager
async def _served(*conditions: Condition, alive: tuple[Condition, ...] = ()) -> AsyncIterator[httpx.AsyncClient]:
    registry = CollectorRegistry()
    Counter("bridge_tests", "tests", registry=registry).inc()
    async with (
        serve(
            Options(port=0),
            alive=lambda: alive,
            conditions=lambda: conditions,
            registry=registry,
            emit=lambda event: None,
        ) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
    ):
        yield client


async def test_ready_while_every_condition_is() -> None:
    async with _served(_READY) as client:
        answer = await client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {"ready": True, "conditions": [{"name": "kafka", "is_ready": True, "reason": ""}]}


async def test_unready_names_each_condition_and_the_reason() -> None:
    async with _served(_READY, _UNREADY) as client:
        answer = await client.get("/readyz")
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["conditions"][1] == {"name": "genesys", "is_ready": False, "reason": "10 failures in a row"}


async def test_alive_though_not_ready() -> None:
    async with _served(_UNREADY) as client:
        assert (await client.get("/livez")).status_code == 200


async def test_not_alive_when_a_worker_is_stuck() -> None:
    async with _served(alive=(Condition(name="ranker", is_ready=False, reason="no progress"),)) as client:
        assert (await client.get("/livez")).status_code == 503


async def test_metrics_are_those_of_the_registry() -> None:
    async with _served() as client:
        answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert "bridge_tests_total 1.0" in answer.text


async def test_any_free_port_is_told_by_an_event() -> None:
    told: list[Event] = []

    def emit(event: Event) -> None:
        told.append(event)

    async with serve(
        Options(port=0),
        alive=tuple,
        conditions=tuple,
        registry=CollectorRegistry(),
        emit=emit,
    ) as port:
        assert port > 0
    assert told == [HttpListening(host="127.0.0.1", port=port)]


async def test_a_port_in_use_is_an_error_with_a_remedy() -> None:
    async with serve(
        Options(port=0), alive=tuple, conditions=tuple, registry=CollectorRegistry(), emit=lambda event: None
    ) as port:
        with pytest.raises(StartError, match=rf"cannot listen on 127.0.0.1:{port}: Address already in use.*http.port"):
            async with serve(
                Options(port=port), alive=tuple, conditions=tuple, registry=CollectorRegistry(), emit=lambda event: None
            ):
                raise AssertionError("it listens twice")


async def test_an_error_of_the_block_comes_out_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        async with _served():
            raise ZeroDivisionError


async def test_an_open_connection_does_not_hold_up_the_end() -> None:
    async with asyncio.timeout(5):
        async with _served() as client:
            await client.get("/livez")
            connection = await asyncio.open_connection("127.0.0.1", client.base_url.port)
        connection[1].close()


async def test_signals_stay_with_the_process() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    async with _served() as client:
        await client.get("/livez")
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
