"""A producer takes over from the one before it: that one is fenced, and nothing of it is left open."""

import asyncio
from collections.abc import Iterable, MutableMapping

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from bridge.adapters.kafka.transaction_state import transaction_state
from bridge.adapters.kafka.transactions import TransactionalWriter
from bridge.core.errors import UnavailableError

_ANSWER_S = 10.0
_AGAIN_S = 0.02
# Kafka's names for the states of a transaction.
_NEW_PRODUCER = "Empty"
_COMMITTED = frozenset({"PrepareCommit", "CompleteCommit"})
_MARKED = frozenset({"CompleteCommit", "CompleteAbort"})


async def take_over(
    writer: TransactionalWriter,
    partitions: Iterable[TopicPartition],
    *,
    admin: AIOKafkaAdminClient,
    endings: MutableMapping[str, bool],
) -> None:
    """Starts a writer and writes the markers that the last transaction before it may lack, on all that it writes to.

    Kafka's coordinator (seen with 4.4.0) leaves out partitions that have no leader, as in the orderly stop of their
    only broker, and calls the transaction complete. Its records stay hidden and its positions unheard of, until the
    next marker of the same producer decides about them, whatever that one is: the records would come twice, or never.

    `endings` remembers by transactional id whether a transaction was committed, because the start of a producer wipes
    that out. Raises UnavailableError, TransactionError or FencedError.
    """
    transactional_id = writer.transactional_id
    state = await transaction_state(admin, transactional_id, timeout_s=_ANSWER_S)
    if state not in {_NEW_PRODUCER, ""}:
        endings[transactional_id] = state in _COMMITTED
    await writer.start()
    if not state:
        return
    # Without knowledge aborted, and done again: of one that was aborted half might be shown.
    await writer.mark(partitions, commit=endings.get(transactional_id, False))
    await _until_marked(admin, transactional_id)
    endings.pop(transactional_id, None)


async def _until_marked(admin: AIOKafkaAdminClient, transactional_id: str) -> None:
    try:
        async with asyncio.timeout(_ANSWER_S):
            while await transaction_state(admin, transactional_id, timeout_s=_ANSWER_S) not in _MARKED:
                await asyncio.sleep(_AGAIN_S)
    except TimeoutError as error:
        raise UnavailableError("Kafka", f"no markers of {transactional_id}") from error
