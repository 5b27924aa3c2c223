"""`bridge status`."""

import signal

import msgspec
import orjson
import pytest
from rich.console import Console

from bridge.cli.status import picture
from bridge.core.status import GroupStatus, LettersStatus, PartitionStatus, ProcessStatus, Status
from tests.cli.processes import bridge, code_of, line_from, started
from tests.kafka.cluster import Cluster
from tests.kafka.loading import create_topics


def _status(
    *, processes: list[ProcessStatus] | None = None, letters: list[LettersStatus] | None = None, hidden: int = 0
) -> Status:
    owned = PartitionStatus(
        topic="raw-suggestions",
        partition=0,
        owner="bridge-06e5c8ba-cfe7-401e-86d8-20f16fc81f67@10.0.0.1",
        position=5,
        end=1_234,
        lag=1_229,
        oldest_s=61.5,
        hidden=0,
    )
    lost = PartitionStatus(
        topic="raw-suggestions", partition=1, owner="", position=None, end=7, lag=None, oldest_s=None, hidden=hidden
    )
    return Status(
        at="2026-01-05T10:00:00.000Z",
        groups=[
            GroupStatus(worker="ingress", group="ingress", state="Stable", members=1, partitions=[owned]),
            GroupStatus(worker="ranker", group="ranker", state="Stable", members=1, partitions=[owned]),
            GroupStatus(worker="tally", group="tally", state="Empty", members=0, partitions=[owned, lost]),
        ],
        subscriptions=3,
        letters=letters or [],
        letters_since_s=3_600,
        letters_counted=not letters,
        processes=processes or [],
    )


def _shown(found: Status, *, by_partition: bool = False) -> str:
    console = Console(width=120)
    with console.capture() as capture:
        console.print(picture(found, by_partition=by_partition))
    return capture.get()


def test_groups_stand_there_with_lag_and_age() -> None:
    lines = _shown(_status()).splitlines()
    assert lines[0].split() == ["2026-01-05T10:00:00.000Z", "3", "subscriptions"]
    rows = [line.split() for line in lines if line.startswith("  ")]
    assert ["ingress", "Stable", "1", "0", "-", "61.5", "s"] in rows
    assert ["ranker", "Stable", "1", "0", "1,229", "61.5", "s"] in rows
    assert ["tally", "Empty", "0", "1", "no", "position", "61.5", "s"] in rows
    assert lines[-1] == "no dead letters in the last 60 min"


def test_partitions_stand_there_with_their_owners() -> None:
    rows = [line.split() for line in _shown(_status(), by_partition=True).splitlines()]
    assert ["raw-suggestions/0", "bridge-06e5c8ba@10.0.0.1", "5", "1,234", "1,229", "-", "61.5", "s"] in rows
    assert ["raw-suggestions/1", "nobody", "-", "7", "-", "-", "-"] in rows


def test_what_an_open_transaction_hides_stands_there_with_its_place() -> None:
    assert "hidden" not in _shown(_status())
    shown = _shown(_status(hidden=1_500), by_partition=True)
    assert "tally: 1,500 more records are hidden by an open transaction: raw-suggestions/1" in shown
    assert ["raw-suggestions/1", "nobody", "-", "7", "-", "1,500", "-"] in [line.split() for line in shown.splitlines()]


def test_dead_letters_stand_there_and_that_there_are_more() -> None:
    shown = _shown(_status(letters=[LettersStatus(topic="dlq.ranker", dlq_class="schema", count=10_000)]))
    assert "10,000 dead letters in the last 60 min: dlq.ranker (schema)" in shown
    assert "there are more: see `bridge dlq list`" in shown


def test_processes_say_what_they_know() -> None:
    ingress = ProcessStatus(
        url="http://a", is_ready=False, faults=["genesys: no socket"], is_valve_closed=True, sockets=0, subscriptions=3
    )
    all_well = ProcessStatus(
        url="http://b",
        is_ready=True,
        faults=[],
        is_valve_closed=False,
        sockets=1,
        subscriptions=3,
        is_kmp_down=False,
        is_breaker_tripped=False,
    )
    shown = _shown(_status(processes=[ingress, all_well]))
    assert "http://a: not ready, valve closed, sockets 0, subscriptions 3\n  genesys: no socket" in shown
    assert "http://b: ready, valve open, sockets 1, subscriptions 3, KMP well, breaker well" in shown


def test_a_breaker_that_has_tripped_stands_there_before_the_kmp_is_called_down() -> None:
    soon = ProcessStatus(url="http://a", is_ready=True, faults=[], is_kmp_down=False, is_breaker_tripped=True)
    later = ProcessStatus(url="http://b", is_ready=False, faults=["kmp: no"], is_kmp_down=True, is_breaker_tripped=True)
    shown = _shown(_status(processes=[soon, later]))
    assert "http://a: ready, KMP well, breaker tripped" in shown
    assert "http://b: not ready, KMP down, breaker tripped\n  kmp: no" in shown
    assert orjson.loads(msgspec.json.encode(soon))["isBreakerTripped"] is True


@pytest.mark.broker
class TestOnABroker:
    @pytest.fixture
    async def environment(self, bootstrap_servers: str, prefix: str) -> dict[str, str]:
        await create_topics(Cluster(bootstrap_servers, prefix, partitions=2))
        return {
            "BRIDGE_KAFKA__BOOTSTRAP_SERVERS": bootstrap_servers,
            "BRIDGE_KAFKA__PREFIX": prefix,
            "BRIDGE_TOPICS__PARTITIONS": "2",
        }

    async def test_one_object_of_json(self, environment: dict[str, str]) -> None:
        done = bridge("status", "--json", "--processes", "http://127.0.0.1:1", **environment)
        assert (done.code, done.stderr) == (0, "")
        found = orjson.loads(done.stdout)
        assert [one["worker"] for one in found["groups"]] == ["ingress", "ranker", "tally", "exporter"]
        assert (found["subscriptions"], found["letters"]) == (0, [])
        assert found["processes"][0]["faults"] == ["no answer: ConnectError"]

    async def test_it_goes_on_until_it_is_interrupted(self, environment: dict[str, str]) -> None:
        async with started("status", "--watch", **environment) as process:
            assert process.stdout is not None
            for _ in range(2):
                while not (line := await line_from(process)).endswith("subscriptions"):
                    assert line or not process.stdout.at_eof()
            process.send_signal(signal.SIGINT)
            assert await code_of(process) == 0

    async def test_one_object_is_not_drawn_again(self) -> None:
        done = bridge("status", "--watch", "--json")
        assert done.code == 2
        assert "is one too many beside --json" in " ".join(done.stderr.replace("│", " ").split())

    async def test_without_kafka_it_is_one_line(self) -> None:
        done = bridge("status", BRIDGE_KAFKA__BOOTSTRAP_SERVERS="127.0.0.1:1")
        assert done.code == 1
        assert done.stderr.startswith("Kafka at 127.0.0.1:1: no answer")
        assert len(done.stderr.splitlines()) == 1
