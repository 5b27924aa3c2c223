"""`bridge verify` on a cluster: what the topics hold and where the groups stand, then the books number by number."""

import asyncio
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from bridge.adapters.kafka import topics as kafka_topics
from bridge.adapters.kafka.clients import Clients, group_of
from bridge.adapters.kafka.committed import committed_positions
from bridge.adapters.kafka.in_step import NumberReader, Span
from bridge.adapters.kafka.spans import find
from bridge.adapters.kafka.start_stop import start_client, stop_client
from bridge.core import acceptance
from bridge.core.errors import StartError, UnavailableError
from bridge.core.letters import Place
from bridge.core.records import Record
from bridge.core.replay import Offsets
from bridge.core.topics import Topics
from bridge.core.verify import Moves, NumberBooks
from bridge.core.verify_findings import Findings, Report
from bridge.core.verify_in_step import InStep
from bridge.core.verify_scope import MARGIN_MS, Scope, scope_of, topics_exact, topics_read
from bridge.core.verify_sources import DeadInputs

_T = TypeVar("_T")

_ANSWER_S = 30.0
_STOP_S = 5.0
# Other tasks of the loop have their turn after so many records, about 5 ms.
_SLICE_RECORDS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a check has come: offsets done, of so many, and the number that is read."""

    done: int
    total: int
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What of the topics is asked for: times in epoch milliseconds, None for all there is; offenders named at most.

    `first` and `last` are records: only their partition number is looked at, between the times when they were written.
    """

    since_ms: int | None = None
    until_ms: int | None = None
    first: Place | None = None
    last: Place | None = None
    max_offenders: int = 20

    @property
    def number(self) -> int | None:
        """The only number that is asked for."""
        place = self.first or self.last
        return None if place is None else place.partition


async def verify(
    clients: Clients,
    topics: Topics,
    *,
    asked: Asked | None = None,
    options: acceptance.Options | None = None,
    told: Callable[[Progress], None] | None = None,
) -> Report:
    """Proves the books of what stands on the topics at the call, record by record. Nothing is written.

    `options` are those of the tally. What the groups have not worked yet is open, and breaks no line. Raises StartError
    where topics are missing or have other partitions, or no record stands at a place that is asked for,
    UnavailableError where Kafka does not answer.
    """
    problems = await kafka_topics.check(clients, topics)
    if problems:
        raise StartError("; ".join(problems), remedy=kafka_topics.remedy_of(problems))
    asked = await _in_times(clients, topics, asked or Asked())
    bounds = await _Asking(clients, topics, asked).bounds()
    findings = Findings(max_offenders=asked.max_offenders)
    findings.notes += bounds.notes
    checking = _Checking(
        topics, bounds, findings, asked=asked, options=options or acceptance.Options(), told=told or _tell_nobody
    )
    async with NumberReader(clients, topics_read(topics)) as reader:
        return await checking.check_all(reader)


def _tell_nobody(_: Progress) -> None:
    """Nobody looks."""


async def _in_times(clients: Clients, topics: Topics, asked: Asked) -> Asked:
    """The same, with the times of its places."""
    since_ms, until_ms = asked.since_ms, asked.until_ms
    if asked.first is not None:
        # What a record was made of was written before it.
        is_made = asked.first.topic not in {topics.raw_suggestions, topics.suggestion_clicks}
        since_ms = (await _record_at(clients, asked.first)).timestamp - is_made * MARGIN_MS
    if asked.last is not None:
        until_ms = (await _record_at(clients, asked.last)).timestamp + 1
    return replace(asked, since_ms=since_ms, until_ms=until_ms)


async def _record_at(clients: Clients, place: Place) -> Record:
    record = await find(clients, place)
    if record is None:
        raise StartError(
            f"{place}: no record stands there, or not any more", remedy="name one that `bridge tail` shows"
        )
    return record


# -- where things stand ------------------------------------------------------------------------------------------------

_Offsets = Mapping[TopicPartition, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bounds:
    """By partition: what is read, from where on records count, before which they must have been worked."""

    spans: Mapping[TopicPartition, Span]
    begins: _Offsets
    due_before: _Offsets
    shortened: Collection[TopicPartition]
    letters_kept_from_ms: Mapping[str, int]
    notes: Sequence[str]


class _Asking:
    """Asks for positions first, then for ends, the topics that are written last first.

    So whatever was made of a record, the record itself is before its topic's end; and what a group had committed when
    it was asked, is before the ends of the topics that it writes to. The ends are high watermarks: of an open
    transaction nobody knows yet whether it counts.
    """

    def __init__(self, clients: Clients, topics: Topics, asked: Asked) -> None:
        self._clients = clients
        self._topics = topics
        self._asked = asked
        self._notes: list[str] = []

    async def bounds(self) -> _Bounds:
        kept_from_ms = await self._letters_kept_from_ms()
        everything = [one for topic in topics_read(self._topics) for one in self._partitions(topic)]
        reader = self._clients.reader(isolation_level="read_uncommitted")
        reader.assign(everything)
        reader.pause(*everything)  # It only asks.
        await start_client(reader, timeout_s=_ANSWER_S)
        try:
            async with asyncio.timeout(_ANSWER_S * 2):
                return await self._bounds(reader, everything, kept_from_ms)
        except (KafkaError, OSError, TimeoutError) as error:
            raise UnavailableError("Kafka", f"no offsets: {type(error).__name__}") from error
        finally:
            await stop_client(reader, timeout_s=_STOP_S)

    async def _letters_kept_from_ms(self) -> Mapping[str, int]:
        topics, now_ms = self._topics, time.time_ns() // 1_000_000
        letters = (topics.dlq_ranker, topics.dlq_clicks, topics.dlq_exports)
        kept = await kafka_topics.retention_ms(self._clients, letters)
        return {topic: now_ms - kept_ms for topic, kept_ms in kept.items()}

    async def _bounds(
        self,
        reader: AIOKafkaConsumer,
        everything: Sequence[TopicPartition],
        letters_kept_from_ms: Mapping[str, int],
    ) -> _Bounds:
        due_before = await self._committed()
        ends = await self._ends(reader)
        first: _Offsets = await reader.beginning_offsets(everything)
        since, until = self._asked.since_ms, self._asked.until_ms
        begins = first if since is None else await _at(reader, since, first, ends)
        read_from = first if since is None else await _at(reader, since - MARGIN_MS, first, ends)
        if until is not None:
            late = await _at(reader, until, first, ends)
            due_before = {one: min(position, late[one]) for one, position in due_before.items()}
        raw = self._topics.raw_suggestions
        return _Bounds(
            spans={one: Span(begins[one] if one.topic == raw else read_from[one], ends[one]) for one in everything},
            begins=begins,
            due_before=due_before,
            shortened={one for one in everything if read_from[one] == first[one] > 0},
            letters_kept_from_ms=letters_kept_from_ms,
            notes=self._notes,
        )

    async def _committed(self) -> dict[TopicPartition, int]:
        inputs = {
            "ranker": [self._topics.raw_suggestions],
            "tally": [self._topics.ranked_suggestions, self._topics.suggestion_clicks],
            "exporter": [self._topics.acceptance_exports],
        }
        admin = self._clients.admin()
        await start_client(admin, timeout_s=_ANSWER_S)
        found: dict[TopicPartition, int] = {}
        try:
            for worker, topics in inputs.items():
                group = group_of(self._clients.options, worker)
                asked = [one for topic in topics for one in self._partitions(topic)]
                positions = await committed_positions(admin, group, asked, timeout_s=_ANSWER_S)
                if len(positions) < len(asked):
                    missing = len(asked) - len(positions)
                    self._notes.append(
                        f"{group} has no position on {missing} of {len(asked)} partitions: all of these counts as open"
                    )
                found |= positions
        finally:
            await stop_client(admin, timeout_s=_STOP_S)
        return found

    async def _ends(self, reader: AIOKafkaConsumer) -> _Offsets:
        topics = self._topics
        inputs = [topics.suggestion_clicks, topics.ranked_suggestions, topics.raw_suggestions]
        results = [topic for topic in topics_read(topics) if topic not in inputs]
        ends: dict[TopicPartition, int] = {}
        for level in (results, *([topic] for topic in inputs)):
            ends |= await reader.end_offsets([one for topic in level for one in self._partitions(topic)])
        return ends

    def _partitions(self, topic: str) -> Iterator[TopicPartition]:
        return (TopicPartition(topic, number) for number in range(self._topics.partitions))


async def _at(reader: AIOKafkaConsumer, at_ms: int, first: _Offsets, ends: _Offsets) -> _Offsets:
    """The first record of each partition that was written at a time or later."""
    found = await reader.offsets_for_times(dict.fromkeys(first, max(0, at_ms)))
    return {one: ends[one] if at is None else max(first[one], at.offset) for one, at in found.items()}


# -- the books ---------------------------------------------------------------------------------------------------------


class _Checking:
    """The books of all numbers, one after another: so what is held is what one of them has open."""

    def __init__(
        self,
        topics: Topics,
        bounds: _Bounds,
        findings: Findings,
        *,
        asked: Asked,
        options: acceptance.Options,
        told: Callable[[Progress], None],
    ) -> None:
        self._topics = topics
        self._bounds = bounds
        self._findings = findings
        self._asked = asked
        self._options = options
        self._told = told
        self._moves = Moves(topics.suggestion_clicks, findings)
        self._numbers = range(topics.partitions) if asked.number is None else [asked.number]
        self._total = sum(span.end - span.begin for one, span in bounds.spans.items() if one.partition in self._numbers)
        self._done = 0
        self._records = 0
        self._paused_at = 0

    async def check_all(self, reader: NumberReader) -> Report:
        scopes = {}
        for number in self._numbers:
            spans = _of(number, self._bounds.spans)
            dead = await self._dead(reader, spans[self._topics.dlq_clicks], number=number)
            in_step = await reader.begin(number, spans, exact=topics_exact(self._topics))
            scope = scopes[number] = self._scope(number, in_step, dead)
            books = NumberBooks(scope, self._options, self._findings, self._moves)
            await self._check(books, in_step, reader, spans, number=number)
            books.finish()
            self._done += sum(span.end - span.begin for span in spans.values())
        self._moves.finish(scopes, partitions=self._topics.partitions, until_ms=self._asked.until_ms)
        self._told(Progress(done=self._total, total=self._total, number=self._topics.partitions))
        return self._findings.report(records=self._records)

    async def _dead(self, reader: NumberReader, span: Span, *, number: int) -> Mapping[str, Offsets]:
        """What the tally has set aside, which must be known before lists and clicks are counted."""
        dead = DeadInputs(number=number)
        async for letters in reader.runs(self._topics.dlq_clicks, number, span):
            dead.take(letters)
        return dead.by_topic()

    async def _check(
        self, books: NumberBooks, in_step: InStep, reader: NumberReader, spans: Mapping[str, Span], *, number: int
    ) -> None:
        while in_step.wanting() or in_step.heads_ms():
            while (run := in_step.next_run()) is not None:
                topic, records = run
                books.take(topic, records, read_to=in_step.position)
                self._records += len(records)
                if self._records - self._paused_at >= _SLICE_RECORDS:
                    self._paused_at = self._records
                    await asyncio.sleep(0)
                    if self._is_enough(books, now_ms=records[0].timestamp):
                        return
            await reader.feed(in_step)
            here = sum(in_step.position(topic) - span.begin for topic, span in spans.items())
            self._told(Progress(done=self._done + here, total=self._total, number=number))

    def _is_enough(self, books: NumberBooks, *, now_ms: int) -> bool:
        """Whether all that was asked for is over, and nothing of it open that can still come."""
        until_ms = self._asked.until_ms
        return until_ms is not None and now_ms > until_ms + MARGIN_MS and not books.is_open(now_ms=now_ms)

    def _scope(self, number: int, in_step: InStep, dead: Mapping[str, Offsets]) -> Scope:
        since = self._asked.since_ms
        return scope_of(
            number,
            self._topics,
            reads_from={topic: span.begin for topic, span in _of(number, self._bounds.spans).items()},
            begins=_of(number, self._bounds.begins),
            due_before=_of(number, self._bounds.due_before),
            shortened=[one.topic for one in self._bounds.shortened if one.partition == number],
            heads_ms=in_step.heads_ms(),
            letters_kept_from_ms=self._bounds.letters_kept_from_ms,
            read_from_ms=None if since is None else since - MARGIN_MS,
            dead=dead,
        )


def _of(number: int, by_partition: Mapping[TopicPartition, _T]) -> dict[str, _T]:
    return {one.topic: value for one, value in by_partition.items() if one.partition == number}
