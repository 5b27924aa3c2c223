"""Which broker has which partition, and which of them leads it: what aiokafka's admin client cannot change.

Fields and versions of the requests are those of https://kafka.apache.org/protocol; the first one came with KIP-455, the
second one with KIP-183 and KIP-460. Clients choose a version: what has the fewest fields is enough here.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Array,
    CompactArray,
    CompactString,
    Int8,
    Int16,
    Int32,
    Schema,
    String,
    TaggedFields,
)

_TIMEOUT_MS = 10_000
_PREFERRED = 0
# Both as the protocol numbers them; aiokafka does not know them.
_PREFERRED_LEADER_NOT_AVAILABLE, _ELECTION_NOT_NEEDED = 80, 84


class _ReassignmentsResponse(Response):  # type: ignore[misc]
    API_KEY = 45
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("error_message", CompactString("utf-8")),
        (
            "topics",
            CompactArray(
                ("name", CompactString("utf-8")),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("error_code", Int16),
                        ("error_message", CompactString("utf-8")),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _ReassignmentsStruct(RequestStruct):  # type: ignore[misc]
    API_KEY = 45
    API_VERSION = 0
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _ReassignmentsResponse
    SCHEMA = Schema(
        ("timeout_ms", Int32),
        (
            "topics",
            CompactArray(
                ("name", CompactString("utf-8")),
                (
                    "partitions",
                    CompactArray(("partition", Int32), ("replicas", CompactArray(Int32)), ("tags", TaggedFields)),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _AlterPartitionReassignments(Request[_ReassignmentsStruct]):  # type: ignore[misc]
    API_KEY = 45

    def __init__(self, wanted: Mapping[TopicPartition, Sequence[int]]) -> None:
        self._wanted = wanted

    def build(self, request_struct_class: type[_ReassignmentsStruct]) -> _ReassignmentsStruct:
        topics: list[tuple[object, ...]] = [
            (topic, [(number, self._wanted[TopicPartition(topic, number)], {}) for number in numbers], {})
            for topic, numbers in _by_topic(self._wanted)
        ]
        return request_struct_class(_TIMEOUT_MS, topics, {})


class _ElectionsResponse(Response):  # type: ignore[misc]
    API_KEY = 43
    API_VERSION = 1
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        (
            "topics",
            Array(
                ("name", String("utf-8")),
                (
                    "partitions",
                    Array(("partition", Int32), ("error_code", Int16), ("error_message", String("utf-8"))),
                ),
            ),
        ),
    )


class _ElectionsStruct(RequestStruct):  # type: ignore[misc]
    API_KEY = 43
    API_VERSION = 1
    RESPONSE_TYPE = _ElectionsResponse
    SCHEMA = Schema(
        ("election_type", Int8),
        ("topics", Array(("name", String("utf-8")), ("partitions", Array(Int32)))),
        ("timeout_ms", Int32),
    )


class _ElectLeaders(Request[_ElectionsStruct]):  # type: ignore[misc]
    API_KEY = 43

    def __init__(self, partitions: Iterable[TopicPartition]) -> None:
        self._partitions = partitions

    def build(self, request_struct_class: type[_ElectionsStruct]) -> _ElectionsStruct:
        return request_struct_class(_PREFERRED, _by_topic(self._partitions), _TIMEOUT_MS)


async def replicas_of(admin: AIOKafkaAdminClient, topics: Iterable[str]) -> dict[TopicPartition, list[int]]:
    """The nodes that have each partition; the first one is to lead it."""
    return {place: found["replicas"] for place, found in await _described(admin, topics)}


async def leaders_of(admin: AIOKafkaAdminClient, topics: Iterable[str]) -> dict[TopicPartition, int]:
    """The node that leads each partition; -1 where none does."""
    return {place: found["leader"] for place, found in await _described(admin, topics)}


async def reassign(admin: AIOKafkaAdminClient, wanted: Mapping[TopicPartition, Sequence[int]]) -> None:
    """Tells each partition's replicas, in order. Who leads is not changed, unless it is to have the partition no more.

    What is to be copied is not waited for. Raises KafkaError where one is not accepted.
    """
    _look_at(await admin._send_to_controller(_AlterPartitionReassignments(wanted)))


async def elect(admin: AIOKafkaAdminClient, partitions: Iterable[TopicPartition]) -> None:
    """Has each led by the first of its replicas, if that one is in sync. Raises KafkaError for all other reasons."""
    response = await admin._send_to_controller(_ElectLeaders(partitions))
    _look_at(response, fine=(_PREFERRED_LEADER_NOT_AVAILABLE, _ELECTION_NOT_NEEDED))


def _look_at(response: Response, *, fine: Sequence[int] = ()) -> None:
    found = response.to_object()
    codes = [found["error_code"], *(one["error_code"] for topic in found["topics"] for one in topic["partitions"])]
    for code in codes:
        if code and code not in fine:
            raise for_code(code)(str(found))


async def _described(admin: AIOKafkaAdminClient, topics: Iterable[str]) -> list[tuple[TopicPartition, dict[str, Any]]]:
    return [
        (TopicPartition(topic["topic"], one["partition"]), one)
        for topic in await admin.describe_topics(list(topics))
        for one in topic["partitions"]
    ]


def _by_topic(partitions: Iterable[TopicPartition]) -> list[tuple[str, list[int]]]:
    numbers = defaultdict(list)
    for topic, number in partitions:
        numbers[topic].append(number)
    return list(numbers.items())
