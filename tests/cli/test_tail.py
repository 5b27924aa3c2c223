"""`bridge tail`."""

import asyncio
import signal
import sys

import orjson
import pytest

from bridge.adapters.kafka.clients import Clients, Options
from bridge.adapters.kafka.live import Publisher
from bridge.adapters.kafka.topics import apply
from bridge.cli.tail import full_name, json_line_of
from bridge.core.records import NewRecord, StoredRecord
from bridge.core.topics import Options as TopicsOptions
from bridge.core.topics import TopicPlan
from bridge.settings import Settings
from tests.cli.processes import bridge, code_of, line_from, started


def _line(value: bytes | None) -> bytes:
    return json_line_of(StoredRecord(topic="t", key=b"k", value=value, headers=(("ce_id", b"1"), ("ce_id", b"2"))))


def test_a_value_that_is_json_stands_there_digit_for_digit_on_one_line() -> None:
    line = _line(b'{\n "a": 0.850, "n": 12345678901234567890123\n}')
    assert b'"value":{"a":0.850,"n":12345678901234567890123}' in line
    assert line.count(b"\n") == 1


@pytest.mark.parametrize("value", [b"\x1f\x8b\x08", b'{"a":', b'{"a":"\xff"}', b"[" * 100_000])
def test_any_other_value_is_base64(value: bytes) -> None:
    assert isinstance(orjson.loads(_line(value))["value"], str)


def test_a_line_has_all_of_a_record() -> None:
    assert orjson.loads(_line(None)) == {
        "topic": "t",
        "partition": 0,
        "offset": 0,
        "timestamp": 0,
        "key": "k",
        "value": None,
        "headers": {"ce_id": "2"},
    }


def test_keys_that_are_no_text_are_base64() -> None:
    assert orjson.loads(json_line_of(StoredRecord(topic="t", key=b"\xff")))["key"] == "/w=="


@pytest.mark.parametrize("name", ["raw-suggestions", "renamed", "a-renamed"])
def test_a_topic_is_known_by_its_default_name_and_by_its_own(name: str) -> None:
    settings = Settings(kafka=Options(prefix="a-"), topics=TopicsOptions(raw_suggestions="renamed"))
    assert full_name(settings, name) == "a-renamed"


def test_a_topic_of_someone_else_is_taken_as_it_is_named() -> None:
    assert full_name(Settings(kafka=Options(prefix="a-")), "other") == "other"


@pytest.mark.broker
class TestOnABroker:
    async def test_prints_so_many_records_of_one_interaction(self, bootstrap_servers: str, prefix: str) -> None:
        await _written(bootstrap_servers, prefix, *(b"one", b"two") * 3)
        done = bridge(
            "tail", "raw-suggestions", "--from-start", "--interaction", "two", "--count", "2",
            **_options(bootstrap_servers, prefix),
        )  # fmt: skip
        lines = [orjson.loads(line) for line in done.stdout.splitlines()]
        assert (done.code, done.stderr) == (0, "")
        assert [line["key"] for line in lines] == ["two", "two"]
        assert [line["value"] for line in lines] == [{"n": 1}, {"n": 3}]

    async def test_goes_on_until_it_is_interrupted(self, bootstrap_servers: str, prefix: str) -> None:
        await _written(bootstrap_servers, prefix, b"one")
        async with started("tail", "raw-suggestions", "--from-start", **_options(bootstrap_servers, prefix)) as tail:
            assert orjson.loads(await line_from(tail))["key"] == "one"
            tail.send_signal(signal.SIGINT)
            assert await code_of(tail) == 0
            assert tail.stderr is not None
            assert await tail.stderr.read() == b""

    async def test_begins_at_the_end_unless_told_otherwise(self, bootstrap_servers: str, prefix: str) -> None:
        await _written(bootstrap_servers, prefix, b"before")
        async with started("tail", "raw-suggestions", "--count", "1", **_options(bootstrap_servers, prefix)) as tail:
            async with asyncio.TaskGroup() as tasks:
                first = tasks.create_task(line_from(tail))
                # It begins some time after it was started: what is written before that is not for it.
                tasks.create_task(_write_until(first, bootstrap_servers, prefix))
            assert orjson.loads(first.result())["key"] == "after"
            assert await code_of(tail) == 0

    async def test_ends_when_nobody_reads_any_more(self, bootstrap_servers: str, prefix: str) -> None:
        await _written(bootstrap_servers, prefix, *[b"one"] * 5_000)
        environment = " ".join(f"{name}={value}" for name, value in _options(bootstrap_servers, prefix).items())
        shell = await asyncio.create_subprocess_exec(
            "bash",
            "-c",
            f"set -o pipefail; {environment} {sys.executable} -m bridge tail raw-suggestions --from-start | head -n 1",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(60):
            stdout, stderr = await shell.communicate()
        assert (shell.returncode, stderr) == (0, b"")
        assert orjson.loads(stdout)["key"] == "one"

    def test_a_topic_that_does_not_exist_is_one_line(self, bootstrap_servers: str, prefix: str) -> None:
        done = bridge("tail", "raw-suggestions", **_options(bootstrap_servers, prefix))
        assert done.code == 1
        assert f"topic {prefix}raw-suggestions does not exist" in done.stderr


def _options(servers: str, prefix: str) -> dict[str, str]:
    return {"BRIDGE_KAFKA__BOOTSTRAP_SERVERS": servers, "BRIDGE_KAFKA__PREFIX": prefix}


async def _written(servers: str, prefix: str, *keys: bytes) -> None:
    clients, topic = Clients(Options(bootstrap_servers=servers)), f"{prefix}raw-suggestions"
    await apply(clients, [TopicPlan(name=topic, configs={})], partitions=2, replication_factor=1, dry_run=False)
    publisher = await Publisher(clients).start()
    try:
        async with asyncio.TaskGroup() as tasks:
            for at, key in enumerate(keys):
                record = NewRecord(topic=topic, key=key, value=b'{"n":%d}' % at)
                tasks.create_task(publisher.publish(record))
    finally:
        await publisher.close()


async def _write_until(first: asyncio.Task[str], servers: str, prefix: str) -> None:
    while not first.done():
        await _written(servers, prefix, b"after")
