"""ranked-suggestions and suggestion-clicks -> interaction-acceptance and acceptance-exports."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from bridge.core import acceptance
from bridge.core.acceptance import Acceptance, Tallies, decode_acceptance, export_id_of, export_of, identity_of_click
from bridge.core.dead_letters import malformed_letter
from bridge.core.errors import MalformedError
from bridge.core.events.hops import BatchTallied, TallyUnreadable
from bridge.core.merge import Merge
from bridge.core.partitions import partition_of
from bridge.core.ranking import decode_ranked
from bridge.core.records import (
    X_SOURCE,
    Header,
    Kind,
    NewRecord,
    Origin,
    Record,
    header_of,
    headers_from,
    identity_of,
    made_from,
    origin_of,
    positions_header,
    source_of,
)
from bridge.core.topics import MAX_RECORD_BYTES, Topics
from bridge.core.values import Click, audit_of, click_id_of, decode_click, id_in_key
from bridge.ports import Batch, Clock, Emit, Number

_MAX_BATCH_RECORDS = 4_000
# Of one topic, while they wait for the other.
_MAX_WAITING_RECORDS = 4_000
# One transaction; and how much of it is counted before other numbers have their turn (about 5 ms).
_MAX_STEP_RECORDS = 1_000
_SLICE_RECORDS = 100


class Tally:
    """The hop that counts: per interaction, what was shown and what was taken, restored from the topic it writes.

    What is counted is kept at once, before the commit: after a failed commit, or a cancelled `work`, drop this object.
    """

    def __init__(self, *, options: acceptance.Options, topics: Topics, emit: Emit, clock: Clock) -> None:
        self._topics = topics
        self._tallies = Tallies(options)
        self._emit = emit
        self._clock = clock

    def restore(self, record: Record) -> None:
        """Takes a record of `interaction-acceptance`; a null value is a tally that was forgotten."""
        if record.value is None:
            self._tallies.forget((record.key or b"").decode(errors="replace"))
            return
        try:
            self._tallies.restore(decode_acceptance(record))
        except MalformedError as error:
            self._emit(TallyUnreadable(partition=record.partition, offset=record.offset, reason=error.reason))

    async def work(self, number: Number) -> None:
        """Counts what the number has, in the order of log-append time, until it drains."""
        merge = Merge(first=self._topics.ranked_suggestions, second=self._topics.suggestion_clicks)
        while (batch := await self._take(number, merge)) is not None:
            merge.add(batch.records, positions=batch.positions, ends=batch.ends)
            while await self._step(number, merge):
                pass

    async def _take(self, number: Number, merge: Merge) -> Batch | None:
        return await number.take(max_records=_MAX_BATCH_RECORDS, topics=merge.topics_with_room(_MAX_WAITING_RECORDS))

    async def _step(self, number: Number, merge: Merge) -> bool:
        """Counts and commits what may be counted now; True if that was as much as one transaction takes."""
        step = Step(self._tallies, topics=self._topics)
        while step.records < _MAX_STEP_RECORDS:
            if not step.take_some(merge, at_most=_SLICE_RECORDS):
                break
            await asyncio.sleep(0)
        await number.commit(step.written(merge.positions), merge.positions)
        if step.records:
            self._tell(number.number, step, merge)
        return step.records >= _MAX_STEP_RECORDS

    def _tell(self, number: int, step: "Step", merge: Merge) -> None:
        count = step.counts
        self._emit(
            BatchTallied(
                number=number,
                lists=count["lists"],
                lists_repeated=count["lists_repeated"],
                clicks=count["clicks"],
                clicks_repeated=count["clicks_repeated"],
                clicks_moved=count["clicks_moved"],
                dead=count["dead"],
                forgotten=count["forgotten"],
                open_interactions=len(self._tallies),
                waiting=merge.waiting,
                age_s=max(0, self._clock() - step.oldest_ms) / 1000,
            )
        )


class Step:
    """One transaction of a tally in the making: records in, in the order in which they are to be counted."""

    def __init__(self, tallies: Tallies, *, topics: Topics) -> None:
        self.records = 0
        self.oldest_ms = 0
        self.counts: Counter[str] = Counter()
        self._tallies = tallies
        self._topics = topics
        self._written: list[NewRecord] = []
        # By interaction: the record that changed its tally last, and for tallies forgotten by it which one this is.
        self._touched: dict[str, tuple[Record, int]] = {}

    def take_some(self, merge: Merge, *, at_most: int) -> bool:
        """Takes records until there are none to be counted now (False), or `at_most` (True)."""
        for _ in range(at_most):
            record = merge.pop()
            if record is None:
                return False
            self.take(record)
        return True

    def take(self, record: Record) -> None:
        """Counts one record, or sets it aside."""
        if not self.records:
            self.oldest_ms = record.timestamp
        self.records += 1
        if record.topic == self._topics.ranked_suggestions:
            self._take_list(record)
        else:
            self._take_click(record)

    def written(self, positions: Mapping[str, int]) -> list[NewRecord]:
        """All that is to be written, once nothing more is taken; `positions` are those that are committed with it."""
        return [*self._states(positions_header(positions)), *self._written]

    def _states(self, positions: Header) -> Iterator[NewRecord]:
        for interaction_id, (source, number) in self._touched.items():
            known = self._tallies.get(interaction_id)
            headers = made_from(source, kind=Kind.ACCEPTANCE, subject=interaction_id, number=number)
            yield NewRecord(
                topic=self._topics.interaction_acceptance,
                key=interaction_id.encode(),
                value=None if known is None else msgspec.json.encode(known),
                headers=(*headers, positions),
            )

    def _take_list(self, record: Record) -> None:
        try:
            ranked = decode_ranked(record)
        except MalformedError as error:
            self._set_aside(record, error)
            return
        before = self._tallies.of(ranked.interaction_id, at_ms=record.timestamp)
        after = before.with_list(identity_of(record), ranked.suggestion_ids, at_ms=record.timestamp)
        if after is None:
            self.counts["lists_repeated"] += 1
            return
        self.counts["lists"] += 1
        self._keep(after, record)

    def _take_click(self, record: Record) -> None:
        try:
            click = decode_click(record)
            belongs_to = partition_of(click.interaction_id.encode(), self._topics.partitions)
            if belongs_to != record.partition:
                self._move(record, click, belongs_to)
                return
        except MalformedError as error:
            self._refuse(record, error)
            return
        self._count(record, click)

    def _count(self, record: Record, click: Click) -> None:
        origin = origin_of(record)
        identity = identity_of_click(click, record)
        before = self._tallies.of(click.interaction_id, at_ms=record.timestamp)
        counted = before.with_click(identity, click.suggestion_id, at_ms=record.timestamp)
        if counted is None:
            self.counts["clicks_repeated"] += 1
            self._tell_click(origin, "click_repeated", click, reason="this click was counted before")
            return
        self.counts["clicks"] += 1
        self._keep(counted.after, record)
        self._written += (
            self._export(record, origin, click, identity=identity, rate=counted.rate),
            self._accepted(origin, click, rate=counted.rate, matched=counted.matched),
        )

    def _export(self, record: Record, origin: Origin, click: Click, *, identity: str, rate: float) -> NewRecord:
        ce_id = export_id_of(click.interaction_id, identity)
        return NewRecord(
            topic=self._topics.acceptance_exports,
            key=record.key,
            value=export_of(click, acceptance_rate=rate, timestamp_ms=record.timestamp),
            headers=headers_from(origin, kind=Kind.EXPORT, subject=click.interaction_id, ce_id=ce_id),
        )

    def _accepted(self, origin: Origin, click: Click, *, rate: float, matched: bool | None) -> NewRecord:
        return audit_of(
            origin,
            self._topics.suggestion_audit,
            "suggestion_accepted",
            click.interaction_id,
            suggestionId=click.suggestion_id,
            articleId=click.article_id,
            **_click_id(click.click_id),
            acceptanceRate=rate,
            matched=matched,
        )

    def _move(self, record: Record, click: Click, belongs_to: int) -> None:
        """Sends a click on to where its interaction is counted. Raises MalformedError if it has no room for headers."""
        place = source_of(record).encode()
        # Its identity would change with its place, had it no other: it keeps the place that it had.
        is_nameless = click.click_id is None and not header_of(record, "ce_id")
        name: tuple[Header, ...] = (("ce_id", place),) if is_nameless else ()
        moved = NewRecord(
            topic=self._topics.suggestion_clicks,
            key=record.key,
            value=record.value,
            headers=(*record.headers, *name, (X_SOURCE, place)),
            partition=belongs_to,
        )
        if moved.size > MAX_RECORD_BYTES:
            raise MalformedError("oversize", f"the click would take {moved.size} bytes on its own partition")
        self.counts["clicks_moved"] += 1
        self._written.append(moved)
        reason = f"it stood on partition {record.partition}, its interaction belongs to {belongs_to}"
        self._tell_click(origin_of(record), "click_moved", click, reason=reason)

    def _refuse(self, record: Record, error: MalformedError) -> None:
        self._set_aside(record, error)
        # Under the key, because the value is not to be believed; a key that is no id is nobody's interaction.
        self._written.append(
            audit_of(
                origin_of(record),
                self._topics.suggestion_audit,
                "click_refused",
                id_in_key(record.key),
                **_click_id(click_id_of(record.value)),
                reason=error.reason,
            )
        )

    def _set_aside(self, record: Record, error: MalformedError) -> None:
        self.counts["dead"] += 1
        self._written.append(malformed_letter(record, error, topic=self._topics.dlq_clicks, worker="tally"))

    def _tell_click(self, origin: Origin, event: str, click: Click, *, reason: str) -> None:
        self._written.append(
            audit_of(
                origin,
                self._topics.suggestion_audit,
                event,
                click.interaction_id,
                **_click_id(click.click_id),
                reason=reason,
            )
        )

    def _keep(self, after: Acceptance, source: Record) -> None:
        forgotten = self._tallies.keep(after)
        self.counts["forgotten"] += len(forgotten)
        self._touch(after.interaction_id, source, number=0)
        for number, interaction_id in enumerate(forgotten, start=1):
            self._touch(interaction_id, source, number=number)

    def _touch(self, interaction_id: str, source: Record, *, number: int) -> None:
        # Taken out first, so that states are written in the order of their last change: a restore keeps that order.
        self._touched.pop(interaction_id, None)
        self._touched[interaction_id] = (source, number)


def _click_id(click_id: str | None) -> dict[str, Any]:
    return {} if click_id is None else {"clickId": click_id}
