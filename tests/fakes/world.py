"""A number of the bridge in memory: topics whose records the hops' own pure steps have made, faults put in at will."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from bridge.core import acceptance, ranking
from bridge.core.acceptance import Tallies
from bridge.core.errors import MalformedError
from bridge.core.exports import export_of, set_aside, told
from bridge.core.records import Header, Kind, NewRecord, Record, StoredRecord, digest, made_here
from bridge.core.topics import Topics
from bridge.core.values import audit_from
from bridge.core.verdict import Delivered, Refused
from bridge.core.verify import Moves, NumberBooks
from bridge.core.verify_findings import Findings, Report
from bridge.core.verify_in_step import InStep
from bridge.core.verify_scope import Scope, topics_exact, topics_read
from bridge.core.verify_sources import DeadInputs
from bridge.workers.ranker import Newer, rank_batch
from bridge.workers.tally import Step

NOW_MS = 1_800_000_000_000

Alter = Callable[[NewRecord], Iterable[NewRecord]]


class World:
    """One number. Records get offsets and append times as a broker gives them; `alter` is put between hop and topic."""

    def __init__(
        self, topics: Topics, *, number: int = 0, options: acceptance.Options | None = None, at_ms: int = NOW_MS
    ) -> None:
        self.topics = topics
        self.number = number
        self.records: dict[str, list[Record]] = {name: [] for name in topics.names()}
        self.ends: dict[str, int] = dict.fromkeys(topics.names(), 0)
        self.worked: dict[str, int] = dict.fromkeys(topics.names(), 0)
        self.elsewhere: list[NewRecord] = []
        self.at_ms = at_ms
        self.alter: Alter = lambda record: (record,)
        self.refuses: Callable[[str], bool] = lambda interaction: False
        self.is_misread: Callable[[Record], bool] = lambda record: False
        self._waiting: dict[str, list[Record]] = {name: [] for name in topics.names()}
        self._tallies = Tallies(options or acceptance.Options())
        self._ranking = ranking.Options()
        self._version = ranking.version(self._ranking)
        self._serial = 0

    # -- what comes from outside ---------------------------------------------------------------------------------------

    def frame(self, interaction: str, *confidences: float, ce_id: str | None = None) -> Record:
        """Ingress writes a list."""
        self._serial += 1
        listed = [{"id": f"s{at}", "confidence": one, "relevanceScore": 0.5} for at, one in enumerate(confidences)]
        return self.raw(
            msgspec.json.encode({"interactionId": interaction, "suggestions": listed, "serial": self._serial}),
            interaction,
            ce_id=ce_id,
        )

    def raw(self, value: bytes, interaction: str, *, ce_id: str | None = None) -> Record:
        """Ingress writes a frame."""
        headers = made_here(
            kind=Kind.RECEIVED,
            subject=interaction,
            at_ms=self.at_ms,
            ce_id=ce_id or digest(interaction.encode(), value),
        )
        written = NewRecord(topic=self.topics.raw_suggestions, key=interaction.encode(), value=value, headers=headers)
        return self.append(written)

    def click(
        self, interaction: str, suggestion: str = "s0", *, click_id: str | None = None, headers: Sequence[Header] = ()
    ) -> Record:
        """An agent clicks."""
        body = {"interactionId": interaction, "suggestionId": suggestion, "articleId": "a"}
        value = msgspec.json.encode(body | ({"clickId": click_id} if click_id else {}))
        written = NewRecord(
            topic=self.topics.suggestion_clicks, key=interaction.encode(), value=value, headers=tuple(headers)
        )
        return self.append(written)

    def append(self, record: NewRecord) -> Record:
        """Anybody writes a record."""
        self.at_ms += 1
        stored = StoredRecord(
            topic=record.topic,
            partition=self.number,
            offset=self.ends[record.topic],
            timestamp=self.at_ms,
            key=record.key,
            value=record.value,
            headers=record.headers,
        )
        self.ends[record.topic] += 1
        self.records[record.topic].append(stored)
        self._waiting[record.topic].append(stored)
        return stored

    # -- the hops ------------------------------------------------------------------------------------------------------

    def work(self) -> None:
        """All hops work what there is; each in one transaction."""
        self.rank()
        self.tally()
        self.export()

    def rank(self, *, superseded: Iterable[Record] = ()) -> None:
        """The ranker works; of `superseded` it only tells."""
        raw = self._take(self.topics.raw_suggestions)
        left_out = {record.offset for record in superseded}
        ranked = [record for record in raw if record.offset not in left_out]
        # At the beginning of time, so that every list is fresh.
        newer = Newer(now_ms=0)
        self._write(rank_batch(ranked, options=self._ranking, topics=self.topics, version=self._version, newer=newer))
        for record in superseded:
            interaction = (record.key or b"").decode()
            self._write([audit_from(record, self.topics.suggestion_audit, "suggestions_superseded", interaction)])

    def tally(self) -> None:
        """The tally works."""
        records = [*self._take(self.topics.ranked_suggestions), *self._take(self.topics.suggestion_clicks)]
        clicks = self.topics.suggestion_clicks
        step = Step(self._tallies, topics=self.topics)
        for record in sorted(records, key=lambda one: (one.timestamp, one.topic == clicks, one.offset)):
            step.take(msgspec.structs.replace(record, value=b"{") if self.is_misread(record) else record)  # type: ignore[type-var]
        inputs = (self.topics.ranked_suggestions, clicks)
        if records:
            self._write(step.written({topic: self.worked[topic] for topic in inputs}))

    def export(self) -> None:
        """The exporter works."""
        for record in self._take(self.topics.acceptance_exports):
            try:
                export = export_of(record)
            except MalformedError as error:
                self._write(set_aside(record, error, topics=self.topics))
                continue
            verdict = (
                Refused(status=422, reason="the KMP answered 422")
                if self.refuses(export.interaction_id)
                else Delivered(status=200)
            )
            self._write(told(export, verdict, attempts=1, topics=self.topics))

    def _take(self, topic: str) -> list[Record]:
        taken, self._waiting[topic] = self._waiting[topic], []
        self.worked[topic] = self.ends[topic]
        return taken

    def _write(self, written: Iterable[NewRecord]) -> None:
        for record in written:
            for altered in self.alter(record):
                if altered.partition in {None, self.number}:
                    self.append(altered)
                else:
                    self.elsewhere.append(altered)

    # -- what verify is given ------------------------------------------------------------------------------------------

    def scope(self, **fields: Any) -> Scope:
        """All there is, worked as far as the hops have."""
        dead = DeadInputs(number=self.number)
        dead.take(self.records[self.topics.dlq_clicks])
        whole: dict[str, Any] = {
            "number": self.number,
            "topics": self.topics,
            "reads_from": dict.fromkeys(self.topics.names(), 0),
            "begins": dict.fromkeys(self.topics.names(), 0),
            "due_before": dict(self.worked),
            "proven_from_ms": {},
            "counted_from_ms": None,
            "dead": dead.by_topic(),
        }
        return Scope(**(whole | fields))


def checked(
    *worlds: World,
    options: acceptance.Options | None = None,
    partitions: int | None = None,
    until_ms: int | None = None,
    **fields: Any,
) -> Report:
    """What the books say of these numbers, of so many there are, and of all that was written until that time."""
    findings = Findings(max_offenders=20)
    moves = Moves(worlds[0].topics.suggestion_clicks, findings)
    scopes, records = {}, 0
    for world in worlds:
        scope = scopes[world.number] = world.scope(**fields)
        books = NumberBooks(scope, options or acceptance.Options(), findings, moves)
        for topic, run, in_step in runs(world.topics, world.records):
            books.take(topic, run, read_to=in_step.position)
            records += len(run)
        books.finish()
    moves.finish(scopes, partitions=partitions or len(worlds), until_ms=until_ms)
    return findings.report(records=records)


def runs(topics: Topics, records: Mapping[str, Sequence[Record]]) -> Iterator[tuple[str, Sequence[Record], InStep]]:
    """The records of a number in step, each topic given in one piece."""
    read = topics_read(topics)
    in_step = InStep(dict.fromkeys(read, 0), exact=topics_exact(topics))
    for topic in read:
        found = records[topic]
        in_step.feed(topic, found, position=found[-1].offset + 1 if found else 0, is_over=True)
    while (run := in_step.next_run()) is not None:
        yield *run, in_step


def wrong(report: Report) -> dict[str, int]:
    """How many break each line, for those that any do."""
    return {line.line: line.wrong for line in report.lines if not line.ok}


def places(report: Report) -> list[str]:
    """Where the offenders stand."""
    return [f"{one.topic}/{one.partition}/{one.offset}" for one in report.offenders]


def counts(report: Report, name: str) -> tuple[int, int, int, int]:
    """Left, right, open and unproven of a line."""
    line = next(line for line in report.lines if line.line == name)
    return line.left, line.right, line.open, line.unproven


def losing(topic: str, *, which: int = 1) -> Alter:
    """Loses the so many-th record that a hop writes to a topic, counted from 1."""
    return _nth(topic, which, lambda record: ())


def doubling(topic: str, *, which: int = 1) -> Alter:
    """Writes it twice."""
    return _nth(topic, which, lambda record: (record, record))


def changing(topic: str, change: Callable[[NewRecord], NewRecord], *, which: int = 1) -> Alter:
    """Writes another one instead."""
    return _nth(topic, which, lambda record: (change(record),))


def swapping(topic: str, *, which: int = 1) -> Alter:
    """Writes it after the one that follows."""
    held: list[NewRecord] = []
    seen = [0]

    def alter(record: NewRecord) -> Iterable[NewRecord]:
        if record.topic != topic:
            return (record,)
        seen[0] += 1
        if seen[0] == which:
            held.append(record)
            return ()
        return (record, held.pop()) if held else (record,)

    return alter


def swapping_one_key(topic: str, *, which: int) -> Alter:
    """Holds a record back until the next one of its key was written."""
    held: list[NewRecord] = []
    seen = [0]

    def alter(record: NewRecord) -> tuple[NewRecord, ...]:
        if record.topic != topic:
            return (record,)
        seen[0] += 1
        if seen[0] == which:
            held.append(record)
            return ()
        if held and held[0].key == record.key:
            return (record, held.pop())
        return (record,)

    return alter


def _nth(topic: str, which: int, change: Callable[[NewRecord], Iterable[NewRecord]]) -> Alter:
    seen = [0]

    def alter(record: NewRecord) -> Iterable[NewRecord]:
        seen[0] += record.topic == topic
        return change(record) if record.topic == topic and seen[0] == which else (record,)

    return alter
