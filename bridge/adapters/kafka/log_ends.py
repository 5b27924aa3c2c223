"""How long partitions are, with what is not replicated yet and so not visible to any consumer."""

import asyncio
import random
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, LeaderNotAvailableError, NoError, for_code
from aiokafka.protocol.offset import OffsetRequest

from bridge.adapters.kafka.silence import end_silent_connections
from bridge.adapters.kafka.start_stop import own_cancellations_only
from bridge.core.errors import UnavailableError

# Kafka's protocol, ListOffsets: consumers ask as replica -1 and get the high watermark (or, reading committed, the last
# stable offset). Replicas ask with their broker's id: the leader, and nobody but the leader, tells them the end of its
# log. (-2, a debugging consumer, is answered by any replica: by one that has just come back with what it has so far.)
# No broker has this id.
_A_REPLICA = 2**31 - 1
_READ_UNCOMMITTED = 0
_LATEST = -1
_LOOKS = 3
# A broker that is silent, not gone, holds up only what it leads; together less than whoever samples waits for.
_ANSWER_S = 1.0
_UPDATE_S = 0.5
# Whoever needs all of them has a deadline of its own, and is better served by a late answer than by none.
_PATIENT_S = 5.0

_Questions = dict[int, dict[str, list[tuple[int, int]]]]


async def log_ends(consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
    """The end of each partition's log, as its leader has it.

    A record is stamped with its append time when the leader appends it, and can be read once the replicas in sync have
    it: so a reader that wants everything that was appended before a moment must read up to here. A broker that looks
    at no replica id answers with the high watermark. The end may move back when another replica becomes the leader.
    Raises LeaderNotAvailableError where one does not tell.
    """
    # Others may have asked for the same metadata just now, which are not there yet.
    for _ in range(_LOOKS):
        ends = await known_log_ends(consumer, partitions, within_s=_PATIENT_S)
        if len(ends) == len(set(partitions)):
            return ends
    raise LeaderNotAvailableError(f"of {len(partitions)} partitions not all have a leader that answers")


async def known_log_ends(
    consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition], *, within_s: float = _ANSWER_S
) -> Mapping[TopicPartition, int]:
    """The same, of those partitions whose leader tells within the time.

    Where any is left out, the leaders are looked up anew, for half a second while this waits.
    """
    # aiokafka has no call for this. It is pinned exactly.
    client = consumer._client  # noqa: SLF001
    for topic in {partition.topic for partition in partitions}:
        client.add_topic(topic)
    questions = list(_by_leader(client.cluster, partitions).items())
    # aiokafka connects to one broker after the other: one that is silent must not come first each time.
    random.shuffle(questions)
    answers = await asyncio.gather(
        *(_ask(client, leader, list(topics.items()), within_s=within_s) for leader, topics in questions)
    )
    ends = dict(end for answer in answers for end in answer)
    if len(ends) < len(set(partitions)):
        with suppress(TimeoutError):  # It goes on all the same.
            async with asyncio.timeout(_UPDATE_S):
                await client.force_metadata_update()
    return ends


async def left_open(consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition]) -> list[TopicPartition]:
    """The partitions on which a transaction may be open: whose log goes on behind what a read_committed consumer sees.

    The consumer must be one. Raises KafkaError.
    """
    stable = await consumer.end_offsets(partitions)
    ends = await log_ends(consumer, partitions)
    return [partition for partition in partitions if stable[partition] < ends[partition]]


def _by_leader(metadata: Any, partitions: Collection[TopicPartition]) -> _Questions:
    questions: _Questions = {}
    for partition in partitions:
        leader = metadata.leader_for_partition(partition)
        if leader is not None and leader >= 0:
            questions.setdefault(leader, {}).setdefault(partition.topic, []).append((partition.partition, _LATEST))
    return questions


async def _ask(client: Any, leader: int, question: list[Any], *, within_s: float) -> list[tuple[TopicPartition, int]]:
    """What a broker tells of the partitions that it leads; nothing where it does not answer."""
    try:
        with own_cancellations_only():
            async with asyncio.timeout(within_s):
                answer = await client.send(leader, OffsetRequest(_A_REPLICA, _READ_UNCOMMITTED, question))
    except (KafkaError, OSError, TimeoutError, UnavailableError):
        end_silent_connections(client)
        return []
    return [
        (TopicPartition(topic, number), end)
        for topic, numbers in answer.topics
        for number, code, _, end, *_ in numbers
        if for_code(code) is NoError
    ]
