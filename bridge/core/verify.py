"""The books, record by record: what stands on the topics, number after number -> lines that balance, or offenders."""

from collections.abc import Callable, Mapping, Sequence

import msgspec

from bridge.core import acceptance
from bridge.core.dead_letters import REPLAY_COUNT
from bridge.core.records import X_SOURCE, Kind, Record, StoredRecord
from bridge.core.verify_exporter import ExporterBooks
from bridge.core.verify_findings import MOVED, Findings
from bridge.core.verify_ranker import RETRIEVED_TOLD, SUPERSEDED, WITHHELD, RankerBooks
from bridge.core.verify_scope import Scope
from bridge.core.verify_tally import MOVED as MOVED_BIT
from bridge.core.verify_tally import REFUSED_TOLD, REPEATED, TOLD, TallyBooks


class _Lost(msgspec.Struct, frozen=True, kw_only=True):
    topic: str
    partition: int
    from_: int = msgspec.field(name="from")
    to: int


_lost = msgspec.json.Decoder(_Lost)


class Moves:
    """Clicks that went from one number to another: told on the one, read on the other. They outlive a number."""

    def __init__(self, topic: str, findings: Findings) -> None:
        self._topic = topic
        self._place = f"{topic}/".encode()
        self._findings = findings
        self._told: dict[bytes, Record] = {}
        self._come: dict[bytes, Record] = {}

    def told(self, record: Record, source: bytes) -> None:
        """`click_moved`, of the click at `source` (topic/partition/offset)."""
        if self._come.pop(source, None) is None:
            self._told[source] = _place_of(record)
        else:
            self._findings.count(MOVED, left=1, right=1)

    def came(self, record: Record, source: bytes) -> None:
        """A click that says that it had stood at `source`."""
        if not source.startswith(self._place):
            return
        if self._told.pop(source, None) is None:
            self._come[source] = _place_of(record)
        else:
            self._findings.count(MOVED, left=1, right=1)

    def finish(self, scopes: Mapping[int, Scope], *, partitions: int, until_ms: int | None = None) -> None:
        """Names those of which only one half is there; of `partitions` numbers, those of `scopes` were looked at.

        Each number may have been read only until `until_ms`, None for its end.
        """
        if len(scopes) < partitions:
            self._findings.count(MOVED, left=len(self._told), right=len(self._come))
            self._findings.count(MOVED, unproven=len(self._told) + len(self._come))
            return
        for source, record in self._told.items():
            if until_ms is not None and record.timestamp > until_ms:
                self._findings.count(MOVED, left=1, unproven=1)
                continue
            self._judge(source, record, scopes, left=1, right=0, what="the click that it moved is not there")
        for source, record in self._come.items():
            self._judge(
                source, record, scopes, left=0, right=1, what="it says that it was moved, and no click_moved does"
            )

    def _judge(
        self, source: bytes, record: Record, scopes: Mapping[int, Scope], *, left: int, right: int, what: str
    ) -> None:
        number, _, offset = source.removeprefix(self._place).partition(b"/")
        scope = scopes.get(int(number)) if number.isdigit() and offset.isdigit() else None
        if scope is not None and int(offset) < scope.begins[self._topic]:
            return
        self._findings.count(MOVED, left=left, right=right)
        if scope is not None and int(offset) >= scope.due_before.get(self._topic, 0):
            self._findings.count(MOVED, open=1)
        else:
            self._findings.tell(MOVED, record, what)


def _place_of(record: Record) -> Record:
    """Where and when it stands, without the rest: with a foreign partitioner, most clicks wait for another number."""
    return StoredRecord(
        topic=record.topic, partition=record.partition, offset=record.offset, timestamp=record.timestamp
    )


class NumberBooks:
    """The books of one number, from its topics in step (`verify_in_step.py`)."""

    def __init__(self, scope: Scope, options: acceptance.Options, findings: Findings, moves: Moves) -> None:
        topics = scope.topics
        self._scope = scope
        self._findings = findings
        self._moves = moves
        self._ranker = RankerBooks(scope, findings)
        self._tally = TallyBooks(scope, options, findings)
        self._exporter = ExporterBooks(scope, findings)
        self._takers: Mapping[str, Callable[[Sequence[Record]], None]] = {
            topics.raw_suggestions: self._ranker.raw,
            topics.ranked_suggestions: self._ranked,
            topics.suggestion_clicks: self._clicks,
            topics.interaction_acceptance: self._tally.recounting.states,
            topics.acceptance_exports: self._exports,
            topics.suggestion_audit: self._audit,
            topics.dlq_ranker: self._ranker.dead,
            topics.dlq_clicks: self._tally.dead,
            topics.dlq_exports: self._exporter.dead,
        }
        tally = self._tally.clicks
        self._told: Mapping[bytes, Callable[[Record, bytes | None], object]] = {
            _kind("suggestions_retrieved"): lambda record, source: self._ranker.told(record, source, RETRIEVED_TOLD),
            _kind("suggestions_withheld"): lambda record, source: self._ranker.told(record, source, WITHHELD),
            _kind("suggestions_superseded"): lambda record, source: self._ranker.told(record, source, SUPERSEDED),
            _kind("suggestion_accepted"): lambda record, source: tally.note(record, source, TOLD),
            _kind("click_repeated"): lambda record, source: tally.note(record, source, REPEATED),
            _kind("click_refused"): lambda record, source: tally.note(record, source, REFUSED_TOLD),
            _kind("click_moved"): self._moved,
            _kind("acceptance_exported"): self._exporter.told,
            _kind("input_lost"): self._lost,
        }

    def take(self, topic: str, records: Sequence[Record], *, read_to: Callable[[str], int]) -> None:
        """Takes the next run of records; `read_to` says up to which offset all records of a topic were given."""
        self._takers[topic](records)
        self._tally.recounting.advance(read_to)

    @property
    def open(self) -> int:
        """How many records are held: those that something is missing of, and those that wait to be counted."""
        ledgers = (self._ranker.sources.ledger, self._tally.clicks.ledger, self._exporter.sources.ledger)
        return sum(map(len, ledgers)) + self._tally.recounting.waiting

    def is_open(self, *, now_ms: int) -> bool:
        """Whether anything is missing that should be there and can still come, all topics being read to this time."""
        return (
            self._ranker.sources.is_open(now_ms=now_ms)
            or self._tally.clicks.is_open(now_ms=now_ms)
            or self._exporter.sources.is_open(now_ms=now_ms)
            or self._tally.recounting.is_open_before(self._scope.due_before)
        )

    def finish(self) -> None:
        """Tells what is not even; nothing more is read."""
        self._ranker.finish()
        self._tally.finish(self._scope)
        self._exporter.sources.finish()

    def _ranked(self, records: Sequence[Record]) -> None:
        self._ranker.ranked(records)
        self._tally.recounting.lists(records)

    def _clicks(self, records: Sequence[Record]) -> None:
        self._tally.click(records)
        for record in records:
            # A click that was moved ends in its source; one that was replayed since, in its count.
            last = next((one for one in reversed(record.headers) if one[0] in {X_SOURCE, REPLAY_COUNT}), None)
            if last is not None and last[0] == X_SOURCE:
                self._moves.came(record, last[1])

    def _exports(self, records: Sequence[Record]) -> None:
        self._exporter.sources.take(records)
        for record in records:
            headers = dict(record.headers)
            self._exporter.export(record, headers)
            if REPLAY_COUNT not in headers:
                self._tally.export(record, headers)

    def _audit(self, records: Sequence[Record]) -> None:
        told = self._told
        for record in records:
            headers = dict(record.headers)
            take = told.get(headers.get("ce_type", b""))
            if take is not None:
                take(record, headers.get(X_SOURCE))

    def _moved(self, record: Record, source: bytes | None) -> None:
        if self._tally.clicks.note(record, source, MOVED_BIT) is not None and source is not None:
            self._moves.told(record, source)

    def _lost(self, record: Record, _: bytes | None) -> None:
        try:
            lost = _lost.decode(record.value or b"")
        except msgspec.MsgspecError:
            return
        if lost.partition != self._scope.number:
            return
        inputs = (self._ranker.sources, self._tally.clicks, self._exporter.sources)
        # Lists that the tally has lost are lost, too, though nothing was due of each of them.
        if lost.topic in {self._scope.topics.ranked_suggestions, *(sources.topic for sources in inputs)}:
            self._findings.lost_offsets += lost.to - lost.from_
        for sources in inputs:
            if sources.topic == lost.topic:
                sources.lost.append((lost.from_, lost.to))


def _kind(event: str) -> bytes:
    return (Kind.AUDIT + event).encode()
