"""How long partitions are, with what is not replicated yet and so not visible to any consumer."""

import asyncio
from collections.abc import Collection, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, LeaderNotAvailableError, NoError, for_code
from aiokafka.protocol.offset import OffsetRequest

# Kafka's protocol, ListOffsets: consumers ask as replica -1 and get the high watermark (or, reading committed, the last
# stable offset). Replicas ask with their broker's id: the leader, and nobody but the leader, tells them the end of its
# log. (-2, a debugging consumer, is answered by any replica: by one that has just come back with what it has so far.)
# No broker has this id.
_A_REPLICA = 2**31 - 1
_READ_UNCOMMITTED = 0
_LATEST = -1
_LOOKS = 3

_Questions = dict[int, dict[str, list[tuple[int, int]]]]


async def log_ends(consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
    """The end of each partition's log, as its leader has it.

    A record is stamped with its append time when the leader appends it, and can be read once the replicas in sync have
    it: so a reader that wants everything that was appended before a moment must read up to here. A broker that looks
    at no replica id answers with the high watermark. The end may move back when another replica becomes the leader.
    Raises KafkaError; the leaders are looked up anew then.
    """
    # aiokafka has no call for this. It is pinned exactly.
    client = consumer._client  # noqa: SLF001
    try:
        questions = await _by_leader(client, partitions)
        answers = await asyncio.gather(
            *(
                client.send(leader, OffsetRequest(_A_REPLICA, _READ_UNCOMMITTED, list(topics.items())))
                for leader, topics in questions.items()
            )
        )
        return dict(end for answer in answers for end in _ends_in(answer))
    except (KafkaError, OSError):
        client.force_metadata_update()
        raise


async def left_open(consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition]) -> list[TopicPartition]:
    """The partitions on which a transaction may be open: whose log goes on behind what a read_committed consumer sees.

    The consumer must be one. Raises KafkaError.
    """
    stable = await consumer.end_offsets(partitions)
    ends = await log_ends(consumer, partitions)
    return [partition for partition in partitions if stable[partition] < ends[partition]]


async def _by_leader(client: Any, partitions: Collection[TopicPartition]) -> _Questions:
    for topic in {partition.topic for partition in partitions}:
        client.add_topic(topic)
    # Others may have asked for the same metadata just now, which are not there yet.
    for _ in range(_LOOKS):
        questions = _with_leaders(client.cluster, partitions)
        if questions is not None:
            return questions
        await client.force_metadata_update()
    raise LeaderNotAvailableError(f"of {len(partitions)} partitions not all have a leader")


def _with_leaders(metadata: Any, partitions: Collection[TopicPartition]) -> _Questions | None:
    questions: _Questions = {}
    for partition in partitions:
        leader = metadata.leader_for_partition(partition)
        if leader is None or leader < 0:
            return None
        questions.setdefault(leader, {}).setdefault(partition.topic, []).append((partition.partition, _LATEST))
    return questions


def _ends_in(answer: Any) -> list[tuple[TopicPartition, int]]:
    ends = []
    for topic, numbers in answer.topics:
        for number, code, _, end, *_ in numbers:
            error = for_code(code)
            if error is not NoError:
                raise error(f"{topic}-{number}")
            ends.append((TopicPartition(topic, number), end))
    return ends
