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
from bridge.workers.ranker import Ranker, rank_batch
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


def _written(*records: StoredRecord) -> list[NewRecord]:
    return rank_batch(records, options=_OPTIONS, topics=_TOPICS, version=_VERSION)


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


class _Run:
    """A ranker at work on a fake number."""

    def __init__(self) -> None:
        self.number = FakeNumber(3)
        self.events: list[Event] = []
        self.ranker = Ranker(options=_OPTIONS, topics=_TOPICS, emit=self._emit, clock=lambda: 4_000)

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
    assert run.events == [BatchRanked(number=3, records=3, ranked=1, withheld=1, dead=1, age_s=3)]


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
