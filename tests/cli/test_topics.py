"""`bridge topics apply`."""

import orjson
import pytest

from bridge.adapters.kafka.clients import Clients, Options
from bridge.adapters.kafka.topics import apply
from bridge.core.topics import TopicPlan
from tests.cli.processes import Ended, bridge

pytestmark = pytest.mark.broker


def _apply(servers: str, prefix: str, *flags: str) -> Ended:
    options = {"BRIDGE_KAFKA__BOOTSTRAP_SERVERS": servers, "BRIDGE_KAFKA__PREFIX": prefix}
    return bridge("--set", "topics.partitions=2", "topics", "apply", *flags, **options)


def test_makes_the_topics_and_then_has_nothing_to_do(bootstrap_servers: str, prefix: str) -> None:
    assert _apply(bootstrap_servers, prefix, "--dry-run").stdout.count("would be made") == 11
    made = _apply(bootstrap_servers, prefix)
    assert (made.code, made.stdout.count("made")) == (0, 11)
    again = _apply(bootstrap_servers, prefix)
    assert (again.code, again.stdout.count("as it must be"), again.stderr) == (0, 11, "")


def test_json_is_one_object(bootstrap_servers: str, prefix: str) -> None:
    answer = orjson.loads(_apply(bootstrap_servers, prefix, "--json").stdout)
    assert answer["ok"] is True
    assert answer["dryRun"] is False
    assert answer["topics"][0] == {
        "name": f"{prefix}interaction-subscriptions",
        "action": "create",
        "differences": [],
    }


async def test_what_cannot_be_mended_is_exit_1_with_what_to_do(bootstrap_servers: str, prefix: str) -> None:
    plan = TopicPlan(name=f"{prefix}raw-suggestions", configs={"retention.ms": "5"})
    clients = Clients(Options(bootstrap_servers=bootstrap_servers))
    await apply(clients, [plan], partitions=5, replication_factor=1, dry_run=False)
    refused = _apply(bootstrap_servers, prefix)
    assert refused.code == 1
    assert "partitions: 5 -> 2" in refused.stdout
    assert "retention.ms: 5 -> 604800000" in refused.stdout
    assert "set topics.partitions" in refused.stdout
    answer = orjson.loads(_apply(bootstrap_servers, prefix, "--json").stdout)
    assert answer["ok"] is False
