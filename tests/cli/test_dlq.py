"""`bridge dlq`."""

import asyncio
import signal
from collections.abc import Sequence

import orjson
import pytest

from bridge.core.dead_letters import dead_letter
from bridge.core.records import StoredRecord
from tests.cli.processes import Ended, bridge_beside, code_of, started
from tests.kafka.cluster import Cluster

pytestmark = pytest.mark.broker


@pytest.fixture
async def cluster(bootstrap_servers: str, prefix: str) -> Cluster:
    cluster = Cluster(bootstrap_servers, prefix)
    await cluster.create_topics()
    return cluster


def command(cluster: Cluster, *arguments: str) -> list[str]:
    options = {
        "kafka.bootstrap_servers": cluster.options.bootstrap_servers,
        "kafka.prefix": cluster.options.prefix,
        "topics.partitions": cluster.topics.partitions,
    }
    return [*(part for name, value in options.items() for part in ("--set", f"{name}={value}")), "dlq", *arguments]


async def dlq(cluster: Cluster, *arguments: str) -> Ended:
    return await bridge_beside(*command(cluster, *arguments))


async def write_letters(cluster: Cluster, count: int, *, dlq_class: str = "schema") -> list[bytes]:
    """Writes so many letters of clicks to one partition, and returns their values."""
    topics, values = cluster.topics, [b'{"serial":%d}' % serial for serial in range(count)]
    source = StoredRecord(topic=topics.suggestion_clicks, key=b"i-1", timestamp=1_000, headers=(("custom", b"x"),))
    letter = dead_letter(
        source, topic=topics.dlq_clicks, worker="tally", dlq_class=dlq_class, reason="Expected `str`", stage="s"
    )
    headers = [(name, b"2" if name == "x-dlq-size" else value) for name, value in letter.headers]
    await cluster.send(topics.dlq_clicks, *values, headers=headers)
    return values


def serials(values: Sequence[bytes | None]) -> list[int]:
    return [orjson.loads(value or b"null")["serial"] for value in values]


async def test_lists_what_failed_and_how_much_of_it_was_sent_back(cluster: Cluster) -> None:
    await write_letters(cluster, 3)
    await write_letters(cluster, 1, dlq_class="oversize")
    assert (await dlq(cluster, "replay", "dlq.clicks", "--class", "schema")).code == 0
    listed = await dlq(cluster, "list")
    assert (listed.code, listed.stderr) == (0, "")
    heading, oversize, schema = (line.split() for line in listed.stdout.splitlines())
    assert heading == ["TOPIC", "CLASS", "COUNT", "REPLAYED", "FIRST", "LAST", "REASON"]
    name = cluster.topics.dlq_clicks
    assert (oversize[:4], schema[:4]) == ([name, "oversize", "1", "0"], [name, "schema", "3", "3"])
    answer = orjson.loads((await dlq(cluster, "list", "--topic", "dlq.clicks", "--class", "oversize", "--json")).stdout)
    (group,) = answer["deadLetters"]
    assert (group["class"], group["reason"], group["count"], group["replayed"]) == ("oversize", "Expected `str`", 1, 0)


@pytest.mark.parametrize(
    "spelled", [("dlq.clicks",), ("--topic", "dlq.clicks"), ("dlq.clicks", "--topic", "dlq.clicks")]
)
async def test_a_topic_is_named_in_the_same_ways_everywhere(cluster: Cluster, spelled: tuple[str, ...]) -> None:
    await write_letters(cluster, 1)
    await cluster.send(cluster.topics.dlq_ranker, b"who knows")
    listed = orjson.loads((await dlq(cluster, "list", *spelled, "--json")).stdout)
    assert [group["topic"] for group in listed["deadLetters"]] == [cluster.topics.dlq_clicks]
    replayed = orjson.loads((await dlq(cluster, "replay", *spelled, "--dry-run", "--json")).stdout)
    assert [sent["from"] for sent in replayed["sent"]] == [cluster.topics.dlq_clicks]
    assert replayed["left"] == []


async def test_a_topic_may_be_named_twice_with_its_prefix_and_without(cluster: Cluster) -> None:
    named_twice = await dlq(cluster, "list", "dlq.clicks", "--topic", cluster.topics.dlq_clicks)
    assert (named_twice.code, named_twice.stdout) == (0, "no dead letters\n")


async def test_nothing_there_is_said(cluster: Cluster) -> None:
    assert (await dlq(cluster, "list", "--since", "1h")).stdout == "no dead letters\n"
    assert (await dlq(cluster, "replay")).stdout == "nothing to send\n"


async def test_shows_one_letter(cluster: Cluster) -> None:
    await write_letters(cluster, 2)
    shown = await dlq(cluster, "show", "dlq.clicks/0/1")
    assert shown.code == 0
    assert f"came from    {cluster.topics.suggestion_clicks}/0/0, 1970-01-01T00:00:01.000Z" in shown.stdout
    assert '    "serial": 1' in shown.stdout
    as_json = orjson.loads((await dlq(cluster, "show", f"{cluster.topics.dlq_clicks}/0/1", "--json")).stdout)
    assert (as_json["offset"], as_json["value"], as_json["headers"]["x-dlq-class"]) == (1, {"serial": 1}, "schema")
    missing = await dlq(cluster, "show", "dlq.clicks/0/99")
    assert (missing.code, missing.stdout) == (1, "")
    assert "no record stands there" in missing.stderr


async def test_sends_back_and_tells_what_it_did(cluster: Cluster) -> None:
    values = await write_letters(cluster, 3)
    tried = await dlq(cluster, "replay", "--dry-run")
    assert tried.stdout.split()[:4] == ["would", "be", "sent", "3"]
    done = orjson.loads((await dlq(cluster, "replay", "--json")).stdout)
    topics = cluster.topics
    assert done == {
        "dryRun": False,
        "sent": [{"from": topics.dlq_clicks, "class": "schema", "to": topics.suggestion_clicks, "letters": 3}],
        "left": [],
        "sentBefore": 0,
    }
    assert [record.value for record in await cluster.read(topics.suggestion_clicks)] == values
    assert (await dlq(cluster, "replay")).stdout == "nothing to send\n"


async def test_a_replay_that_is_killed_and_started_again_sends_nothing_twice(cluster: Cluster) -> None:
    values, topic = await write_letters(cluster, 120), cluster.topics.suggestion_clicks
    for enough in (10, 40):
        async with started(*command(cluster, "replay", "--rate", "15")) as process:
            await cluster.read(topic, until=lambda read, n=enough: len(read) >= n)  # type: ignore[misc]
            process.send_signal(signal.SIGKILL)
            assert await code_of(process) == -signal.SIGKILL
    async with asyncio.timeout(60):
        assert (await dlq(cluster, "replay")).code == 0
    sent = await cluster.read(topic)
    assert serials([record.value for record in sent]) == serials(values)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("list", "--topic", "raw-suggestions"), "must be one of"),
        (("replay", "raw-suggestions"), "must be one of"),
        (("list", "dlq.clicks", "--topic", "dlq.ranker"), "names another topic than TOPIC does: give one of them"),
        (("replay", "dlq.clicks", "--topic", "dlq.ranker"), "names another topic than TOPIC does: give one of them"),
        (("list", "--class", "strange"), "must be one of decode, schema"),
        (("replay", "--since", "yesterday"), "must be like"),
        (("replay", "--rate", "inf"), "must be a number of letters"),
        (("replay", "--rate", "nan"), "greater than or equal to 0.001"),
        (("show", "dlq.clicks"), "TOPIC/PARTITION/OFFSET"),
        (("show", "dlq.clicks/7/0"), "has 2 partitions"),
    ],
)
async def test_what_cannot_be_meant_is_refused(cluster: Cluster, arguments: tuple[str, ...], told: str) -> None:
    ended = await dlq(cluster, *arguments)
    assert ended.code == 2
    assert told in " ".join(ended.stderr.replace("│", " ").split())
