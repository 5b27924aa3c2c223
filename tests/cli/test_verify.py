"""`bridge verify`."""

import io
import re
import time

import orjson
import pytest
from rich.console import Console

from bridge.adapters.kafka.verify import Progress
from bridge.cli.verify import _progress, print_report
from bridge.core.topics import Options, topics_of
from bridge.core.verify_findings import Report
from tests.cli.processes import bridge
from tests.fakes.world import World, checked, losing
from tests.kafka.cluster import Cluster
from tests.kafka.loading import create_topics, load

_TOPICS = topics_of(Options(partitions=1))


def _printed(report: Report) -> str:
    console = Console(width=140)
    with console.capture() as capture:
        print_report(console, report, took_s=0.5)
    return capture.get()


def _report(*, loses: int = 0, repeats: bool = False) -> Report:
    world = World(_TOPICS)
    if loses:
        world.alter = losing(_TOPICS.ranked_suggestions, which=loses)
    for _ in range(3):
        world.frame("i-1", 0.9, ce_id="same" if repeats else None)
    world.work()
    return checked(world)


def test_a_good_day_is_told() -> None:
    printed = _printed(_report())
    *lines, count, verdict = printed.splitlines()
    # Three frames, of each a list and its audit event, and the acceptance of them all.
    assert count == "10 records in 0.5 s (20 a second)"
    assert verdict == "The books balance."
    assert not any("✗" in line for line in lines)


def test_offenders_are_named_with_what_is_wrong() -> None:
    printed = _printed(_report(loses=2))
    assert "raw-suggestions/0/1: there is suggestions_retrieved of it, but no ranked list (raw = ranked" in printed
    assert "✗" in printed
    assert "1 offenders are named; the lines count 2" in printed
    assert printed.endswith("The books do not balance.\n")


def test_what_is_worth_knowing_is_told() -> None:
    assert "2 raw records came twice within 30 s" in _printed(_report(repeats=True))


@pytest.mark.parametrize("is_terminal", [True, False], ids=["terminal", "pipe"])
def test_how_far_it_has_come_is_drawn_on_a_terminal_and_nowhere_else(is_terminal: bool) -> None:
    drawn = io.StringIO()
    with _progress(Console(file=drawn, width=100, force_terminal=is_terminal, color_system=None)) as told:
        told(Progress(done=3, total=12, number=4))
    bar = re.search(r"number 4 ━+ +3/12 ", drawn.getvalue())
    assert (bar is not None) == is_terminal
    assert is_terminal or drawn.getvalue() == ""


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--from", "raw-suggestions/3"], "no TOPIC/PARTITION/OFFSET"),
        (["--from", "nowhere/3/17"], "is none of the topics that are looked at: nowhere"),
        (["--to", "raw-suggestions/12/17"], "no such partition: raw-suggestions/12"),
        (["--from", "raw-suggestions/3/17", "--to", "raw-suggestions/4/20"], "same partition number"),
        (["--from", "raw-suggestions/3/17", "--since", "1h"], "one beginning too many"),
        (["--to", "raw-suggestions/3/17", "--until", "1h"], "one end too many"),
    ],
)
def test_places_that_are_none_or_contradict_each_other_are_refused(arguments: list[str], told: str) -> None:
    done = bridge("verify", *arguments)
    assert done.code == 2
    assert told in " ".join(done.stderr.split())


@pytest.mark.parametrize("option", ["--since", "--until"])
def test_a_time_that_is_none_is_refused(option: str) -> None:
    done = bridge("verify", option, "yesterday")
    assert done.code == 2
    assert "must be like" in done.stderr


@pytest.mark.broker
class TestOnABroker:
    @pytest.fixture
    async def cluster(self, bootstrap_servers: str, prefix: str) -> Cluster:
        cluster = Cluster(bootstrap_servers, prefix, partitions=1)
        await create_topics(cluster, message_timestamp_type="CreateTime")
        return cluster

    async def _loaded(self, cluster: Cluster, *, loses: int) -> dict[str, str]:
        world = World(cluster.topics, at_ms=time.time_ns() // 1_000_000 - 2 * 3_600_000)
        world.alter = losing(cluster.topics.ranked_suggestions, which=loses)
        for _ in range(3):
            world.frame("i-1", 0.9)
        world.work()
        await load(cluster, world)
        return {
            "BRIDGE_KAFKA__BOOTSTRAP_SERVERS": cluster.options.bootstrap_servers,
            "BRIDGE_KAFKA__PREFIX": cluster.options.prefix,
            "BRIDGE_TOPICS__PARTITIONS": "1",
        }

    async def test_balanced_books_end_with_0(self, cluster: Cluster) -> None:
        done = bridge("verify", **await self._loaded(cluster, loses=0))
        assert (done.code, done.stderr) == (0, "")
        assert "The books balance." in done.stdout

    async def test_an_offender_ends_with_1_and_is_named(self, cluster: Cluster) -> None:
        done = bridge("verify", "--json", **await self._loaded(cluster, loses=2))
        assert (done.code, done.stderr) == (1, "")
        report = orjson.loads(done.stdout)
        assert report["balanced"] is False
        assert [(one["topic"], one["partition"], one["offset"]) for one in report["offenders"]] == [
            (cluster.topics.raw_suggestions, 0, 1)
        ]

    async def test_what_is_out_of_range_is_not_looked_at(self, cluster: Cluster) -> None:
        environment = await self._loaded(cluster, loses=2)
        assert bridge("verify", "--since", "1h", **environment).code == 0
        assert bridge("verify", "--until", "2020-01-01T00:00:00Z", **environment).code == 0

    async def test_without_kafka_it_is_one_line(self) -> None:
        done = bridge("verify", BRIDGE_KAFKA__BOOTSTRAP_SERVERS="127.0.0.1:1")
        assert done.code == 1
        assert done.stderr.startswith("Kafka at 127.0.0.1:1: no answer")
