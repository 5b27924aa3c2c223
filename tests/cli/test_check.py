"""`bridge check`: T2 and T15 in one command: what is wrong, and what helps."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from websockets.asyncio.client import connect

from bridge.adapters.genesys.options import Options as GenesysOptions
from bridge.adapters.genesys.options import socket_url
from bridge.adapters.genesys.rest import open_rest
from bridge.adapters.kafka import topics
from bridge.adapters.kafka.clients import Clients, Options
from bridge.adapters.kafka.topics import apply
from bridge.cli import check
from bridge.cli.check import kmp_finding
from bridge.core.errors import StartError
from bridge.core.topics import Options as TopicsOptions
from bridge.core.topics import plans_of, topics_of
from bridge.core.verdict import Answer, Answered, NoAnswer
from bridge.settings import Settings
from bridge.simulator.genesys import CLIENT, GenesysSimulator
from bridge.simulator.kmp import KmpSimulator
from bridge.simulator.rest import LIBRARIES
from bridge.simulator.script import Answer as AnswerFault
from tests.cli.processes import bridge, bridge_beside

_LIBRARY = next(library.id for library in LIBRARIES if library.enabled)
_AWAY = {"BRIDGE_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"}


@pytest.fixture
async def genesys() -> AsyncIterator[GenesysSimulator]:
    async with GenesysSimulator() as simulator:
        yield simulator


@pytest.fixture
async def kmp() -> AsyncIterator[KmpSimulator]:
    async with KmpSimulator() as simulator:
        yield simulator


def _options(genesys: GenesysSimulator, kmp: KmpSimulator) -> dict[str, str]:
    return {
        "BRIDGE_GENESYS__BASE_URL": genesys.base_url,
        "BRIDGE_GENESYS__CLIENT_ID": CLIENT,
        "BRIDGE_GENESYS__CLIENT_SECRET": CLIENT,
        "BRIDGE_GENESYS__CONTENT_LIBRARY_ID": _LIBRARY,
        "BRIDGE_KMP__ENDPOINT": kmp.endpoint,
    }


@asynccontextmanager
async def _heads(*answers: bytes) -> AsyncIterator[str]:
    """A server that gives these answers in turn, the last one again and again; yields its address."""
    left = list(answers)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        status = left.pop(0) if len(left) > 1 else left[0]
        writer.write(b"HTTP/1.1 %b\r\nConnection: close\r\n\r\n" % status)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


async def _found(options: Mapping[str, str], *arguments: str) -> dict[str, Any]:
    """The findings by name."""
    done = await bridge_beside(*arguments, "check", "--json", **options)
    answer = orjson.loads(done.stdout)
    assert done.code == (0 if answer["ok"] else 1)
    assert "Traceback" not in done.stderr
    return {finding["name"]: finding for finding in answer["checks"]}


def test_options_that_cannot_be_used_fail_with_their_path() -> None:
    done = bridge("--set", "kafka.prefx=1", "check")
    assert done.code == 1
    assert done.stdout.startswith("FAIL  options: kafka.prefx: is no option; did you mean prefix?")


def test_options_that_are_missing_fail_and_what_they_are_for_is_not_asked() -> None:
    done = bridge("check", **_AWAY)
    assert done.code == 1
    lines = done.stdout.splitlines()
    assert lines[0].startswith("FAIL  options: genesys.base_url: must be set")
    assert lines[-1].startswith("FAIL  kafka: Kafka at 127.0.0.1:1: ")
    assert not any(line.startswith(("FAIL  genesys", "FAIL  kmp")) for line in lines)


@pytest.mark.broker
async def test_all_passes_where_all_is_there(
    bootstrap_servers: str, prefix: str, genesys: GenesysSimulator, kmp: KmpSimulator
) -> None:
    named = topics_of(TopicsOptions(partitions=1), prefix=prefix)
    clients = Clients(Options(bootstrap_servers=bootstrap_servers))
    await apply(clients, plans_of(named), partitions=1, replication_factor=1, dry_run=False)
    options = _options(genesys, kmp) | {
        "BRIDGE_KAFKA__BOOTSTRAP_SERVERS": bootstrap_servers,
        "BRIDGE_KAFKA__PREFIX": prefix,
        "BRIDGE_TOPICS__PARTITIONS": "1",
    }
    done = await bridge_beside("check", **options)
    assert (done.code, done.stderr) == (0, "")
    names = [line.split(":")[0] for line in done.stdout.splitlines()]
    assert names == [
        f"pass  {name}"
        for name in ("options", "kafka", "topics", "genesys token", "genesys library", "genesys quota", "kmp")
    ]
    assert kmp.posts == []


@pytest.mark.broker
async def test_topics_that_are_missing_fail_with_the_remedy(
    bootstrap_servers: str, prefix: str, genesys: GenesysSimulator, kmp: KmpSimulator
) -> None:
    options = {"BRIDGE_KAFKA__BOOTSTRAP_SERVERS": bootstrap_servers, "BRIDGE_KAFKA__PREFIX": prefix}
    found = await _found(_options(genesys, kmp) | options)
    assert found["kafka"]["ok"]
    assert "does not exist" in found["topics"]["reason"]
    assert found["topics"]["remedy"] == "run `bridge topics apply`"


async def test_topics_that_may_not_be_looked_at_are_a_finding_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked of Genesys and the KMP is told all the same."""

    async def refuse(*_: object, **__: object) -> None:
        raise StartError("cannot read the settings of topic t (TopicAuthorizationFailedError)", remedy="ask")

    monkeypatch.setattr(topics, "apply", refuse)
    kafka, found = await check._kafka(Settings())
    assert (kafka.name, kafka.ok) == ("kafka", True)
    assert (found.name, found.ok, found.remedy) == ("topics", False, "ask")


async def test_a_client_that_is_refused_fails_once(genesys: GenesysSimulator, kmp: KmpSimulator) -> None:
    """T2: what is wrong with the token is not told again for everything that needs one."""
    found = await _found(_options(genesys, kmp) | _AWAY | {"BRIDGE_GENESYS__CLIENT_SECRET": "hush"})
    assert not found["genesys token"]["ok"]
    assert "genesys.client_secret" in found["genesys token"]["remedy"]
    assert "genesys library" not in found
    assert "hush" not in str(found)


async def test_a_library_that_does_not_exist_fails(genesys: GenesysSimulator, kmp: KmpSimulator) -> None:
    """T2."""
    found = await _found(_options(genesys, kmp) | _AWAY | {"BRIDGE_GENESYS__CONTENT_LIBRARY_ID": "none"})
    assert found["genesys token"]["ok"]
    assert "does not exist" in found["genesys library"]["reason"]
    assert found["genesys quota"]["ok"]


async def test_403_names_the_scope(genesys: GenesysSimulator, kmp: KmpSimulator) -> None:
    """T2, T15."""
    genesys.post(AnswerFault(name="forbidden", status=403, where="libraries"))
    found = await _found(_options(genesys, kmp) | _AWAY)
    assert "genesys.scope" in found["genesys library"]["remedy"]


async def test_429_is_waited_out(genesys: GenesysSimulator, kmp: KmpSimulator) -> None:
    """T2, T15."""
    busy = AnswerFault(name="busy", status=429, retry_after="1", where="libraries")
    genesys.post(busy)
    async with _heads(b"429 Busy\r\nRetry-After: 1", b"429 Busy\r\nRetry-After: 1", b"204 Well") as endpoint:
        options = _options(genesys, kmp) | _AWAY | {"BRIDGE_KMP__ENDPOINT": endpoint}
        done = await bridge_beside("check", "--json", **options)
    found = {finding["name"]: finding for finding in orjson.loads(done.stdout)["checks"]}
    assert found["genesys library"]["ok"]
    assert found["kmp"]["reason"] == "answers 204 to HEAD"
    assert done.stderr.count("asked again in 1 s") == 3


async def test_429_that_lasts_fails_within_the_time_of_a_start(genesys: GenesysSimulator, kmp: KmpSimulator) -> None:
    genesys.post(AnswerFault(name="busy", status=429, retry_after="60", where="config", for_s=600))
    async with _heads(b"429 Busy") as endpoint:
        options = _options(genesys, kmp) | _AWAY | {"BRIDGE_KMP__ENDPOINT": endpoint}
        found = await _found(options, "--set", "run.start_timeout_s=1")
    assert "429" in found["genesys quota"]["reason"]
    assert "429" in found["kmp"]["reason"]


async def test_a_full_quota_fails(genesys: GenesysSimulator, kmp: KmpSimulator) -> None:
    """T3."""
    options = _options(genesys, kmp) | _AWAY
    asked = GenesysOptions(base_url=genesys.base_url, client_id=CLIENT, client_secret=CLIENT)
    async with open_rest(asked, clock=lambda: 0, emit=lambda event: None) as rest:
        headers = {"Authorization": f"Bearer {(await rest.tokens.token()).value}"}
    async with connect(socket_url(asked), additional_headers=headers):
        found = await _found(options, "--set", "genesys.max_connections=1")
    assert not found["genesys quota"]["ok"]
    assert found["genesys quota"]["reason"] == "1 of 1 connections are in use"


@pytest.mark.parametrize(
    ("answer", "is_ok", "word"),
    [
        (Answered(status=200), True, "200"),
        (Answered(status=404), True, "404"),
        (Answered(status=405), True, "405"),
        (Answered(status=301), False, "redirects"),
        (Answered(status=401), False, "kmp.bearer_token"),
        (Answered(status=403), False, "kmp.bearer_token"),
        (Answered(status=503), False, "exports wait"),
        (NoAnswer(cause="timeout"), False, "kmp.endpoint"),
        (NoAnswer(cause="connection", detail="refused"), False, "connection: refused"),
    ],
)
def test_what_a_probe_of_the_kmp_shows(answer: Answer, word: str, *, is_ok: bool) -> None:
    finding = kmp_finding(answer)
    assert finding.ok is is_ok
    assert word in f"{finding.reason} {finding.remedy}"
