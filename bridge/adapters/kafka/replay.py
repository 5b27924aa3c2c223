"""Dead letters on the cluster: read, found, and sent back to where they came from, each once.

Letters, the note that they were sent and the group's position are one transaction. Whoever starts a replay ends the
former one first (they share a transactional id), and reads the notes only then: so of two replays, or after a kill, no
letter is sent twice. The notes count, not the position: letters that were not selected stay behind it, or before it.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from math import ceil
from time import monotonic

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from bridge.adapters.kafka.clients import Clients, group_of
from bridge.adapters.kafka.committed import committed_positions
from bridge.adapters.kafka.reader import read
from bridge.adapters.kafka.spans import read_batches
from bridge.adapters.kafka.start_stop import start_client, stop_clients
from bridge.adapters.kafka.take_over import Endings, take_over
from bridge.adapters.kafka.transactions import TransactionalWriter
from bridge.core.errors import FencedError, StartError, TransactionError, UnavailableError
from bridge.core.letters import Letter, Selection, letter_of
from bridge.core.records import NewRecord, Record
from bridge.core.replay import REPLAY_GROUP, LastWords, Left, Offsets, Span, fate_of, left_from, note_of, replayed_in
from bridge.core.topics import Topics
from bridge.ports import Clock

_ANSWER_S = 30.0
# A transaction that is open on the topic hides what comes after it, for as long as its timeout: a worker's is 15 s.
_SILENCE_S = 60.0
_STOP_S = 5.0
# One transaction.
_MAX_LETTERS = 200
_MAX_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Which letters are to be sent back, of which topics, and how."""

    topics: Sequence[str]
    selection: Selection = field(default_factory=Selection)
    max_replays: int = 3
    letters_per_s: float | None = None
    is_dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of the selected letters.

    `sent` are counted by their topic, class and the topic that they went to; `left` by topic and reason; `sent_before`
    by topic.
    """

    sent: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    left: Counter[tuple[str, str]] = field(default_factory=Counter)
    sent_before: Counter[str] = field(default_factory=Counter)


class Replay:
    """One run over the letters that stand on the topics when it comes to them; those that die again stay for the next.

    It runs once.
    """

    def __init__(self, clients: Clients, topics: Topics, *, max_frame_bytes: int, clock: Clock) -> None:
        self._clients = clients
        self._topics = topics
        self._max_frame_bytes = max_frame_bytes
        self._clock = clock
        self._group = group_of(clients.options, REPLAY_GROUP)
        self._reader: AIOKafkaConsumer = clients.reader()
        # Its ends are those that open transactions do not hide.
        self._probe: AIOKafkaConsumer = clients.reader(isolation_level="read_uncommitted")
        self._admin: AIOKafkaAdminClient = clients.admin()
        self._writer = TransactionalWriter(clients, group=self._group, number=0)
        self._last_words = LastWords(topics)
        self._outcome = Outcome()
        self._due_s = monotonic()

    async def run(self, order: Order) -> Outcome:
        """Sends what is to be sent, or with a dry run only tells it.

        Raises UnavailableError where Kafka does not answer, and StartError where another replay has begun meanwhile.
        What was sent until then is noted: it is not sent again.
        """
        clients = (self._reader, self._probe, self._admin)
        try:
            for client in clients:
                await start_client(client, timeout_s=_ANSWER_S)
            await self._replay_all(order)
        except FencedError as error:
            raise StartError("another replay has begun", remedy="let one of them run to its end") from error
        except TransactionError as error:
            raise UnavailableError("Kafka", f"{error}; what was sent is noted, so run it again") from error
        except (KafkaError, OSError, TimeoutError) as error:
            raise UnavailableError("Kafka", f"no answer: {type(error).__name__}") from error
        finally:
            await self._writer.close()
            await stop_clients(*clients, timeout_s=_STOP_S)
        return self._outcome

    async def _replay_all(self, order: Order) -> None:
        if not order.is_dry_run:
            await take_over(self._writer, self._written_to(), reader=self._reader, admin=self._admin, endings=Endings())
        if self._topics.dlq_ingress in order.topics:
            await self._read_last_words()
        for topic in order.topics:
            for number in range(self._topics.partitions):
                await self._replay(TopicPartition(topic, number), order)

    def _written_to(self) -> list[TopicPartition]:
        """What the replay before this one may have written to."""
        numbers = range(self._topics.partitions)
        return [TopicPartition(topic, number) for topic in self._topics.names() for number in numbers]

    async def _read_last_words(self) -> None:
        subscriptions = self._topics.interaction_subscriptions
        async with aclosing(read(self._clients, subscriptions, from_start=True, until_end=True)) as records:
            async for record in records:
                self._last_words.take(record)
        async with aclosing(read(self._clients, self._topics.dlq_ingress, from_start=True, until_end=True)) as letters:
            async for letter in letters:
                self._last_words.take_letter(letter)

    async def _replay(self, partition: TopicPartition, order: Order) -> None:
        first, end = await self._bounds(partition)
        if first >= end:
            return
        spans: list[Span] = []
        async with aclosing(read_batches(self._reader, partition, first, end, silence_s=_SILENCE_S)) as batches:
            async for batch in batches:
                spans += (span for record in batch for span in replayed_in(record) or ())
        sending = _Sending(partition, replayed=Offsets(spans), order=order, position=first)
        async with aclosing(read_batches(self._reader, partition, first, end, silence_s=_SILENCE_S)) as batches:
            async for batch in batches:
                for record in batch:
                    self._take(record, sending)
                    if sending.is_full:
                        await self._send(sending)
        await self._send(sending)
        await self._move_on(sending)

    async def _bounds(self, partition: TopicPartition) -> tuple[int, int]:
        """The first letter that may not have been sent back, and the end, what open transactions hide included."""
        committed = await committed_positions(self._admin, self._group, [partition], timeout_s=_ANSWER_S)
        async with asyncio.timeout(_ANSWER_S):
            begins = await self._probe.beginning_offsets([partition])
            ends = await self._probe.end_offsets([partition])
        first = left_from(begin=begins[partition], passed=committed.get(partition, 0), end=ends[partition])
        return first, ends[partition]

    def _take(self, record: Record, sending: "_Sending") -> None:
        if replayed_in(record) is not None:
            sending.pass_over(record.offset)
            return
        letter, topic = letter_of(record), record.topic
        is_selected = sending.order.selection.includes(letter)
        if record.offset in sending.replayed:
            self._outcome.sent_before[topic] += is_selected
            sending.pass_over(record.offset)
            return
        if not is_selected:
            sending.leave(record.offset)
            return
        fate = self._fate(letter, sending.order)
        if isinstance(fate, Left):
            self._outcome.left[topic, fate.reason] += 1
            sending.leave(record.offset)
            return
        self._outcome.sent[topic, letter.dlq_class, fate.topic] += 1
        if not sending.order.is_dry_run:
            sending.take(record.offset, fate)

    def _fate(self, letter: Letter, order: Order) -> NewRecord | Left:
        return fate_of(
            letter,
            topics=self._topics,
            last_words=self._last_words,
            max_replays=order.max_replays,
            max_frame_bytes=self._max_frame_bytes,
        )

    async def _send(self, sending: "_Sending") -> None:
        if not sending.offsets:
            return
        await asyncio.sleep(max(0.0, self._due_s - monotonic()))
        partition = sending.partition
        note = note_of(partition.topic, partition.partition, sending.offsets, at_ms=self._clock())
        await self._writer.write([*sending.records, note], {partition: sending.position})
        if sending.order.letters_per_s is not None:
            self._due_s = max(self._due_s, monotonic()) + len(sending.offsets) / sending.order.letters_per_s
        sending.clear()

    async def _move_on(self, sending: "_Sending") -> None:
        """Moves the group's position over what earlier replays have sent, where nothing was sent after it."""
        if sending.has_moved and not sending.order.is_dry_run:
            await self._writer.write([], {sending.partition: sending.position})


class _Sending:
    """One partition in a replay: what the next transaction takes, and the group's position after it."""

    def __init__(self, partition: TopicPartition, *, replayed: Offsets, order: Order, position: int) -> None:
        self.partition = partition
        self.replayed = replayed
        self.order = order
        self.position = position
        self.records: list[NewRecord] = []
        self.offsets: list[int] = []
        self._bytes = 0
        self._written = position
        self._is_at_rest = False
        rate = order.letters_per_s
        self._max_letters = _MAX_LETTERS if rate is None else max(1, min(_MAX_LETTERS, ceil(rate)))

    @property
    def is_full(self) -> bool:
        return len(self.offsets) >= self._max_letters or self._bytes >= _MAX_BYTES

    @property
    def has_moved(self) -> bool:
        """True while the position is another than the one that was written last."""
        return self.position != self._written

    def take(self, offset: int, record: NewRecord) -> None:
        self.records.append(record)
        self.offsets.append(offset)
        self._bytes += record.size
        self.pass_over(offset)

    def pass_over(self, offset: int) -> None:
        """Nothing is left to do with what stands there: the position goes behind it, unless a letter stays before."""
        if not self._is_at_rest:
            self.position = offset + 1

    def leave(self, offset: int) -> None:
        """A letter stays: the position stays before it, too."""
        if not self._is_at_rest:
            self._is_at_rest, self.position = True, offset

    def clear(self) -> None:
        self.records, self.offsets, self._bytes = [], [], 0
        self._written = self.position
