"""The positions that a consumer group has committed, told apart from "nobody knows"."""

import asyncio
from collections.abc import Iterable

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.commit import OffsetFetchRequest

from bridge.core.errors import UnavailableError


async def committed_positions(
    admin: AIOKafkaAdminClient, group: str, partitions: Iterable[TopicPartition], *, timeout_s: float
) -> dict[TopicPartition, int]:
    """The committed position of each partition that has one.

    Raises UnavailableError where the group's coordinator gives no answer or an error. aiokafka's own
    `list_consumer_group_offsets` drops an error that concerns the whole group and answers with an empty dictionary,
    which reads like a group that never committed: for us the difference between going on and starting over.
    """
    by_topic: dict[str, list[int]] = {}
    for partition in partitions:
        by_topic.setdefault(partition.topic, []).append(partition.partition)
    request = OffsetFetchRequest(group, list(by_topic.items()))
    try:
        async with asyncio.timeout(timeout_s):
            coordinator = await admin.find_coordinator(group)
            # Private, because the public call hides `error_code`; aiokafka is pinned exactly.
            response = await admin._send_request(request, coordinator)  # noqa: SLF001
    except (KafkaError, OSError, TimeoutError) as error:
        raise UnavailableError("Kafka", f"no committed positions of {group}: {type(error).__name__}") from error
    _raise_for(response.error_code, group)
    found = {}
    for topic, answers in response.topics:
        for number, position, _, code in answers:
            _raise_for(code, group)
            if position >= 0:
                found[TopicPartition(topic, number)] = position
    return found


def _raise_for(code: int, group: str) -> None:
    if code:
        raise UnavailableError("Kafka", f"no committed positions of {group}: {for_code(code).__name__}")
