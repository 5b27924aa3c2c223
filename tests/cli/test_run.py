"""`bridge run`: what it takes, how it refuses, how it starts and stops."""

import asyncio
import signal
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest

from tests.cli.processes import bridge, code_of, started

pytestmark = pytest.mark.broker


def _options(servers: str, prefix: str) -> dict[str, str]:
    return {
        "BRIDGE_KAFKA__BOOTSTRAP_SERVERS": servers,
        "BRIDGE_KAFKA__PREFIX": prefix,
        "BRIDGE_TOPICS__PARTITIONS": "2",
        "BRIDGE_HTTP__PORT": "0",
    }


async def _events(process: asyncio.subprocess.Process) -> AsyncIterator[dict[str, Any]]:
    assert process.stderr is not None
    async for line in process.stderr:
        yield orjson.loads(line)


async def _until(events: AsyncIterator[dict[str, Any]], name: str) -> dict[str, Any]:
    async with asyncio.timeout(60):
        async for event in events:
            if event["event"] == name:
                return event
    raise AssertionError(f"no event {name}")


def test_without_topics_it_refuses_to_start_and_says_what_to_run(bootstrap_servers: str, prefix: str) -> None:
    done = bridge("run", "ranker", **_options(bootstrap_servers, prefix))
    assert done.code == 78
    assert f"topic {prefix}raw-suggestions does not exist" in done.stderr
    assert "run `bridge topics apply`" in done.stderr


def test_with_unequal_partitions_it_refuses_to_start(bootstrap_servers: str, prefix: str) -> None:
    options = _options(bootstrap_servers, prefix)
    assert bridge("topics", "apply", **options).code == 0
    done = bridge("run", "ranker", **(options | {"BRIDGE_TOPICS__PARTITIONS": "3"}))
    assert done.code == 78
    assert "has 2 partitions, topics.partitions is 3" in done.stderr


async def test_a_worker_s_gauges_are_there_before_anything_has_happened(bootstrap_servers: str, prefix: str) -> None:
    options = _options(bootstrap_servers, prefix) | {"BRIDGE_KMP__ENDPOINT": "http://127.0.0.1:1/"}
    assert bridge("topics", "apply", **options).code == 0
    async with started("run", "exporter", **options) as process:
        events = _events(process)
        port = (await _until(events, "http_listening"))["port"]
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            metrics = (await client.get("/metrics")).text
        assert "bridge_kmp_down 0.0" in metrics
        assert "bridge_breaker_tripped 0.0" in metrics
        assert "bridge_valve_closed" not in metrics
        await _until(events, "process_started")
        process.send_signal(signal.SIGTERM)
        assert await code_of(process) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_runs_until_a_signal_and_drains(bootstrap_servers: str, prefix: str, number: signal.Signals) -> None:
    options = _options(bootstrap_servers, prefix)
    assert bridge("topics", "apply", **options).code == 0
    async with started("run", "ranker", "tally", **options) as process:
        events = _events(process)
        port = (await _until(events, "http_listening"))["port"]
        assert (await _until(events, "process_started"))["workers"] == ["ranker", "tally"]
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            assert (await client.get("/livez")).status_code == 200
            metrics = (await client.get("/metrics")).text
            assert "bridge_process_up 1.0" in metrics
            assert "bridge_event_loop_lag_seconds" in metrics
        process.send_signal(number)
        assert (await _until(events, "drain_started"))["signal"] == number.name
        assert (await _until(events, "process_stopped"))["exit_code"] == 0
        assert await code_of(process) == 0
