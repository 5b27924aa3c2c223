"""How the last transaction of a transactional id stands: what aiokafka's admin client cannot ask.

Fields and version of the request are those of https://kafka.apache.org/protocol; it came with KIP-664 (Kafka 3.0).
"""

from typing import NamedTuple

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import IncompatibleBrokerVersion, for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import CompactArray, CompactString, Int16, Int32, Int64, Schema, TaggedFields

from bridge.adapters.kafka.coordinators import patiently

# As the protocol numbers them; aiokafka knows neither.
_TRANSACTION_COORDINATOR = 1
_TRANSACTIONAL_ID_NOT_FOUND = 105


class _Response(Response):  # type: ignore[misc] # aiokafka has no types
    API_KEY = 65
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "states",
            CompactArray(
                ("error_code", Int16),
                ("transactional_id", CompactString("utf-8")),
                ("state", CompactString("utf-8")),
                ("timeout_ms", Int32),
                ("start_time_ms", Int64),
                ("producer_id", Int64),
                ("producer_epoch", Int16),
                (
                    "topics",
                    CompactArray(
                        ("topic", CompactString("utf-8")), ("partitions", CompactArray(Int32)), ("tags", TaggedFields)
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _Struct(RequestStruct):  # type: ignore[misc]
    API_KEY = 65
    API_VERSION = 0
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _Response
    SCHEMA = Schema(("transactional_ids", CompactArray(CompactString("utf-8"))), ("tags", TaggedFields))


class _DescribeTransactions(Request[_Struct]):  # type: ignore[misc]
    API_KEY = 65

    def __init__(self, transactional_id: str) -> None:
        self._transactional_id = transactional_id

    def build(self, request_struct_class: type[_Struct]) -> _Struct:
        return request_struct_class([self._transactional_id], {})


class LastTransaction(NamedTuple):
    """Kafka's name for its state (`Ongoing`, `CompleteCommit`, …; `Empty` after a start), and whose it is."""

    state: str
    producer_id: int
    epoch: int


async def last_transaction(
    admin: AIOKafkaAdminClient, transactional_id: str, *, timeout_s: float
) -> LastTransaction | None:
    """What the coordinator remembers; raises UnavailableError.

    None where no producer has started yet, or its id has expired, or the broker cannot tell (before Kafka 3.0).
    """
    return await patiently(
        lambda: _ask(admin, transactional_id), about=f"state of {transactional_id}", timeout_s=timeout_s
    )


async def _ask(admin: AIOKafkaAdminClient, transactional_id: str) -> LastTransaction | None:
    coordinator = await admin.find_coordinator(transactional_id, _TRANSACTION_COORDINATOR)
    try:
        # Private, because there is no public call; aiokafka is pinned exactly.
        response = await admin._send_request(_DescribeTransactions(transactional_id), coordinator)  # noqa: SLF001
    except IncompatibleBrokerVersion:
        return None
    code, _, state, _, _, producer_id, epoch, *_ = response.states[0]
    if code == _TRANSACTIONAL_ID_NOT_FOUND:
        return None
    if code:
        raise for_code(code)
    return LastTransaction(state, producer_id, epoch)
