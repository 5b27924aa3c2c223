"""`bridge subscribe` and `bridge unsubscribe`."""

from contextlib import aclosing

import orjson
import pytest

from bridge.adapters.kafka.clients import Clients, Options
from bridge.adapters.kafka.reader import read
from bridge.adapters.kafka.topics import apply
from bridge.core.partitions import partition_of
from bridge.core.records import Kind, Record, header_of
from bridge.core.topics import TopicPlan
from bridge.core.values import decode_subscription
from tests.cli.processes import bridge

_PARTITIONS = 3


@pytest.mark.parametrize("arguments", [["a" * 257], [""], ["a", "--expires-at", "tomorrow"]])
def test_what_is_no_subscription_is_a_usage_error_and_nothing_is_written(arguments: list[str]) -> None:
    done = bridge("--set", "kafka.bootstrap_servers=127.0.0.1:1", "subscribe", *arguments)
    assert done.code == 2
    assert "Traceback" not in done.stderr


@pytest.mark.broker
class TestOnABroker:
    async def test_writes_subscriptions_under_the_partition_of_their_key(
        self, bootstrap_servers: str, prefix: str
    ) -> None:
        clients = await _topic(bootstrap_servers, prefix)
        ids = ["one", "two", "dréi"]
        done = bridge("subscribe", *ids, "--expires-at", "2030-01-05T10:00:00Z", **_options(bootstrap_servers, prefix))
        assert (done.code, done.stderr, len(done.stdout.splitlines())) == (0, "", 3)
        records = {record.key: record for record in await _all(clients, prefix)}
        for one in ids:
            record = records[one.encode()]
            assert decode_subscription(record).expires_at == "2030-01-05T10:00:00Z"
            assert record.partition == partition_of(one.encode(), _PARTITIONS)
            assert header_of(record, "ce_type") == Kind.SUBSCRIPTION.encode()
            assert header_of(record, "ce_subject") == one.encode()

    async def test_unsubscribe_writes_null(self, bootstrap_servers: str, prefix: str) -> None:
        clients = await _topic(bootstrap_servers, prefix)
        bridge("subscribe", "one", **_options(bootstrap_servers, prefix))
        done = bridge("unsubscribe", "one", "--json", **_options(bootstrap_servers, prefix))
        first, last = await _all(clients, prefix)
        assert first.value == b'{"interactionId":"one"}'
        assert last.value is None
        place = {"interactionId": "one", "topic": last.topic, "partition": last.partition, "offset": last.offset}
        assert orjson.loads(done.stdout) == {"unsubscribed": [place]}

    def test_a_topic_that_does_not_exist_is_one_line_with_the_remedy(self, bootstrap_servers: str, prefix: str) -> None:
        done = bridge("subscribe", "one", **_options(bootstrap_servers, prefix))
        assert done.code == 1
        (line,) = done.stderr.splitlines()
        assert "does not exist" in line
        assert "bridge topics apply" in line


def _options(servers: str, prefix: str) -> dict[str, str]:
    return {"BRIDGE_KAFKA__BOOTSTRAP_SERVERS": servers, "BRIDGE_KAFKA__PREFIX": prefix}


async def _topic(servers: str, prefix: str) -> Clients:
    clients = Clients(Options(bootstrap_servers=servers))
    plan = TopicPlan(name=f"{prefix}interaction-subscriptions", configs={"cleanup.policy": "compact"})
    await apply(clients, [plan], partitions=_PARTITIONS, replication_factor=1, dry_run=False)
    return clients


async def _all(clients: Clients, prefix: str) -> list[Record]:
    topic = f"{prefix}interaction-subscriptions"
    async with aclosing(read(clients, topic, from_start=True, until_end=True)) as records:
        return [record async for record in records]
