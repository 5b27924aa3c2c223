"""T9, T10: raw suggestions in, ranked lists, audit and dead letters out."""

import asyncio
import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core import ranking, topics
from bridge.core.errors import TransactionError
from bridge.core.events.hops import BatchRanked
from bridge.core.events.kinds import Event
from bridge.core.records import Header, NewRecord, StoredRecord, digest
from bridge.workers.ranker import Newer, Ranker, rank_batch
from tests.fakes.number import FakeNumber

_TOPICS = topics.topics_of(topics.Options())
_OPTIONS = ranking.Options()
_VERSION = ranking.version(_OPTIONS)
_FRAME = (
    b'{"interactionId":"i","suggestions":[{"id":"a","confidence":0.9,"relevanceScore":0.1},'
    b'{"id":"b","confidence":0.8,"relevanceScore":0.9},{"id":"c","confidence":0.1}],'
    b'"metadata":{"processingLatencyMs":42}}'
)


def _raw(
    value: bytes | None = _FRAME,
    *,
    offset: int = 0,
    key: bytes | None = b"i",
    headers: tuple[Header, ...] = (("ce_id", b"x"), ("ce_time", b"2026-01-05T10:00:00.120Z")),
) -> StoredRecord:
    return StoredRecord(
        topic="raw-suggestions", partition=3, offset=offset, timestamp=1_000, key=key, value=value, headers=headers
    )


def _written(
    *records: StoredRecord, now_ms: int = 4_000, options: ranking.Options = _OPTIONS, newer: Newer | None = None
) -> list[NewRecord]:
    newer = newer or Newer(now_ms=now_ms)
    return rank_batch(records, options=options, topics=_TOPICS, version=_VERSION, newer=newer)


def test_a_list_becomes_a_ranked_list_and_an_audit_event() -> None:
    """T9, T10. Golden: the same record gives the same bytes and headers again."""
    ranked, audit = _written(_raw())
    assert [ranked, audit] == _written(_raw())
    assert (ranked.topic, ranked.key, ranked.partition) == ("ranked-suggestions", b"i", None)
    assert ranked.value == (
        b'{"interactionId":"i","timestamp":"2026-01-05T10:00:00.120Z","rankedSuggestions":['
        b'{"id":"b","confidence":0.8,"relevanceScore":0.9},{"id":"a","confidence":0.9,"relevanceScore":0.1}],'
        b'"latencyMs":42}'
    )
    assert ranked.headers == (
        ("ce_specversion", b"1.0"),
        ("ce_id", digest(b"x", b"agentassist.suggestions.ranked", b"").encode()),
        ("ce_source", b"/bridge"),
        ("ce_type", b"agentassist.suggestions.ranked"),
        ("ce_time", b"2026-01-05T10:00:00.120Z"),
        ("ce_subject", b"i"),
        ("content-type", b"application/json"),
        ("x-source", b"raw-suggestions/3/0"),
        ("x-rank-version", _VERSION.encode()),
    )
    assert (audit.topic, audit.key) == ("suggestion-audit", b"i")
    assert audit.value == (
        b'{"event":"suggestions_retrieved","interactionId":"i","timestamp":"2026-01-05T10:00:00.120Z",'
        b'"count":2,"latencyMs":42}'
    )


def test_a_record_without_a_time_has_that_of_its_timestamp() -> None:
    ranked, _ = _written(_raw(headers=()))
    assert ranked.value is not None
    assert json.loads(ranked.value)["timestamp"] == "1970-01-01T00:00:01.000Z"


@pytest.mark.parametrize(("suggestions", "received"), [(b"[]", 0), (b'[{"id":"a","confidence":0.1},{"id":"b"}]', 2)])
def test_a_list_of_which_nothing_is_left_is_withheld(suggestions: bytes, received: int) -> None:
    (audit,) = _written(_raw(b'{"interactionId":"i","suggestions":%b}' % suggestions))
    assert audit.topic == "suggestion-audit"
    assert audit.value is not None
    assert json.loads(audit.value) == {
        "event": "suggestions_withheld",
        "interactionId": "i",
        "timestamp": "2026-01-05T10:00:00.120Z",
        "received": received,
        "belowThreshold": received,
    }


@pytest.mark.parametrize(
    ("record", "dlq_class"),
    [
        (_raw(None), "schema"),
        (_raw(b"{]"), "decode"),
        (_raw(_FRAME.replace(b"0.9", b'"0.9"')), "schema"),
        (_raw(key=b"j"), "key-mismatch"),
        (_raw(key=None), "key-mismatch"),
        (_raw(_FRAME.replace(b'"a"', b'"%b"' % (b"a" * 1024**2))), "oversize"),
    ],
)
def test_a_record_that_cannot_be_used_is_set_aside_and_the_next_goes_on(record: StoredRecord, dlq_class: str) -> None:
    letter, ranked, _ = _written(record, _raw(offset=1))
    assert (letter.topic, letter.key, letter.value) == ("dlq.ranker", record.key, record.value)
    headers = dict(letter.headers)
    assert letter.headers[: len(record.headers)] == record.headers
    assert headers["x-dlq-class"] == dlq_class.encode()
    assert headers["x-dlq-worker"] == b"ranker"
    assert headers["__connect.errors.offset"] == b"0"
    assert ranked.topic == "ranked-suggestions"


@given(st.lists(st.binary(max_size=30) | st.just(_FRAME), max_size=6))
def test_every_record_becomes_one_list_or_one_notice_or_one_dead_letter(values: list[bytes]) -> None:
    written = _written(*(_raw(value, offset=offset) for offset, value in enumerate(values)))
    told = [record.topic for record in written if record.topic != "ranked-suggestions"]
    assert len(told) == len(values)
    assert told.count("suggestion-audit") == values.count(_FRAME)


# -- catching up -------------------------------------------------------------------------------------------------------

_EMPTY = b'{"interactionId":"i","suggestions":[]}'
_LATE_MS = 31_001  # More than 30 s after the records' time, 1 s.


def _superseded_by(written: Sequence[NewRecord]) -> list[str]:
    values = [json.loads(record.value or b"") for record in written if record.topic == "suggestion-audit"]
    return [value["by"] for value in values if value["event"] == "suggestions_superseded"]


def test_behind_by_more_than_lists_stay_fresh_only_the_newest_of_an_interaction_is_ranked() -> None:
    other = _raw(_FRAME.replace(b'"interactionId":"i"', b'"interactionId":"j"'), key=b"j", offset=1)
    written = _written(_raw(), other, _raw(offset=2), _raw(offset=3), now_ms=_LATE_MS)
    assert [record.topic for record in written] == [
        "suggestion-audit",  # 0 is skipped.
        "ranked-suggestions",
        "suggestion-audit",
        "suggestion-audit",  # 2 is skipped.
        "ranked-suggestions",
        "suggestion-audit",
    ]
    assert [dict(record.headers)["x-source"] for record in written if record.topic == "ranked-suggestions"] == [
        b"raw-suggestions/3/1",
        b"raw-suggestions/3/3",
    ]
    assert written[0].value == (
        b'{"event":"suggestions_superseded","interactionId":"i","timestamp":"2026-01-05T10:00:00.120Z",'
        b'"by":"raw-suggestions/3/3"}'
    )
    assert dict(written[0].headers)["ce_type"] == b"agentassist.audit.suggestions_superseded"
    assert dict(written[0].headers)["x-source"] == b"raw-suggestions/3/0"


@pytest.mark.parametrize(("now_ms", "fresh_for_s"), [(31_000, 30.0), (10_000_000, 0.0), (500, 30.0)])
def test_what_is_fresh_is_ranked_whatever_is_newer(now_ms: int, fresh_for_s: float) -> None:
    options = ranking.Options(fresh_for_s=fresh_for_s)
    assert _superseded_by(_written(_raw(), _raw(offset=1), now_ms=now_ms, options=options)) == []


@pytest.mark.parametrize("newer", [_EMPTY, b"{]", b'{"interactionId":"j","suggestions":[]}'])
def test_a_list_is_skipped_only_for_one_that_is_shown(newer: bytes) -> None:
    """Not for one that is withheld, or that is a dead letter: the agent would see neither."""
    written = _written(_raw(), _raw(newer, offset=1), now_ms=_LATE_MS)
    assert _superseded_by(written) == []
    assert written[0].topic == "ranked-suggestions"


def test_an_old_record_that_cannot_be_used_is_a_dead_letter_all_the_same() -> None:
    assert _written(_raw(b"{]"), _raw(offset=1), now_ms=_LATE_MS)[0].topic == "dlq.ranker"


@given(st.lists(st.tuples(st.sampled_from([b"i", b"j"]), st.integers(0, 60)), max_size=40), st.integers(1, 7))
def test_a_batch_in_parts_gives_what_the_whole_gives(frames: list[tuple[bytes, int]], part: int) -> None:
    records = [
        StoredRecord(
            topic="raw-suggestions",
            offset=at,
            timestamp=second * 1_000,
            key=key,
            value=_FRAME.replace(b'"interactionId":"i"', b'"interactionId":"%b"' % key),
        )
        for at, (key, second) in enumerate(frames)
    ]
    newer, parts = Newer(now_ms=60_000), list[list[NewRecord]]()
    for end in range(len(records), 0, -part):
        parts.append(_written(*records[max(0, end - part) : end], newer=newer))
    whole = _written(*records, now_ms=60_000)
    assert [record for one in reversed(parts) for record in one] == whole
    places = dict(_superseded_places(whole))
    shown = {dict(record.headers)["x-source"].decode() for record in whole if record.topic == "ranked-suggestions"}
    assert newer.superseded == len(places)
    assert shown.isdisjoint(places)
    assert set(places.values()) <= shown
    assert len(shown) + len(places) == len(records)


def _superseded_places(written: Sequence[NewRecord]) -> list[tuple[str, str]]:
    audits = [record for record in written if b"superseded" in (record.value or b"")]
    return [(dict(one.headers)["x-source"].decode(), json.loads(one.value or b"")["by"]) for one in audits]


class _Run:
    """A ranker at work on a fake number."""

    def __init__(self, *, now_ms: int = 4_000) -> None:
        self.number = FakeNumber(3)
        self.events: list[Event] = []
        self.ranker = Ranker(options=_OPTIONS, topics=_TOPICS, emit=self._emit, clock=lambda: now_ms)

    def _emit(self, event: Event) -> None:
        self.events.append(event)

    async def until_drained(self, *batches: Sequence[StoredRecord]) -> None:
        async with asyncio.TaskGroup() as tasks:
            working = tasks.create_task(self.ranker.work(self.number))
            for batch in batches:
                await self.number.give(*batch)
            await self.number.until_committed(raw_suggestions=sum(map(len, batches)))
            await self.number.drain()
            await working


async def test_a_batch_is_one_transaction_with_its_position() -> None:
    run = _Run()
    first = [_raw(offset=offset) for offset in range(450)]
    await run.until_drained(first, [_raw(offset=450)])
    assert [(len(written), positions) for written, positions in run.number.commits] == [
        (900, {"raw-suggestions": 450}),
        (2, {"raw-suggestions": 451}),
    ]
    assert run.number.written == _written(*first, _raw(offset=450))


async def test_tells_a_batch_in_one_event() -> None:
    run = _Run()
    empty = b'{"interactionId":"i","suggestions":[]}'
    await run.until_drained([_raw(), _raw(empty, offset=1), _raw(b"", offset=2)])
    assert run.events == [BatchRanked(number=3, records=3, ranked=1, withheld=1, superseded=0, dead=1, age_s=3)]


async def test_a_batch_of_more_than_one_slice_is_caught_up_as_one() -> None:
    run = _Run(now_ms=_LATE_MS)
    await run.until_drained([_raw(offset=offset) for offset in range(450)])
    assert run.number.written == _written(*(_raw(offset=offset) for offset in range(450)), now_ms=_LATE_MS)
    assert len(run.number.written) == 451
    assert run.events == [
        BatchRanked(number=3, records=450, ranked=1, withheld=0, superseded=449, dead=0, age_s=30.001)
    ]


async def test_a_batch_without_records_moves_the_position_only() -> None:
    run = _Run()
    async with asyncio.TaskGroup() as tasks:
        working = tasks.create_task(run.ranker.work(run.number))
        await run.number.give(positions={"raw-suggestions": 7})
        await run.number.until_committed(raw_suggestions=7)
        await run.number.drain()
        await working
    assert run.number.commits == [([], {"raw-suggestions": 7})]
    assert run.events == []


async def test_a_failed_transaction_ends_the_work() -> None:
    run = _Run()
    run.number.fail_next_commit = True
    await run.number.give(_raw())
    with pytest.raises(TransactionError):
        await run.ranker.work(run.number)
    assert run.number.written == []
    assert run.events == []


def test_has_nothing_to_restore() -> None:
    _Run().ranker.restore(_raw())
