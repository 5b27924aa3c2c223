"""A producer takes over from the one before it: that one is fenced, and nothing of it is left open."""

import asyncio
from collections.abc import Collection, MutableMapping
from dataclasses import dataclass, field

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from bridge.adapters.kafka.log_ends import left_open
from bridge.adapters.kafka.start_stop import finish
from bridge.adapters.kafka.transaction_state import LastTransaction, last_transaction
from bridge.adapters.kafka.transactions import FINISH_S, TransactionalWriter
from bridge.core.errors import UnavailableError

_ANSWER_S = 10.0
_AGAIN_S = 0.02
# Kafka's names for the states of a transaction.
_NEW_PRODUCER = "Empty"
_COMMITTED = frozenset({"PrepareCommit", "CompleteCommit"})
_MARKED = frozenset({"CompleteCommit", "CompleteAbort"})


@dataclass(slots=True)
class Endings:
    """Which producers have begun right after a committed transaction: their start wipes out how it ended."""

    _after_commit: MutableMapping[str, LastTransaction] = field(default_factory=dict)

    def begin_after(self, transactional_id: str, last: LastTransaction) -> bool:
        """Whether the last transaction was committed, False where nobody knows; to be asked right before a start.

        The producer that starts will have the next epoch, if nobody comes between.
        """
        began = self._after_commit.pop(transactional_id, None)
        is_committed = last.state in _COMMITTED or last == began
        if is_committed:
            self._after_commit[transactional_id] = last._replace(state=_NEW_PRODUCER, epoch=last.epoch + 1)
        return is_committed


async def take_over(
    writer: TransactionalWriter,
    partitions: Collection[TopicPartition],
    *,
    reader: AIOKafkaConsumer,
    admin: AIOKafkaAdminClient,
    endings: Endings,
) -> None:
    """Starts a writer and writes the markers that the last transaction before it lacks.

    `partitions` are all that it may have written to; `reader` reads what is committed.

    Kafka's coordinator (seen with 4.4.0) leaves out partitions that have no leader, as in the orderly stop of their
    only broker, and calls the transaction complete. Its records stay hidden and its positions unheard of, until the
    next marker of the same producer decides about them, whatever that one is: the records would come twice, or never.

    Raises UnavailableError, TransactionError or FencedError.
    """
    transactional_id, topics = writer.transactional_id, {partition.topic for partition in partitions}
    # Where one has no leader the markers of what the start aborts would be left out, too, and what is known of the last
    # transaction would be wiped out for nothing.
    await _still_open(reader, partitions)
    last = await last_transaction(admin, transactional_id, timeout_s=_ANSWER_S)
    if last is None:
        await writer.start(topics)
        return
    # Without knowledge aborted, and done again: of one that was aborted half might be shown.
    is_committed = endings.begin_after(transactional_id, last)
    await writer.start(topics)
    # With another epoch somebody came between, whose transaction this start has aborted.
    is_committed = is_committed and writer.epoch == last.epoch + 1
    # Not to be cut off: the next owner would not know any more.
    await finish(_mark(writer, partitions, reader=reader, admin=admin, commit=is_committed), within_s=FINISH_S)


async def _still_open(reader: AIOKafkaConsumer, partitions: Collection[TopicPartition]) -> list[TopicPartition]:
    try:
        async with asyncio.timeout(_ANSWER_S):
            return await left_open(reader, partitions)
    except (KafkaError, OSError, TimeoutError) as error:
        raise UnavailableError("Kafka", f"no ends of the outputs: {type(error).__name__}") from error


async def _mark(
    writer: TransactionalWriter,
    partitions: Collection[TopicPartition],
    *,
    reader: AIOKafkaConsumer,
    admin: AIOKafkaAdminClient,
    commit: bool,
) -> None:
    await writer.mark(await _still_open(reader, partitions), commit=commit)
    await _until_marked(admin, writer.transactional_id)


async def _until_marked(admin: AIOKafkaAdminClient, transactional_id: str) -> None:
    try:
        async with asyncio.timeout(_ANSWER_S):
            while not _is_marked(await last_transaction(admin, transactional_id, timeout_s=_ANSWER_S)):
                await asyncio.sleep(_AGAIN_S)
    except TimeoutError as error:
        raise UnavailableError("Kafka", f"no markers of {transactional_id}") from error


def _is_marked(last: LastTransaction | None) -> bool:
    return last is not None and last.state in _MARKED
