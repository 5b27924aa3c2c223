"""How Kafka clients start and stop: with a deadline, and nothing of them is left behind."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeAlias, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError, KafkaError

from bridge.core.errors import UnavailableError

_DROP_S = 1.0

_T = TypeVar("_T")
_Client: TypeAlias = AIOKafkaConsumer | AIOKafkaProducer | AIOKafkaAdminClient


async def start_client(client: _Client, *, timeout_s: float, topics: Collection[str] = ()) -> None:
    """Starts a client; raises UnavailableError if that fails or takes longer than `timeout_s`.

    Until it is used for a topic a client asks once a minute for the metadata of every topic of its cluster, and reading
    them holds up everything else. One that lives long is given the `topics` that it is for, which must exist.

    One that has not started, because its caller was cancelled too, is stopped.
    """
    if topics:
        _network_of(client).set_topics(topics)
    try:
        with own_cancellations_only():
            async with asyncio.timeout(timeout_s):
                await _start(client, within_s=timeout_s)
    except (KafkaError, OSError, TimeoutError, AssertionError, UnavailableError) as error:
        await stop_client(client, timeout_s=_DROP_S)
        raise UnavailableError("Kafka", f"no answer: {type(error).__name__}") from error
    except BaseException:
        await stop_client(client, timeout_s=_DROP_S)
        raise


async def _start(client: _Client, *, within_s: float) -> None:
    start, network = client.start, _network_of(client)
    bootstrap = network.bootstrap
    # Cut off between its first connection and the first answer, aiokafka forgets that connection.
    network.bootstrap = lambda: finish(_ask_each(network, bootstrap, within_s=within_s), within_s=_DROP_S)
    await start()
    # One turn for the tasks that it began: stopped before their first step, they raise CancelledError.
    await asyncio.sleep(0)
    # A broker that was silent for longer than its session is in no metadata, its own neither, until it is registered
    # again. Of the clients that begin meanwhile only a producer minds: it raises AssertionError.
    if not network.cluster.brokers():
        raise KafkaConnectionError("it knows of no broker")


async def _ask_each(network: Any, bootstrap: Callable[[], Awaitable[None]], *, within_s: float) -> None:
    """Asks the bootstrap servers in turn, as aiokafka does, but each for its share of the time only.

    A machine that is gone without a word would take up aiokafka's request timeout, which is longer than all of it.
    """
    patience_ms, servers = network._request_timeout_ms, len(network.hosts)  # noqa: SLF001 - aiokafka has no call for it
    if servers > 1:
        # One share more than servers: what comes after the last of them takes its time, too.
        network._request_timeout_ms = min(patience_ms, within_s * 1000 / (servers + 1))  # noqa: SLF001
    try:
        await bootstrap()
    finally:
        network._request_timeout_ms = patience_ms  # noqa: SLF001


async def stop_client(client: _Client, *, timeout_s: float) -> bool:
    """Stops a client within `timeout_s`; False if it had to be dropped, because some of its stops never end.

    A caller that is cancelled meanwhile still waits for it: a client that is half stopped holds its connections.
    """
    return await finish(_stop(client, timeout_s=timeout_s))


async def stop_clients(*clients: _Client, timeout_s: float) -> None:
    """Stops clients side by side, each within `timeout_s`; none is left out, whenever the caller is cancelled.

    A bare `gather` would be: one that is cancelled before its tasks had their first step cancels them unbegun.
    """
    await finish(_stop_all(clients, timeout_s=timeout_s))


async def _stop_all(clients: Collection[_Client], *, timeout_s: float) -> None:
    await asyncio.gather(*(_stop(client, timeout_s=timeout_s) for client in clients))


async def finish(call: Coroutine[Any, Any, _T], *, within_s: float | None = None) -> _T:
    """The result of a call that must not be cut off: a caller that is cancelled is so once it has ended.

    Or, with `within_s`, that long after it was cancelled.
    """
    task, cancelled = asyncio.create_task(call), None
    while not task.done():
        try:
            await asyncio.wait({task}, timeout=None if cancelled is None else within_s)
            if cancelled is not None:
                task.cancel()
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        look_at(task)
        raise cancelled
    with own_cancellations_only():
        return task.result()


async def _stop(client: _Client, *, timeout_s: float) -> bool:
    stop = client.close if isinstance(client, AIOKafkaAdminClient) else client.stop
    try:
        with own_cancellations_only():
            async with asyncio.timeout(timeout_s):
                await stop()
    except (KafkaError, OSError, TimeoutError, RuntimeError, UnavailableError):
        await _drop(client)
        return False
    if isinstance(client, AIOKafkaProducer):
        _look_at_batches(client)
    return True


def _network_of(client: _Client) -> Any:
    # What holds a client's connections and metadata; aiokafka, pinned exactly, has no call for it.
    return client.client if isinstance(client, AIOKafkaProducer) else client._client  # noqa: SLF001


@contextmanager
def own_cancellations_only() -> Iterator[None]:
    """Raises UnavailableError in place of a cancellation that nobody asked of this task.

    With brokers away, aiokafka lets the cancellations of its own tasks and futures through to whoever awaits a client.
    A task would end by them, and no TaskGroup would say so.
    """
    try:
        yield
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise UnavailableError("Kafka", "the client has cancelled what it was asked for") from error


async def _drop(client: _Client) -> None:
    """Ends what a stop that was cut short leaves behind: tasks that would go on for ever, and make connections."""
    network = _network_of(client)
    for task in _tasks_of(*_parts_of(client)):
        task.add_done_callback(look_at)  # What the end of its connections makes of a step, nobody asks.
    await _close(network)
    left = list(_tasks_of(*_parts_of(client)))
    for task in left:
        task.add_done_callback(look_at)
        task.cancel()
    if left:
        await asyncio.wait(left, timeout=_DROP_S)
    if isinstance(client, AIOKafkaProducer):
        client._message_accumulator.fail_all(KafkaConnectionError("the producer was dropped"))  # noqa: SLF001
        _look_at_batches(client)
    await _close(network)  # What they have connected meanwhile.


def _parts_of(client: _Client) -> Iterator[object]:
    # What has tasks of its own; aiokafka, pinned exactly, has no call for it.
    if isinstance(client, AIOKafkaProducer):
        yield from (client._message_accumulator, client._sender)  # noqa: SLF001
    elif isinstance(client, AIOKafkaConsumer):
        yield from (client._fetcher, client._coordinator)  # noqa: SLF001


def _tasks_of(*owners: object) -> Iterator[asyncio.Task[Any]]:
    """The tasks that run a method of these: a sender forgets those that it has begun when it ends."""
    for task in asyncio.all_tasks():
        frame = getattr(task.get_coro(), "cr_frame", None)
        if frame is not None and any(frame.f_locals.get("self") is owner for owner in owners if owner is not None):
            yield task


def _look_at_batches(producer: AIOKafkaProducer) -> None:
    """A batch that fails tells so twice, once to whoever waits for it to be sent: often to nobody."""
    accumulator = producer._message_accumulator  # noqa: SLF001
    for batch in {*accumulator._pending_batches}.union(*accumulator._batches.values()):  # noqa: SLF001
        for future in (batch.future, batch._drain_waiter):  # noqa: SLF001
            if future.done():
                look_at(future)


def look_at(future: asyncio.Future[Any]) -> None:
    """Whoever awaits it is told its error; where nobody does any more, asyncio would tell it as "never retrieved"."""
    if not future.cancelled():
        future.exception()


async def _close(client: Any) -> None:
    with suppress(KafkaError, OSError, TimeoutError, UnavailableError), own_cancellations_only():
        async with asyncio.timeout(_DROP_S):
            await client.close()
