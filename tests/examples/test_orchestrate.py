"""The example, as a newcomer runs it."""

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from bridge.adapters import http
from bridge.adapters.kafka.topics import apply
from bridge.core.topics import plans_of
from bridge.ports import Condition
from bridge.simulator.genesys import GenesysSimulator
from bridge.simulator.kmp import KmpSimulator
from tests.e2e.processes import environment_of, genesys_environment, running
from tests.kafka.cluster import Cluster
from tests.kafka.stream import assert_verified

_EXAMPLE = Path(__file__).parents[2] / "examples" / "orchestrate.py"
_INTERACTION = "11111111-2222-3333-4444-555555555555"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How the example ended, and what it said."""

    code: int
    stdout: list[str]
    stderr: str


async def _orchestrate(*options: str) -> Ended:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(_EXAMPLE),
        _INTERACTION,
        *options,
        env=dict(os.environ),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(60):
            stdout, stderr = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Ended(code=process.returncode or 0, stdout=stdout.decode().splitlines(), stderr=stderr.decode())


@pytest.mark.broker
@pytest.mark.e2e
async def test_the_whole_example_works_against_a_whole_bridge(bootstrap_servers: str, prefix: str) -> None:
    """T14, T13: validate, stream, take the top suggestion, export, close; against simulators that are real servers."""
    cluster = Cluster(bootstrap_servers, prefix)
    await apply(cluster.clients, plans_of(cluster.topics), partitions=2, replication_factor=1, dry_run=False)
    async with GenesysSimulator(frames_per_s=10) as genesys, KmpSimulator() as kmp:
        environment = environment_of(
            cluster, KMP__ENDPOINT=kmp.endpoint, **genesys_environment(genesys.base_url, interactions=0)
        )
        async with running("run", "all", **environment) as bridge:
            await bridge.until_ready()
            address = f"http://127.0.0.1:{(await bridge.until('http_listening'))['port']}"
            ended = await _orchestrate(
                "--bootstrap-servers", bootstrap_servers, "--prefix", prefix, "--bridge", address
            )
            assert (ended.code, ended.stderr) == (0, "")
            await genesys.until(lambda: not genesys.state().subscriptions)
            bridge.stop()
            assert await bridge.code() == 0
    # A frame that came last may be unranked still.
    await assert_verified(cluster, is_done=False)

    (post,) = kmp.posts
    body = msgspec.json.decode(post.body, type=dict[str, object])
    assert (post.status, body["interactionId"]) == (200, _INTERACTION)
    assert [line.split(":")[0].split(" ")[0] for line in ended.stdout] == [
        "Validating",
        "Subscribed.",
        "Received",
        "Agent",
        "Export",
        "Connection",
    ]
    assert ended.stdout[4] == f"Export delivered (HTTP 200), acceptance rate: {body['acceptanceRate']}"


async def test_a_bridge_that_is_not_ready_is_told_with_its_reasons() -> None:
    """T14, T2: validated before anything is asked for."""
    conditions = [
        Condition(name="genesys", is_ready=False, reason="the client lacks the scope agentassist:view"),
        Condition(name="kmp", is_ready=True),
    ]
    serving = http.serve(
        http.Options(port=0),
        alive=list,
        conditions=lambda: conditions,
        registry=CollectorRegistry(),
        emit=lambda _: None,
    )
    async with serving as port:
        ended = await _orchestrate("--bridge", f"http://127.0.0.1:{port}")
    assert ended.code == 1
    assert ended.stderr.splitlines() == [
        "The bridge is not ready:",
        "- genesys: the client lacks the scope agentassist:view",
    ]


async def test_a_bridge_that_is_not_there_is_told_with_what_to_run() -> None:
    ended = await _orchestrate("--bridge", "http://127.0.0.1:1")
    assert ended.code == 1
    assert "No bridge answers at http://127.0.0.1:1" in ended.stderr
    assert "bridge run all" in ended.stderr
