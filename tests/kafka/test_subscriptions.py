"""The subscription table where a consumer fails, and the subscriptions that the options ask for."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import GroupAuthorizationFailedError, OffsetOutOfRangeError

from bridge.adapters.kafka.clients import Clients, Options
from bridge.adapters.kafka.subscriptions import KafkaTable, write_missing
from bridge.core.errors import UnavailableError
from bridge.core.events.kinds import Event
from bridge.core.events.subscriptions import TableReadFailed
from bridge.core.partitions import partition_of
from bridge.core.records import Record
from bridge.ports import Emit, TableChange
from tests.broker import KafkaBroker
from tests.kafka.cluster import Cluster

# A broker that was killed may come back once its former session is over.
QUICK = {"broker.session.timeout.ms": "1000", "broker.heartbeat.interval.ms": "200"}

NOW_MS = 1_767_607_200_000


def _table(cluster: Cluster, *, clients: Clients | None = None, emit: Emit) -> KafkaTable:
    return KafkaTable(
        clients or cluster.clients,
        topic=cluster.topics.interaction_subscriptions,
        group=f"{cluster.options.prefix}ingress",
        emit=emit,
        chance=lambda: 0.1,
    )


class Reading:
    """What a table has said."""

    def __init__(self, table: KafkaTable) -> None:
        self._table = table
        self.changes: list[TableChange] = []

    @property
    def records(self) -> list[Record]:
        return [record for change in self.changes for record in change.records]

    @property
    def loaded(self) -> set[int]:
        return {number for change in self.changes for number in change.loaded}

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not is_so():
                change = await self._table.changes()
                assert change is not None
                self.changes.append(change)


class FailingClients(Clients):
    """The group's first consumer fails after so many polls."""

    def __init__(self, options: Options, *, polls: int) -> None:
        super().__init__(options)
        self._polls = polls
        self.consumers = 0

    def group_consumer(self, group: str) -> AIOKafkaConsumer:
        consumer = super().group_consumer(group)
        self.consumers += 1
        if self.consumers == 1:
            getmany = consumer.getmany

            async def fail_later(*, timeout_ms: int) -> Mapping[TopicPartition, Sequence[Record]]:
                self._polls -= 1
                if self._polls < 0:
                    raise GroupAuthorizationFailedError(group)
                fetched: Mapping[TopicPartition, Sequence[Record]] = await getmany(timeout_ms=timeout_ms)
                return fetched

            consumer.getmany = fail_later
        return consumer


class SteeredClients(Clients):
    """The group's consumer hears of rebalances by hand, and once that Kafka does not have its position."""

    def __init__(self, options: Options, *, topic: str) -> None:
        super().__init__(options)
        self._topic = topic
        self._listener: ConsumerRebalanceListener | None = None
        self._out_of_range: set[TopicPartition] = set()

    def assign(self, *numbers: int) -> None:
        """A rebalance ends: these are owned."""
        assert self._listener is not None
        self._listener.on_partitions_assigned([TopicPartition(self._topic, number) for number in numbers])

    def take_away_the_position(self, number: int) -> None:
        """The next poll says so."""
        self._out_of_range.add(TopicPartition(self._topic, number))

    def group_consumer(self, group: str) -> AIOKafkaConsumer:
        consumer = super().group_consumer(group)
        subscribe, getmany = consumer.subscribe, consumer.getmany

        def subscribe_aside(topics: Sequence[str], *, listener: ConsumerRebalanceListener) -> None:
            self._listener = listener
            subscribe(topics, listener=listener)

        async def fail_once(*, timeout_ms: int) -> Mapping[TopicPartition, Sequence[Record]]:
            if self._out_of_range:
                lost, self._out_of_range = self._out_of_range, set()
                raise OffsetOutOfRangeError(dict.fromkeys(lost, 1))
            fetched: Mapping[TopicPartition, Sequence[Record]] = await getmany(timeout_ms=timeout_ms)
            return fetched

        consumer.subscribe, consumer.getmany = subscribe_aside, fail_once
        return consumer


async def _until_read_anew(cluster: Cluster, happens: Callable[[SteeredClients], None]) -> Sequence[TableChange]:
    """The changes from what happens on, until partition 0, which has two records, is loaded again."""
    topic = cluster.topics.interaction_subscriptions
    clients = SteeredClients(cluster.options, topic=topic)
    table = _table(cluster, clients=clients, emit=lambda event: pytest.fail(f"{event}"))
    await cluster.send(topic, b"1", b"2")
    reading, anew = Reading(table), Reading(table)
    await reading.until(lambda: reading.loaded == {0, 1})
    happens(clients)
    await anew.until(lambda: 0 in anew.loaded)
    await table.stop()
    return anew.changes


@pytest.mark.broker
@pytest.mark.parametrize(
    "happens",
    [
        pytest.param(lambda clients: (clients.assign(1), clients.assign(0, 1)), id="it is lost and gained again"),
        pytest.param(lambda clients: clients.take_away_the_position(0), id="Kafka does not have its position any more"),
    ],
)
async def test_what_begins_again_is_left_out_of_a_change_before_its_old_records_come(
    cluster: Cluster, happens: Callable[[SteeredClients], None]
) -> None:
    """A table that held it as loaded would take them for new ones."""
    lost, *gained = await _until_read_anew(cluster, happens)
    assert lost == TableChange(owned=frozenset({1}), records=[], loaded=frozenset())
    assert {change.owned for change in gained} == {frozenset({0, 1})}
    assert [record.value for change in gained for record in change.records] == [b"1", b"2"]
    assert [change.loaded for change in gained if change.loaded] == [{0}]


@pytest.mark.broker
async def test_a_consumer_that_fails_is_made_anew_and_goes_on_where_it_was(cluster: Cluster) -> None:
    events: list[Event] = []
    faults: list[str] = []

    def emit(event: Event) -> None:
        events.append(event)
        faults.append(table.fault())

    clients = FailingClients(cluster.options, polls=15)
    table = _table(cluster, clients=clients, emit=emit)
    topic = cluster.topics.interaction_subscriptions
    await cluster.send(topic, b"1")
    reading = Reading(table)
    await reading.until(lambda: reading.loaded == {0, 1})
    await reading.until(lambda: clients.consumers == 2)
    await cluster.send(topic, b"2")
    await reading.until(lambda: len(reading.records) == 2)
    assert [record.value for record in reading.records] == [b"1", b"2"]
    assert all(change.owned == {0, 1} for change in reading.changes)
    assert [type(event) for event in events] == [TableReadFailed]
    assert faults == ["it cannot be read: GroupAuthorizationFailedError"]
    assert table.fault() == ""
    await table.stop()


@pytest.mark.kafka
async def test_a_broker_that_comes_back_is_read_on(tmp_path: Path, prefix: str) -> None:
    with KafkaBroker(tmp_path / "broker", **QUICK) as broker:
        cluster = Cluster(broker.bootstrap_servers, prefix)
        await cluster.create_topics()
        topic = cluster.topics.interaction_subscriptions
        table = _table(cluster, emit=lambda _: None)
        await cluster.send(topic, b"1")
        reading = Reading(table)
        await reading.until(lambda: reading.loaded == {0, 1})
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(reading.until(lambda: len(reading.records) == 2))
            broker.kill()
            await asyncio.to_thread(broker.start)
            await cluster.send(topic, b"2")
            await waiting
        assert [record.value for record in reading.records] == [b"1", b"2"]
        broker.kill()
        async with asyncio.timeout(15):
            await table.stop()
            assert await table.changes() is None


async def test_a_stop_while_kafka_has_never_been_there_is_bounded() -> None:
    failed = asyncio.Event()
    table = KafkaTable(
        Clients(Options(bootstrap_servers="127.0.0.1:1")),
        topic="t",
        group="g",
        emit=lambda _: failed.set(),
        chance=lambda: 1,
    )
    async with asyncio.timeout(15), asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(table.changes())
        await failed.wait()
        await table.stop()
        assert await waiting is None


@pytest.mark.broker
class TestWriteMissing:
    async def test_writes_only_what_is_not_there(self, cluster: Cluster) -> None:
        topic = cluster.topics.interaction_subscriptions
        for name, value in [
            ("there", {"interactionId": "there"}),
            ("expired", {"interactionId": "expired", "expiresAt": "2026-01-05T10:00:00Z"}),
            ("malformed", []),
            ("over", {"interactionId": "over"}),
            ("over", None),
        ]:
            await _send(cluster, topic, name, value)
        await _send(cluster, topic, "misplaced", {"interactionId": "misplaced"}, shift=1)
        asked = ["there", "expired", "malformed", "over", "misplaced", "new", "new"]
        missing = ["expired", "malformed", "over", "misplaced", "new"]
        assert await _write_missing(cluster, asked) == missing
        assert await _write_missing(cluster, asked) == []
        latest = {(record.key, record.partition): record for record in await cluster.read(topic)}
        for name in missing:
            record = latest[name.encode(), partition_of(name.encode(), 2)]
            assert orjson.loads(record.value or b"") == {"interactionId": name}
            assert dict(record.headers)["ce_type"] == b"agentassist.subscription.requested"

    async def test_without_interactions_nothing_is_read(self) -> None:
        nowhere = Cluster("127.0.0.1:1", "")
        assert await _write_missing(nowhere, []) == []

    async def test_without_kafka_it_is_unavailable(self) -> None:
        with pytest.raises(UnavailableError):
            await _write_missing(Cluster("127.0.0.1:1", ""), ["i"])


async def _write_missing(cluster: Cluster, interactions: Sequence[str]) -> list[str]:
    return await write_missing(
        cluster.clients, cluster.topics, interactions, clock=lambda: NOW_MS, timeout_s=10, ttl_s=86_400
    )


async def _send(cluster: Cluster, topic: str, name: str, value: object, *, shift: int = 0) -> None:
    key = name.encode()
    async with cluster.producer() as producer:
        await producer.send_and_wait(
            topic,
            None if value is None else orjson.dumps(value),
            key=key,
            partition=(partition_of(key, 2) + shift) % 2,
        )
