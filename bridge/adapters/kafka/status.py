"""What Kafka knows of the workers: who owns which partition, how far each group is, subscriptions, dead letters."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import KafkaError, for_code

from bridge.adapters.kafka import topics as kafka_topics
from bridge.adapters.kafka.clients import Clients, group_of
from bridge.adapters.kafka.committed import committed_positions
from bridge.adapters.kafka.peek import PEEK_BYTES, records_at
from bridge.adapters.kafka.reader import read
from bridge.adapters.kafka.spans import read_batches
from bridge.adapters.kafka.start_stop import start_client, stop_client, stop_clients
from bridge.core.errors import StartError, UnavailableError
from bridge.core.partitions import partition_of
from bridge.core.records import Record, header_of
from bridge.core.status import GroupStatus, LettersStatus, PartitionStatus, inputs_of
from bridge.core.subscriptions import is_alive
from bridge.core.topics import Topics

_ANSWER_S = 10.0
_STOP_S = 2.0
_PEEK_S = 1.0
_AGAIN_S = 0.2
# More of them are not counted: whoever sees so many needs `bridge dlq list`.
_MAX_LETTERS = 10_000
_WITHOUT_GROUP = "Dead"


@dataclass(frozen=True, slots=True, kw_only=True)
class Letters:
    """Dead letters by topic and class; `is_all` False where there were too many to count."""

    counts: list[LettersStatus]
    is_all: bool


class KafkaStatus:
    """Asks again and again over the same connections."""

    def __init__(
        self,
        clients: Clients,
        topics: Topics,
        *,
        reader: AIOKafkaConsumer,
        probe: AIOKafkaConsumer,
        admin: AIOKafkaAdminClient,
    ) -> None:
        self._clients = clients
        self._topics = topics
        self._reader = reader
        self._probe = probe
        self._admin = admin

    async def groups(self, *, now_ms: int) -> list[GroupStatus]:
        """Every worker's group. Raises UnavailableError."""
        return [await self._patiently(worker, inputs, now_ms=now_ms) for worker, inputs in self._inputs()]

    async def _patiently(self, worker: str, inputs: Sequence[TopicPartition], *, now_ms: int) -> GroupStatus:
        """A group, asked for again while its coordinator moves; on a new cluster the first question makes it."""
        give_up_s = monotonic() + _ANSWER_S
        while True:
            try:
                async with asyncio.timeout(_ANSWER_S):
                    return await self._group(worker, inputs, now_ms=now_ms)
            except (KafkaError, OSError, TimeoutError, UnavailableError) as error:
                if monotonic() > give_up_s:
                    reason = (
                        error.reason if isinstance(error, UnavailableError) else f"no answer: {type(error).__name__}"
                    )
                    raise UnavailableError("Kafka", reason) from error
            await asyncio.sleep(_AGAIN_S)

    async def subscriptions(self, *, ttl_s: float, now_ms: int) -> int:
        """How many subscriptions stand on the topic and have not expired. Raises UnavailableError."""
        latest: dict[bytes | None, Record] = {}
        topic = self._topics.interaction_subscriptions
        async with aclosing(read(self._clients, topic, from_start=True, until_end=True)) as records:
            async for record in records:
                if record.key is not None and partition_of(record.key, self._topics.partitions) == record.partition:
                    latest[record.key] = record
        return sum(is_alive(record, ttl_s=ttl_s, at_ms=now_ms) for record in latest.values())

    async def letters(self, *, since_ms: int) -> Letters:
        """Dead letters that were set aside since then. Raises UnavailableError."""
        topics = self._topics
        names = [topics.dlq_ingress, topics.dlq_ranker, topics.dlq_clicks, topics.dlq_exports]
        reader = self._clients.reader()
        found: Counter[tuple[str, str]] = Counter()
        try:
            await start_client(reader, timeout_s=_ANSWER_S)
            async with asyncio.timeout(_ANSWER_S * 2):
                await self._count_letters(reader, names, since_ms, found)
        except (KafkaError, OSError, TimeoutError) as error:
            raise UnavailableError("Kafka", f"cannot read dead letters: {type(error).__name__}") from error
        finally:
            await stop_client(reader, timeout_s=_STOP_S)
        counts = [LettersStatus(topic=topic, dlq_class=one, count=count) for (topic, one), count in found.items()]
        return Letters(
            counts=sorted(counts, key=lambda one: (names.index(one.topic), one.dlq_class)),
            is_all=found.total() < _MAX_LETTERS,
        )

    def _inputs(self) -> Sequence[tuple[str, Sequence[TopicPartition]]]:
        return [
            (worker, [TopicPartition(topic, number) for topic in inputs for number in range(self._topics.partitions)])
            for worker, inputs in inputs_of(self._topics).items()
        ]

    async def _group(self, worker: str, inputs: Sequence[TopicPartition], *, now_ms: int) -> GroupStatus:
        group = group_of(self._clients.options, worker)
        state, members = await self._described(group)
        owners = _owners(members)
        # In this order: what is written and committed between the two questions is not hidden.
        watermarks: Mapping[TopicPartition, int] = await self._probe.end_offsets(inputs)
        ends: Mapping[TopicPartition, int] = await self._reader.end_offsets(inputs)
        positions = await committed_positions(self._admin, group, inputs, timeout_s=_ANSWER_S / 2)
        behind = {one: position for one, position in positions.items() if position < ends[one]}
        oldest = await records_at(self._reader, behind, within_s=_PEEK_S) if behind else {}
        return GroupStatus(
            worker=worker,
            group=group,
            state=state,
            members=len(members),
            partitions=[
                PartitionStatus(
                    topic=one.topic,
                    partition=one.partition,
                    owner=owners.get(one, ""),
                    position=positions.get(one),
                    end=ends[one],
                    lag=max(0, ends[one] - positions[one]) if one in positions else None,
                    oldest_s=max(0, now_ms - oldest[one].timestamp) / 1000 if one in oldest else None,
                    hidden=max(0, watermarks[one] - ends[one]),
                )
                for one in inputs
            ],
        )

    async def _described(self, group: str) -> tuple[str, Sequence[Any]]:
        """The group's state in Kafka's word, and its members as DescribeGroups tells them. Raises KafkaError."""
        for answer in await self._admin.describe_consumer_groups([group]):
            for code, name, state, _protocol_type, _protocol, members, *_ in answer.groups:
                # aiokafka looks at no error of the answer's groups, as while a coordinator loads or moves.
                if code != 0:
                    raise for_code(code)(group)
                if name == group:
                    return ("no member yet" if state == _WITHOUT_GROUP else state), members
        return "unknown", []

    async def _count_letters(
        self, reader: AIOKafkaConsumer, topics: Sequence[str], since_ms: int, found: Counter[tuple[str, str]]
    ) -> None:
        partitions = [TopicPartition(topic, number) for topic in topics for number in range(self._topics.partitions)]
        ends: Mapping[TopicPartition, int] = await reader.end_offsets(partitions)
        first = await reader.offsets_for_times(dict.fromkeys(partitions, since_ms))
        for partition, at in first.items():
            if at is None or at.offset >= ends[partition]:
                continue
            async with aclosing(read_batches(reader, partition, at.offset, ends[partition])) as batches:
                async for batch in batches:
                    # The notes of replays stand there, too; they have no class.
                    classes = (header_of(record, "x-dlq-class") for record in batch)
                    found.update((partition.topic, one.decode(errors="replace")) for one in classes if one is not None)
                    if found.total() >= _MAX_LETTERS:
                        return


def _owners(members: Sequence[Any]) -> dict[TopicPartition, str]:
    """Who owns each partition: the member's id and where it connects from."""
    owners: dict[TopicPartition, str] = {}
    for member_id, _client_id, host, _metadata, assignment, *_ in members:
        if assignment:
            decoded = ConsumerProtocolMemberAssignment.decode(assignment)
            owners |= dict.fromkeys(decoded.partitions(), f"{member_id}@{host.lstrip('/')}")
    return owners


@asynccontextmanager
async def open_status(clients: Clients, topics: Topics) -> AsyncIterator[KafkaStatus]:
    """A status over open connections. Raises UnavailableError, or StartError where topics are missing."""
    problems = await kafka_topics.check(clients, topics)
    if problems:
        raise StartError("; ".join(problems), remedy=kafka_topics.remedy_of(problems))
    reader = clients.reader(max_partition_fetch_bytes=PEEK_BYTES)
    everything = [
        TopicPartition(topic, number)
        for inputs in inputs_of(topics).values()
        for topic in inputs
        for number in range(topics.partitions)
    ]
    reader.assign(everything)
    reader.pause(*everything)
    # Its ends are the high watermarks: open transactions do not hide them.
    probe = clients.reader(isolation_level="read_uncommitted")
    admin = clients.admin()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(stop_clients, reader, probe, admin, timeout_s=_STOP_S)
        for client in (reader, probe, admin):
            await start_client(client, timeout_s=_ANSWER_S)
        yield KafkaStatus(clients, topics, reader=reader, probe=probe, admin=admin)
