"""The positions that a consumer group has committed, told apart from "nobody knows"."""

from collections.abc import Iterable

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import for_code
from aiokafka.protocol.commit import OffsetFetchRequest

from bridge.adapters.kafka.coordinators import patiently


async def committed_positions(
    admin: AIOKafkaAdminClient, group: str, partitions: Iterable[TopicPartition], *, timeout_s: float
) -> dict[TopicPartition, int]:
    """The committed position of each partition that has one.

    Raises UnavailableError where the group's coordinator gives no answer within `timeout_s`, or an error that does not
    pass. aiokafka's own `list_consumer_group_offsets` drops an error that concerns the whole group and answers with an
    empty dictionary, which reads like a group that never committed: for us the difference between going on and starting
    over.
    """
    by_topic: dict[str, list[int]] = {}
    for partition in partitions:
        by_topic.setdefault(partition.topic, []).append(partition.partition)
    request = OffsetFetchRequest(group, list(by_topic.items()))
    return await patiently(
        lambda: _ask(admin, group, request), about=f"committed positions of {group}", timeout_s=timeout_s
    )


async def _ask(admin: AIOKafkaAdminClient, group: str, request: OffsetFetchRequest) -> dict[TopicPartition, int]:
    coordinator = await admin.find_coordinator(group)
    # Private, because the public call hides `error_code`; aiokafka is pinned exactly.
    response = await admin._send_request(request, coordinator)  # noqa: SLF001
    _raise_for(response.error_code)
    found = {}
    for topic, answers in response.topics:
        for number, position, _, code in answers:
            _raise_for(code)
            if position >= 0:
                found[TopicPartition(topic, number)] = position
    return found


def _raise_for(code: int) -> None:
    if code:
        raise for_code(code)
