"""From the assignment of a number to its first record: fence, positions, state, in exactly that order."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from bridge.adapters.kafka.clients import Clients
from bridge.adapters.kafka.committed import committed_positions
from bridge.adapters.kafka.outputs import worked_to
from bridge.adapters.kafka.spans import read_to_end
from bridge.adapters.kafka.start_stop import start_client, stop_client
from bridge.adapters.kafka.take_over import Endings, take_over
from bridge.adapters.kafka.transactions import TransactionalWriter
from bridge.core.errors import StartError, UnavailableError
from bridge.core.events.engine import InputLost
from bridge.core.positions import NoPositionError, Start, highest, start_of
from bridge.core.records import Kind, NewRecord, digest, made_here, positions_of
from bridge.core.times import to_rfc3339
from bridge.core.values import encode
from bridge.ports import Clock, Emit, Hop

_ANSWER_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the engine of one hop works on.

    `outputs` are the topics beside the state whose records name the input that they were made from. `moves_on`: the
    topics whose records a number may write to any number of `partitions`. `waits`: a number waits for something
    outside, on purpose. `partitions`: how many its inputs and outputs have; where it is not known, inputs need only be
    alike.
    """

    group: str
    topics: Sequence[str]
    state_topic: str | None
    audit_topic: str
    make_hop: Callable[[int], Hop]
    outputs: Sequence[str] = ()
    moves_on: Sequence[str] = ()
    waits: Callable[[int], bool] = lambda _: False
    partitions: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """A number that is ready to run."""

    hop: Hop
    writer: TransactionalWriter
    positions: Mapping[str, int]
    state_records: int


class Restorer:
    """Restores numbers of one hop; several at a time."""

    def __init__(
        self,
        clients: Clients,
        plan: Plan,
        *,
        admin: AIOKafkaAdminClient,
        endings: Endings,
        clock: Clock,
        emit: Emit,
    ) -> None:
        self._clients = clients
        self._plan = plan
        self._admin = admin
        self._endings = endings
        self._clock = clock
        self._emit = emit

    async def restore(self, number: int) -> Restored:
        """Makes a number ready to run; raises UnavailableError or TransactionError, after which nothing is held.

        The committed positions are read only after the producer has started: before that, the former owner may still
        commit.
        """
        writer = TransactionalWriter(self._clients, group=self._plan.group, number=number)
        try:
            return await self._restore(number, writer)
        except BaseException:
            await writer.close()
            raise

    async def _restore(self, number: int, writer: TransactionalWriter) -> Restored:
        reader, partitions = self._clients.reader(), self._written_by(number)
        await start_client(reader, timeout_s=_ANSWER_S, topics={partition.topic for partition in partitions})
        try:
            await take_over(writer, partitions, reader=reader, admin=self._admin, endings=self._endings)
            return await self._read(number, writer, reader)
        finally:
            await stop_client(reader, timeout_s=_ANSWER_S)

    def _written_by(self, number: int) -> list[TopicPartition]:
        topics = {*self._plan.outputs, self._plan.audit_topic, *filter(None, [self._plan.state_topic])}
        anywhere = [
            TopicPartition(topic, other) for topic in self._plan.moves_on for other in range(self._plan.partitions or 0)
        ]
        return [TopicPartition(topic, number) for topic in topics] + anywhere

    async def _read(self, number: int, writer: TransactionalWriter, reader: AIOKafkaConsumer) -> Restored:
        inputs = [TopicPartition(topic, number) for topic in self._plan.topics]
        committed = await committed_positions(self._admin, self._plan.group, inputs, timeout_s=_ANSWER_S)
        hop = self._plan.make_hop(number)
        state_records, in_state = await self._restore_state(reader, number, hop)
        in_outputs: Mapping[str, int] = {}
        if committed.keys() != set(inputs):
            in_outputs = await worked_to(reader, number, inputs=self._plan.topics, outputs=self._plan.outputs)
        beginnings, ends = await _bounds(reader, inputs)
        starts = {
            partition.topic: self._start(
                partition,
                committed=committed.get(partition),
                written=highest(in_state.get(partition.topic), in_outputs.get(partition.topic)),
                beginning=beginnings[partition],
                end=ends[partition],
            )
            for partition in inputs
        }
        if any(committed.get(partition) != starts[partition.topic].position for partition in inputs):
            await self._write_first(number, writer, starts)
        positions = {topic: start.position for topic, start in starts.items()}
        return Restored(hop=hop, writer=writer, positions=positions, state_records=state_records)

    async def _restore_state(self, reader: AIOKafkaConsumer, number: int, hop: Hop) -> tuple[int, dict[str, int]]:
        """Hands the state records to the hop; returns how many, and the highest positions that they carry."""
        count, highest = 0, dict[str, int]()
        if self._plan.state_topic is None:
            return count, highest
        async for record in read_to_end(reader, TopicPartition(self._plan.state_topic, number)):
            hop.restore(record)
            for topic, position in positions_of(record).items():
                highest[topic] = max(position, highest.get(topic, 0))
            count += 1
        return count, highest

    def _start(
        self, partition: TopicPartition, *, committed: int | None, written: int | None, beginning: int, end: int
    ) -> Start:
        start_from = self._clients.options.start_from
        try:
            return start_of(committed=committed, written=written, beginning=beginning, end=end, start_from=start_from)
        except NoPositionError as error:
            raise StartError(
                f"the group {self._plan.group} has no position on {partition.topic}/{partition.partition}",
                remedy="set kafka.start_from to earliest or latest for one start",
            ) from error

    async def _write_first(self, number: int, writer: TransactionalWriter, starts: Mapping[str, Start]) -> None:
        """Writes down positions that the group does not have, and what was lost, before the first record is worked."""
        lost = {topic: start for topic, start in starts.items() if start.lost_from is not None}
        offsets = {TopicPartition(topic, number): start.position for topic, start in starts.items()}
        await writer.write([self._audit_lost(topic, number, start) for topic, start in lost.items()], offsets)
        for topic, start in lost.items():
            self._emit(InputLost(topic=topic, partition=number, offsets=start.position - (start.lost_from or 0)))

    def _audit_lost(self, topic: str, number: int, start: Start) -> NewRecord:
        kind, at_ms = Kind.AUDIT + "input_lost", self._clock()
        value = {
            "event": "input_lost",
            "timestamp": to_rfc3339(at_ms),
            "topic": topic,
            "partition": number,
            "from": start.lost_from,
            "to": start.position,
        }
        subject = f"{topic}/{number}"
        ce_id = digest(kind.encode(), subject.encode(), b"%d" % start.position)
        headers = made_here(kind=kind, subject=subject, at_ms=at_ms, ce_id=ce_id)
        return NewRecord(topic=self._plan.audit_topic, key=None, value=encode(value), headers=headers)


async def _bounds(
    reader: AIOKafkaConsumer, partitions: Sequence[TopicPartition]
) -> tuple[Mapping[TopicPartition, int], Mapping[TopicPartition, int]]:
    """The first offset of each partition and its end."""
    try:
        async with asyncio.timeout(_ANSWER_S):
            return await reader.beginning_offsets(partitions), await reader.end_offsets(partitions)
    except (KafkaError, OSError, TimeoutError) as error:
        raise UnavailableError("Kafka", f"no offsets of the input topics: {type(error).__name__}") from error
