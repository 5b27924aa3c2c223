"""What clients leave behind."""

import asyncio
import gc
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.cluster import ClusterMetadata

from bridge.adapters.kafka.clients import Clients
from bridge.adapters.kafka.start_stop import look_at, start_client, stop_client, stop_clients
from bridge.adapters.kafka.transactions import TransactionalWriter
from bridge.core.errors import TransactionError, UnavailableError
from bridge.core.records import NewRecord
from bridge.simulator.times import Changes
from tests.broker import KafkaBroker
from tests.kafka.cluster import Cluster

pytestmark = pytest.mark.kafka


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[KafkaBroker]:
    """One that no other test needs: here it is silent."""
    with KafkaBroker(tmp_path / "broker") as broker:
        yield broker


@pytest.fixture
async def told() -> list[str]:
    """What the loop tells of what nobody looked at."""
    told = list[str]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["message"]))
    return told


async def test_a_bootstrap_server_that_is_silent_does_not_use_up_the_time_of_the_others(
    broker: KafkaBroker, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One machine of three without a word: aiokafka waits 40 s for it, which is longer than any start may take."""
    monkeypatch.setattr("aiokafka.conn.random.shuffle", lambda _: None)  # The silent ones come first.
    async with _silent_server() as silent:
        cluster = Cluster(f"{silent},{silent},{broker.bootstrap_servers}", prefix)
        reader = cluster.clients.reader()
        await start_client(reader, timeout_s=4)
        assert reader._client._request_timeout_ms == 40_000, "requests have their own time again"
        await stop_client(reader, timeout_s=5)


async def test_a_producer_whose_stop_is_cut_short_leaves_nothing_behind(
    broker: KafkaBroker, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It would hold its connections, and a number that is made anew again and again would add up."""
    before = asyncio.all_tasks()
    async with _unanswered(broker, prefix) as producer:
        assert not await stop_client(producer, timeout_s=0.2)
        assert not _is_connected(producer.client)
        await _until_ended(before)
    assert [record for record in caplog.records if record.name == "asyncio"] == []


async def test_a_consumer_whose_stop_is_cut_short_fetches_nothing_more(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that cannot leave its group, as while a rebalance hangs: its fetches would make connections anew."""
    before = asyncio.all_tasks()
    consumer = cluster.clients.group_consumer(f"{cluster.options.prefix}group")
    consumer.subscribe([cluster.topics.raw_suggestions])
    await start_client(consumer, timeout_s=30)
    while not consumer.assignment():
        await consumer.getmany(timeout_ms=100)
    monkeypatch.setattr(consumer._coordinator, "close", asyncio.Event().wait)
    assert not await stop_client(consumer, timeout_s=0.2)
    assert not _is_connected(consumer._client)
    await _until_ended(before)


async def test_clients_are_stopped_though_their_caller_is_cancelled_as_it_begins(cluster: Cluster) -> None:
    """As of a worker that looks something up in the moment in which it ends."""
    reader, admin = cluster.clients.reader(), cluster.clients.admin()
    for client in (reader, admin):
        await start_client(client, timeout_s=30)
    stopping = asyncio.create_task(stop_clients(reader, admin, timeout_s=5))
    await asyncio.sleep(0)
    stopping.cancel()
    await asyncio.wait({stopping})
    assert not _is_connected(reader._client)
    assert not _is_connected(admin._client)


async def test_a_client_whose_start_is_cancelled_leaves_nothing_behind(broker: KafkaBroker, prefix: str) -> None:
    """As of a number that is being restored when a rebalance takes it away."""
    cluster = Cluster(broker.bootstrap_servers, prefix)
    before = asyncio.all_tasks()
    with _silent(broker):
        reader = cluster.clients.reader()
        await _cancel(start_client(reader, timeout_s=30))
        assert reader._closed
        assert not _is_connected(reader._client)
        await _until_ended(before)


@pytest.mark.parametrize(
    "make",
    [Clients.admin, Clients.reader, lambda clients: clients.transactional_producer("one")],
    ids=["admin", "reader", "producer"],
)
async def test_a_client_that_knows_of_no_broker_has_not_started(
    bootstrap_servers: str, prefix: str, make: Callable[[Clients], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it is for a moment with a broker that was silent for longer than its session, and is registered again."""
    cluster = Cluster(bootstrap_servers, prefix)
    monkeypatch.setattr(ClusterMetadata, "brokers", lambda _: set())
    before = asyncio.all_tasks()
    client = make(cluster.clients)
    with pytest.raises(UnavailableError):
        await start_client(client, timeout_s=30)
    await _until_ended(before)


async def test_a_client_whose_stop_is_cancelled_is_stopped_all_the_same(broker: KafkaBroker, prefix: str) -> None:
    before = asyncio.all_tasks()
    async with _unanswered(broker, prefix) as producer:
        await _cancel(stop_client(producer, timeout_s=0.5))
        assert not _is_connected(producer.client)
        await _until_ended(before)


async def test_a_stop_that_is_cancelled_from_inside_does_not_cancel_whoever_waits_for_it(
    broker: KafkaBroker, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that was given up while it closed is waited for once more, and that is a cancelled future."""
    before = asyncio.all_tasks()
    async with _unanswered(broker, prefix) as producer:
        close = producer.client.close

        async def give_up_once_closed() -> None:
            await close()
            raise asyncio.CancelledError

        monkeypatch.setattr(producer.client, "close", give_up_once_closed)
        assert not await stop_client(producer, timeout_s=0.2)
        assert not _is_connected(producer.client)
        await _until_ended(before)


@pytest.mark.faults
@pytest.mark.parametrize("end", [KafkaBroker.stop, KafkaBroker.kill])
async def test_producers_whose_broker_goes_away_within_a_transaction_leave_nothing_behind(
    broker: KafkaBroker, prefix: str, told: list[str], end: Callable[[KafkaBroker], None]
) -> None:
    """No task that goes on for ever, no future that nobody looks at, no connection."""
    cluster = Cluster(broker.bootstrap_servers, prefix, partitions=12, transaction_timeout_ms=2_500)
    await cluster.create_topics()
    before, ending = asyncio.all_tasks(), asyncio.Event()
    begun = Begun()
    async with asyncio.timeout(90), asyncio.TaskGroup() as tasks:
        for number in range(12):
            tasks.create_task(_write_on(cluster, number, ending, begun))
        for _ in range(2):
            await begun.until_each(2)
            await asyncio.to_thread(end, broker)
            await asyncio.to_thread(broker.start)
            begun.counts.clear()
        await begun.until_each(2)
        ending.set()
    gc.collect()
    assert told == []
    await _until_ended(before)


@pytest.mark.faults
async def test_positions_whose_writing_is_cut_off_are_told_to_nobody(
    broker: KafkaBroker, prefix: str, told: list[str]
) -> None:
    cluster = Cluster(broker.bootstrap_servers, prefix, transaction_timeout_ms=2_500)
    await cluster.create_topics()
    writer = TransactionalWriter(cluster.clients, group=f"{cluster.options.prefix}ranker", number=0)
    await writer.start()
    send_offsets = writer._producer.send_offsets_to_transaction

    async def fall_silent(*arguments: Any) -> None:
        broker.process.send_signal(signal.SIGSTOP)
        await send_offsets(*arguments)

    writer._producer.send_offsets_to_transaction = fall_silent
    with pytest.raises(TransactionError):
        await writer.write([], {TopicPartition(cluster.topics.raw_suggestions, 0): 1})
    closing = asyncio.create_task(writer.close())
    await asyncio.sleep(0)  # It waits for the answer that was asked for last.
    await asyncio.to_thread(broker.kill)
    await closing
    gc.collect()
    assert told == []


class Begun:
    """How many transactions were begun on each of twelve numbers."""

    def __init__(self) -> None:
        self.counts = Counter[int]()
        self._changes = Changes()

    def one(self, number: int) -> int:
        self.counts[number] += 1
        self._changes.tell()
        return self.counts[number]

    async def until_each(self, more_than: int) -> None:
        await self._changes.until(lambda: all(self.counts[one] > more_than for one in range(12)), timeout_s=60)


async def _write_on(cluster: Cluster, number: int, ending: asyncio.Event, begun: Begun) -> None:
    """One transaction after the other; after a failure with a new producer."""
    record = NewRecord(topic=cluster.topics.ranked_suggestions, key=b"i", value=b"list")
    while not ending.is_set():
        writer = TransactionalWriter(cluster.clients, group=f"{cluster.options.prefix}ranker", number=number)
        with suppress(TransactionError, UnavailableError):
            await writer.start()
            while not ending.is_set():
                position = {TopicPartition(cluster.topics.raw_suggestions, number): begun.one(number)}
                await writer.write([record], position)
        await writer.close()


@asynccontextmanager
async def _unanswered(broker: KafkaBroker, prefix: str) -> AsyncIterator[AIOKafkaProducer]:
    """A producer that has sent a record to a broker that is silent now."""
    cluster = Cluster(broker.bootstrap_servers, prefix)
    await cluster.create_topics()
    producer = cluster.clients.idempotent_producer(compression="none")
    await producer.start()
    with _silent(broker):
        (await producer.send(cluster.topics.raw_suggestions, b"{}", partition=0)).add_done_callback(look_at)
        yield producer


async def _cancel(call: Coroutine[Any, Any, object]) -> None:
    """Cancels a call that is under way."""
    calling = asyncio.create_task(call)
    await asyncio.wait({calling}, timeout=0.1)
    assert calling.cancel()
    await asyncio.wait({calling}, timeout=10)
    assert calling.cancelled()


def _is_connected(client: Any) -> bool:
    return any(connection.connected() for connection in client._conns.values())


async def _until_ended(before: set[asyncio.Task[Any]]) -> None:
    """Returns when only those tasks are left that were there before."""
    left = asyncio.all_tasks() - before
    if left:
        await asyncio.wait(left, timeout=5)
    assert [task for task in left if not task.done()] == []


@contextmanager
def _silent(broker: KafkaBroker) -> Iterator[None]:
    """In the block, the broker answers nothing."""
    broker.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        broker.process.send_signal(signal.SIGCONT)


@asynccontextmanager
async def _silent_server() -> AsyncIterator[str]:
    """Takes connections and answers nothing."""
    writers = list[asyncio.StreamWriter]()
    server = await asyncio.start_server(lambda _, writer: writers.append(writer), "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    yield f"{host}:{port}"
    for writer in writers:
        writer.transport.abort()
    server.close()
