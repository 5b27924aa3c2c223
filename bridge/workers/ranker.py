"""raw-suggestions -> ranked-suggestions."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from operator import attrgetter

from bridge.core import ranking
from bridge.core.dead_letters import malformed_letter
from bridge.core.errors import MalformedError
from bridge.core.events.hops import BatchRanked
from bridge.core.records import Kind, NewRecord, Origin, Record, headers_from, origin_of
from bridge.core.topics import MAX_RECORD_BYTES, Topics
from bridge.core.values import audit_of, check_key
from bridge.ports import Clock, Emit, Number

RANK_VERSION = "x-rank-version"

# One transaction; and how much of it is ranked before other numbers have their turn (about 5 ms).
_MAX_BATCH_RECORDS = 1_000
_SLICE_RECORDS = 200
# A list below this need not be measured: its key and headers take a few kilobytes at most.
_SURELY_FITS_BYTES = MAX_RECORD_BYTES // 2


class Ranker:
    """The hop that ranks. It has no state: a record alone decides what is made of it."""

    def __init__(self, *, options: ranking.Options, topics: Topics, emit: Emit, clock: Clock) -> None:
        self._options = options
        self._topics = topics
        self._version = ranking.version(options)
        self._emit = emit
        self._clock = clock

    def restore(self, record: Record) -> None:
        """There is no state topic, so nothing to restore."""

    async def work(self, number: Number) -> None:
        """Ranks what the number has until it drains; a batch is one transaction."""
        while (batch := await number.take(max_records=_MAX_BATCH_RECORDS)) is not None:
            newer = Newer(now_ms=self._clock())
            written = await self._rank(batch.records, newer)
            await number.commit(written, batch.positions)
            if batch.records:
                self._tell(number.number, batch.records, written, newer.superseded)

    async def _rank(self, records: Sequence[Record], newer: "Newer") -> list[NewRecord]:
        slices: list[list[NewRecord]] = []
        for end in range(len(records), 0, -_SLICE_RECORDS):
            slices.append(
                rank_batch(
                    records[max(0, end - _SLICE_RECORDS) : end],
                    options=self._options,
                    topics=self._topics,
                    version=self._version,
                    newer=newer,
                )
            )
            await asyncio.sleep(0)
        return [record for one in reversed(slices) for record in one]

    def _tell(self, number: int, records: Sequence[Record], written: Sequence[NewRecord], superseded: int) -> None:
        counts = Counter(map(attrgetter("topic"), written))
        ranked, dead = counts[self._topics.ranked_suggestions], counts[self._topics.dlq_ranker]
        oldest_ms = min(map(attrgetter("timestamp"), records))
        self._emit(
            BatchRanked(
                number=number,
                records=len(records),
                ranked=ranked,
                withheld=len(records) - ranked - superseded - dead,
                superseded=superseded,
                dead=dead,
                age_s=max(0, self._clock() - oldest_ms) / 1000,
            )
        )


class Newer:
    """What of a batch has been ranked so far, from its end on: where the oldest list of each interaction stands.

    Whether a list is old follows from its record's timestamp and `now_ms` (epoch milliseconds). So the work done again
    later may skip more; that is no harm, because output and position are one transaction.
    """

    def __init__(self, *, now_ms: int) -> None:
        self.now_ms = now_ms
        self.superseded = 0
        self._places: dict[bytes | None, str] = {}

    def than(self, record: Record, *, options: ranking.Options) -> str | None:
        """Where a newer list of the same interaction stands, if the record is too old to be shown beside it."""
        if ranking.is_fresh(record.timestamp, now_ms=self.now_ms, options=options):
            return None
        return self._places.get(record.key)

    def ranked(self, record: Record, origin: Origin) -> None:
        """A list of this record is shown."""
        self._places[record.key] = origin.place


def rank_batch(
    records: Sequence[Record],
    *,
    options: ranking.Options,
    topics: Topics,
    version: str,
    newer: Newer,
) -> list[NewRecord]:
    """What is to be written for raw records: for each its ranked list, if anything is left of it, and an audit event.

    Of a list that is superseded by a newer one only the audit is told. A record that cannot be used becomes a dead
    letter instead. The same records give the same bytes and headers. A batch in parts is given from its end on.
    """
    made: list[tuple[NewRecord, ...]] = []
    for record in reversed(records):
        try:
            made.append(_rank_record(record, options=options, topics=topics, version=version, newer=newer))
        except MalformedError as error:
            made.append((malformed_letter(record, error, topic=topics.dlq_ranker, worker="ranker"),))
    return [record for one in reversed(made) for record in one]


def _rank_record(
    record: Record, *, options: ranking.Options, topics: Topics, version: str, newer: Newer
) -> tuple[NewRecord, ...]:
    origin = origin_of(record)
    ranked = ranking.rank(record.value, at_ms=origin.at_ms, options=options)
    check_key(record, ranked.interaction_id)
    by = newer.than(record, options=options)
    if by is not None:
        newer.superseded += 1
        return (audit_of(origin, topics.suggestion_audit, "suggestions_superseded", ranked.interaction_id, by=by),)
    if ranked.value is None:
        return (_withheld(origin, ranked, topic=topics.suggestion_audit),)
    headers = headers_from(origin, kind=Kind.RANKED, subject=ranked.interaction_id)
    listed = NewRecord(
        topic=topics.ranked_suggestions,
        key=record.key,
        value=ranked.value,
        headers=(*headers, (RANK_VERSION, version.encode())),
    )
    if len(ranked.value) > _SURELY_FITS_BYTES and listed.size > MAX_RECORD_BYTES:
        raise MalformedError("oversize", f"the ranked list would take {listed.size} bytes")
    newer.ranked(record, origin)
    return listed, _retrieved(origin, ranked, topic=topics.suggestion_audit)


def _retrieved(origin: Origin, ranked: ranking.Ranking, *, topic: str) -> NewRecord:
    return audit_of(
        origin,
        topic,
        "suggestions_retrieved",
        ranked.interaction_id,
        count=ranked.ranked,
        latencyMs=ranked.latency_ms,
    )


def _withheld(origin: Origin, ranked: ranking.Ranking, *, topic: str) -> NewRecord:
    # Nothing is left, so all that were received were below.
    return audit_of(
        origin,
        topic,
        "suggestions_withheld",
        ranked.interaction_id,
        received=ranked.received,
        belowThreshold=ranked.received,
    )
