"""T11, D6, D9: lists and clicks in; acceptances, exports, audit and dead letters out, in one transaction."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.core import acceptance, topics
from bridge.core.acceptance import export_id_of
from bridge.core.errors import TransactionError
from bridge.core.events.hops import BatchTallied, TallyUnreadable
from bridge.core.events.kinds import Event
from bridge.core.partitions import partition_of
from bridge.core.records import Header, NewRecord, Record, StoredRecord, header_of, positions_of
from bridge.core.topics import Topics
from bridge.workers.tally import Tally
from tests.fakes.number import FakeNumber

_TOPICS = topics.topics_of(topics.Options(partitions=1))
_LISTS, _CLICKS = _TOPICS.ranked_suggestions, _TOPICS.suggestion_clicks
_DAY_MS = 86_400_000


def _list(
    *ids: str, at_ms: int, offset: int = 0, interaction_id: str = "i", headers: tuple[Header, ...] = ()
) -> StoredRecord:
    value = {"interactionId": interaction_id, "rankedSuggestions": [{"id": each} for each in ids]}
    return StoredRecord(
        topic=_LISTS,
        offset=offset,
        timestamp=at_ms,
        key=interaction_id.encode(),
        value=msgspec.json.encode(value),
        headers=headers,
    )


def _click(
    suggestion_id: str = "s",
    *,
    at_ms: int,
    offset: int = 0,
    interaction_id: str = "i",
    headers: tuple[Header, ...] = (),
    **more: object,
) -> StoredRecord:
    value = {"interactionId": interaction_id, "suggestionId": suggestion_id, "articleId": "a", **more}
    return StoredRecord(
        topic=_CLICKS,
        offset=offset,
        timestamp=at_ms,
        key=interaction_id.encode(),
        value=msgspec.json.encode(value),
        headers=headers,
    )


@dataclass
class _Run:
    """A tally at work on a fake number."""

    topics: Topics = _TOPICS
    options: acceptance.Options = field(default_factory=acceptance.Options)
    number: FakeNumber = field(default_factory=FakeNumber)
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tally = Tally(options=self.options, topics=self.topics, emit=self._emit, clock=lambda: 4_000)

    async def until_committed(self, *records: Record) -> None:
        """Gives the records as one batch, both topics read to their ends, and waits for the end of the work."""
        ends = {
            topic: max((record.offset + 1 for record in records if record.topic == topic), default=0)
            for topic in (_LISTS, _CLICKS)
        }
        await self.give_and_drain([(records, ends, ends)], until=ends)

    async def give_and_drain(
        self,
        batches: Sequence[tuple[Sequence[Record], Mapping[str, int], Mapping[str, int]]],
        *,
        until: Mapping[str, int],
    ) -> None:
        async with asyncio.TaskGroup() as tasks:
            working = tasks.create_task(self.tally.work(self.number))
            for records, positions, ends in batches:
                await self.number.give(*records, positions=positions, ends=ends)
            await self.number.until_committed(**{topic.replace("-", "_"): at for topic, at in until.items()})
            await self.number.drain()
            await working

    def _emit(self, event: Event) -> None:
        self.events.append(event)

    def values(self, topic: str) -> list[Any]:
        return [record.value and json.loads(record.value) for record in self.written(topic)]

    def written(self, topic: str) -> list[NewRecord]:
        return [record for record in self.number.written if record.topic == topic]

    def audit(self) -> list[tuple[str, Any]]:
        return [(each["event"], each) for each in self.values("suggestion-audit")]


async def test_a_click_is_counted_exported_and_told_in_one_transaction() -> None:
    """T11, and the body of T12. Golden."""
    run = _Run()
    click = _click("b", at_ms=3_000, clickId="c", clickedAt="2026-01-05T10:00:00+01:00", agentId="g")
    await run.until_committed(_list("a", "b", at_ms=1_000), _list("b", at_ms=2_000, offset=1), click)
    ((written, positions),) = run.number.commits
    assert positions == {_LISTS: 2, _CLICKS: 1}
    assert [record.topic for record in written] == ["interaction-acceptance", "acceptance-exports", "suggestion-audit"]
    state, export, audit = written
    assert (state.key, export.key, audit.key) == (b"i", b"i", b"i")
    assert {record.partition for record in written} == {None}
    assert export.value == (
        b'{"type":"agent_assist_sync","interactionId":"i","acceptedArticleId":"a","acceptanceRate":0.5,'
        b'"exportedAt":"2026-01-05T09:00:00.000Z"}'
    )
    assert dict(export.headers)["ce_id"] == export_id_of("i", "c").encode()
    assert dict(export.headers)["ce_type"] == b"agentassist.acceptance.export"
    assert dict(export.headers)["x-source"] == b"suggestion-clicks/0/0"
    assert audit.value == (
        b'{"event":"suggestion_accepted","interactionId":"i","timestamp":"1970-01-01T00:00:03.000Z",'
        b'"suggestionId":"b","articleId":"a","clickId":"c","acceptanceRate":0.5,"matched":true}'
    )
    assert state.value is not None
    kept = json.loads(state.value)
    assert (kept["retrieved"], kept["accepted"], kept["acceptanceRate"]) == (2, 1, 0.5)
    assert (kept["shownSuggestions"], kept["acceptedSuggestions"], kept["suggestionAcceptanceRate"]) == (2, 1, 0.5)
    assert (kept["firstAt"], kept["updatedAt"]) == ("1970-01-01T00:00:01.000Z", "1970-01-01T00:00:03.000Z")
    assert dict(state.headers)["ce_type"] == b"agentassist.acceptance.updated"
    assert dict(state.headers)["x-source"] == b"suggestion-clicks/0/0"
    assert positions_of(_stored(state)) == positions


def _stored(record: NewRecord, *, offset: int = 0) -> StoredRecord:
    return StoredRecord(
        topic=record.topic, offset=offset, key=record.key, value=record.value, headers=record.headers, partition=0
    )


async def test_the_same_records_give_the_same_records_again() -> None:
    records = (
        _list("a", at_ms=1_000, headers=(("ce_id", b"x"),)),
        _click("a", at_ms=2_000),
        _click(at_ms=3_000, offset=1, interaction_id="j"),
    )
    runs = (_Run(), _Run())
    for run in runs:
        await run.until_committed(*records)
    assert runs[0].number.written == runs[1].number.written


async def test_a_click_sees_exactly_the_lists_appended_before_it() -> None:
    """A list of the same time stands before it, a younger one after, whatever was fetched first."""
    run = _Run()
    clicks = [_click(at_ms=2_000, clickId="1"), _click(at_ms=4_000, offset=1, clickId="2")]
    lists = [_list(at_ms=at_ms, offset=at) for at, at_ms in enumerate((1_000, 2_000, 3_000, 4_000, 4_001))]
    read = {_LISTS: 5, _CLICKS: 2}
    await run.give_and_drain(
        [(clicks, {_LISTS: 0, _CLICKS: 2}, read), (lists[:2], {_LISTS: 2, _CLICKS: 2}, read), (lists[2:], read, read)],
        until=read,
    )
    assert [each["acceptanceRate"] for each in run.values("acceptance-exports")] == [0.5, 0.5]


async def test_a_position_never_passes_a_record_that_waits() -> None:
    run = _Run()
    early = (_list(at_ms=1_000), _click(at_ms=2_000), _list(at_ms=9_000, offset=1))
    await run.give_and_drain([(early, {_LISTS: 2, _CLICKS: 1}, {_LISTS: 2, _CLICKS: 5})], until={_LISTS: 1, _CLICKS: 1})
    assert run.number.positions == {_LISTS: 1, _CLICKS: 1}
    assert positions_of(_stored(run.written("interaction-acceptance")[0])) == run.number.positions


async def test_what_waited_at_a_drain_is_read_again() -> None:
    run = _Run()
    click = _click(at_ms=2_000)
    await run.give_and_drain(
        [((click, _list(at_ms=1_000)), {_LISTS: 1, _CLICKS: 1}, {_LISTS: 2, _CLICKS: 1})],
        until={_LISTS: 1, _CLICKS: 0},
    )
    run.number = FakeNumber()
    read = {_LISTS: 2, _CLICKS: 1}
    await run.give_and_drain([((click,), read, read)], until=read)
    assert [each["acceptanceRate"] for each in run.values("acceptance-exports")] == [1.0]


async def test_the_same_click_again_is_told_and_not_counted() -> None:
    run = _Run()
    await run.until_committed(_click(at_ms=1_000, clickId="c"), _click(at_ms=2_000, offset=1, clickId="c"))
    assert [event for event, _ in run.audit()] == ["suggestion_accepted", "click_repeated"]
    assert run.audit()[1][1] == {
        "event": "click_repeated",
        "interactionId": "i",
        "timestamp": "1970-01-01T00:00:02.000Z",
        "clickId": "c",
        "reason": "this click was counted before",
    }
    assert len(run.written("acceptance-exports")) == 1
    assert run.values("interaction-acceptance")[0]["accepted"] == 1


async def test_the_same_click_id_in_two_interactions_is_two_clicks() -> None:
    run = _Run()
    await run.until_committed(
        _click(at_ms=1_000, clickId="c"), _click(at_ms=2_000, offset=1, clickId="c", interaction_id="j")
    )
    assert [each["interactionId"] for each in run.values("acceptance-exports")] == ["i", "j"]
    assert len({header_of(_stored(each), "ce_id") for each in run.written("acceptance-exports")}) == 2


async def test_clicks_without_an_id_are_named_by_their_header_or_their_place() -> None:
    run = _Run()
    await run.until_committed(
        _click(at_ms=1, headers=(("ce_id", b"x"),)),
        _click(at_ms=2, offset=1, headers=(("ce_id", b"x"),)),
        _click(at_ms=3, offset=2),
        _click(at_ms=4, offset=3),
    )
    assert [event for event, _ in run.audit()] == [
        "suggestion_accepted",
        "click_repeated",
        "suggestion_accepted",
        "suggestion_accepted",
    ]
    assert [header_of(_stored(each), "ce_id") for each in run.written("acceptance-exports")] == [
        export_id_of("i", identity).encode() for identity in ("x", "suggestion-clicks/0/2", "suggestion-clicks/0/3")
    ]
    assert "clickId" not in run.audit()[0][1]


async def test_matched_says_whether_the_suggestion_was_seen_to_be_shown() -> None:
    run = _Run()
    ids = [str(each) for each in range(129)]
    await run.until_committed(
        _list("a", at_ms=1),
        _click("a", at_ms=2),
        _click("x", at_ms=3, offset=1),
        _list(*ids, at_ms=4, offset=1),
        _click("a", at_ms=5, offset=2),
    )
    assert [each["matched"] for _, each in run.audit()] == [True, False, None]


async def test_a_list_that_came_twice_within_30_seconds_counts_once() -> None:
    run = _Run()
    twice = (("ce_id", b"x"),)
    await run.until_committed(
        _list("a", at_ms=0, headers=twice),
        _list("a", at_ms=30_000, offset=1, headers=twice),
        _list("a", at_ms=30_001, offset=2, headers=twice),
    )
    assert run.values("interaction-acceptance")[0]["retrieved"] == 2


# -- clicks that are not counted ---------------------------------------------------------------------------------------

_TWELVE = topics.topics_of(topics.Options(partitions=12))


def _misplaced(**more: Any) -> StoredRecord:
    click = _click(at_ms=1_000, **more)
    wrong = (partition_of(b"i", 12) + 1) % 12
    return msgspec.structs.replace(click, partition=wrong)


@pytest.mark.parametrize(
    ("click", "added"),
    [
        (_misplaced(), True),
        (_misplaced(headers=(("x", b"1"), ("ce_id", b""), ("x-source", b"y"))), True),
        (_misplaced(clickId="c"), False),
        (_misplaced(headers=(("ce_id", b"x"),)), False),
    ],
)
async def test_a_click_on_the_wrong_partition_is_moved_as_it_is(click: StoredRecord, *, added: bool) -> None:
    run = _Run(topics=_TWELVE)
    await run.until_committed(click)
    moved, audit = run.number.written
    place = f"suggestion-clicks/{click.partition}/0".encode()
    name: tuple[Header, ...] = (("ce_id", place),) if added else ()
    assert (moved.topic, moved.key, moved.value) == (_CLICKS, click.key, click.value)
    assert moved.partition == partition_of(b"i", 12)
    assert moved.headers == (*click.headers, *name, ("x-source", place))
    assert audit.value is not None
    told = json.loads(audit.value)
    assert (audit.topic, told["event"], told["interactionId"]) == ("suggestion-audit", "click_moved", "i")
    assert told.get("clickId") == ("c" if b"clickId" in (click.value or b"") else None)


async def test_a_moved_click_keeps_its_identity() -> None:
    """Named by its place, it would become another click on its way."""
    click = _misplaced()
    there = _Run(topics=_TWELVE)
    await there.until_committed(click)
    moved = there.number.written[0]
    here = _Run(topics=_TWELVE)
    again = msgspec.structs.replace(_stored(moved, offset=9), partition=moved.partition, timestamp=5_000)
    await here.until_committed(again)
    (export,) = here.written("acceptance-exports")
    identity = f"suggestion-clicks/{click.partition}/0"
    assert header_of(_stored(export), "ce_id") == export_id_of("i", identity).encode()


async def test_a_misplaced_click_with_no_room_for_a_header_is_refused() -> None:
    click = _misplaced(headers=(("x", b"h" * (1024 * 1024 - 1_100)),))
    run = _Run(topics=_TWELVE)
    await run.until_committed(click)
    assert [record.topic for record in run.number.written] == ["dlq.clicks", "suggestion-audit"]
    assert dict(run.number.written[0].headers)["x-dlq-class"] == b"oversize"


def _with(click: StoredRecord, **changes: Any) -> StoredRecord:
    return msgspec.structs.replace(click, **changes)


@pytest.mark.parametrize(
    ("click", "dlq_class", "interaction_id", "click_id"),
    [
        (_with(_click(at_ms=1), value=None), "schema", "i", None),
        (_with(_click(at_ms=1), value=b"{]"), "decode", "i", None),
        (_click(at_ms=1, clickedAt="yesterday", clickId="c"), "schema", "i", "c"),
        (_click(at_ms=1, clickId="c", x="x" * 65_536), "oversize", "i", "c"),
        (_with(_click(at_ms=1, clickId="c"), key=b"j"), "key-mismatch", "j", "c"),
        (_with(_click(at_ms=1), key=None), "key-mismatch", None, None),
        (_with(_click(at_ms=1), key=b"\xff"), "key-mismatch", None, None),
        (_with(_click(at_ms=1), key=b"k" * 500_000), "key-mismatch", None, None),
    ],
)
async def test_a_click_that_cannot_be_used_is_set_aside_and_told_under_its_key(
    click: StoredRecord, dlq_class: str, interaction_id: str | None, click_id: str | None
) -> None:
    run = _Run()
    await run.until_committed(click)
    letter, audit = run.number.written
    assert (letter.topic, letter.key, letter.value) == ("dlq.clicks", click.key, click.value)
    assert dict(letter.headers)["x-dlq-class"] == dlq_class.encode()
    assert dict(letter.headers)["x-dlq-worker"] == b"tally"
    assert audit.key == (None if interaction_id is None else interaction_id.encode())
    assert audit.value is not None
    told = json.loads(audit.value)
    assert (told["event"], told.get("interactionId"), told.get("clickId")) == (
        "click_refused",
        interaction_id,
        click_id,
    )
    assert told["reason"] == dict(letter.headers)["x-dlq-reason"].decode()


async def test_a_list_that_someone_else_wrote_is_set_aside() -> None:
    run = _Run()
    await run.until_committed(_with(_list("a", at_ms=1), value=b"{}"), _list("a", at_ms=2, offset=1))
    letter = run.written("dlq.clicks")[0]
    assert dict(letter.headers)["__connect.errors.topic"] == b"ranked-suggestions"
    assert run.values("interaction-acceptance")[0]["retrieved"] == 1
    assert run.audit() == []


async def test_headers_without_a_value_harm_nothing() -> None:
    run = _Run(topics=_TWELVE)
    nameless: Any = (("ce_id", None), ("ce_time", None), ("traceparent", None), ("x", None))
    await run.until_committed(_misplaced(headers=nameless))
    assert run.number.written[0].headers[:4] == nameless
    assert [event for event, _ in run.audit()] == ["click_moved"]


# -- over time ---------------------------------------------------------------------------------------------------------


async def test_the_tally_goes_on_after_a_restore_as_if_it_had_not_stopped() -> None:
    """D6: equal to a recount, though the process that counted is gone."""
    before, after, whole = _Run(), _Run(), _Run()
    first = (_list("a", at_ms=1_000), _click("a", at_ms=2_000, clickId="c"))
    second = (
        _list("b", at_ms=3_000, offset=1),
        _click("a", at_ms=4_000, offset=1, clickId="c"),
        _click("b", at_ms=5_000, offset=2, clickId="d"),
    )
    await before.until_committed(*first)
    for state in before.written("interaction-acceptance"):
        after.tally.restore(_stored(state))
    await after.until_committed(*second)
    await whole.until_committed(*first, *second)
    assert after.values("interaction-acceptance") == whole.values("interaction-acceptance")
    assert after.values("acceptance-exports") == whole.values("acceptance-exports")[1:]


async def test_a_silent_interaction_is_forgotten_with_a_null() -> None:
    """D9: memory holds the interactions that are heard of."""
    run = _Run()
    await run.until_committed(
        _list("a", at_ms=0, interaction_id="old"),
        _list("a", at_ms=1, offset=1, interaction_id="older"),
        _list("a", at_ms=8 * _DAY_MS, offset=2),
        _list("a", at_ms=8 * _DAY_MS, offset=3, interaction_id="older"),
    )
    states = run.written("interaction-acceptance")
    assert [(state.key, state.value is None) for state in states] == [
        (b"i", False),
        (b"old", True),
        (b"older", False),
    ]
    assert json.loads(states[2].value or b"")["retrieved"] == 1
    assert dict(states[1].headers)["ce_subject"] == b"old"
    assert dict(states[1].headers)["x-source"] == b"ranked-suggestions/0/2"
    assert len({dict(state.headers)["ce_id"] for state in states}) == 3
    told = run.events[-1]
    assert isinstance(told, BatchTallied)
    assert (told.forgotten, told.open_interactions) == (2, 2)


def test_a_null_takes_a_restored_tally_out() -> None:
    run = _Run()
    state = StoredRecord(
        topic="interaction-acceptance",
        key=b"i",
        value=b'{"interactionId":"i","firstAt":"1970-01-01T00:00:00.000Z","updatedAt":"1970-01-01T00:00:00.000Z"}',
    )
    run.tally.restore(state)
    assert len(run.tally._tallies) == 1
    run.tally.restore(_with(state, key=None, value=None))
    run.tally.restore(_with(state, value=None))
    assert len(run.tally._tallies) == 0
    assert run.events == []


def test_a_state_that_someone_else_wrote_is_told_and_left_out() -> None:
    run = _Run()
    run.tally.restore(StoredRecord(topic="interaction-acceptance", partition=2, offset=5, key=b"i", value=b"{"))
    assert run.events == [TallyUnreadable(partition=2, offset=5, reason="the value is no JSON in UTF-8")]


@settings(max_examples=30, deadline=None)
@given(
    happenings=st.lists(
        st.tuples(st.booleans(), st.sampled_from("ijk"), st.integers(0, 6), st.integers(0, 5)), max_size=40
    ),
    sizes=st.lists(st.integers(1, 7), min_size=1, max_size=5),
)
def test_every_exported_rate_and_every_state_equal_a_recount(
    happenings: list[tuple[bool, str, int, int]], sizes: list[int]
) -> None:
    """D6: however the records were read in batches."""
    at_ms, offsets, records = 0, {_LISTS: 0, _CLICKS: 0}, list[StoredRecord]()
    lists, clicks, rates = dict[str, int](), dict[str, set[int]](), list[float]()
    for is_list, interaction_id, each, later_ms in happenings:
        at_ms += 1 + later_ms
        topic = _LISTS if is_list else _CLICKS
        if is_list:
            records.append(_list(str(each), at_ms=at_ms, offset=offsets[topic], interaction_id=interaction_id))
            lists[interaction_id] = lists.get(interaction_id, 0) + 1
        else:
            records.append(_click(at_ms=at_ms, offset=offsets[topic], interaction_id=interaction_id, clickId=str(each)))
            seen = clicks.setdefault(interaction_id, set())
            if each not in seen:
                seen.add(each)
                retrieved = lists.get(interaction_id, 0)
                rates.append(len(seen) / retrieved if retrieved else 0.0)
        offsets[topic] += 1
    run = _Run()
    asyncio.run(run.give_and_drain(list(_batches(records, sizes, ends=offsets)), until=offsets))
    assert [each["acceptanceRate"] for each in run.values("acceptance-exports")] == rates
    states = {each["interactionId"]: each for each in run.values("interaction-acceptance")}
    assert {name: each["retrieved"] for name, each in states.items() if each["retrieved"]} == lists
    assert {name: each["accepted"] for name, each in states.items() if each["accepted"]} == {
        name: len(seen) for name, seen in clicks.items()
    }


def _batches(
    records: list[StoredRecord], sizes: list[int], *, ends: dict[str, int]
) -> list[tuple[list[StoredRecord], dict[str, int], dict[str, int]]]:
    """The records of each topic in pieces, the two topics in turn."""
    batches, read, left = [], dict.fromkeys(ends, 0), list(records)
    turn = 0
    while left:
        topic = (_LISTS, _CLICKS)[turn % 2]
        piece = [record for record in left if record.topic == topic][: sizes[turn % len(sizes)]]
        left = [record for record in left if record not in piece]
        read = read | {record.topic: record.offset + 1 for record in piece}
        batches.append((piece, read, dict(ends)))
        turn += 1
    return batches or [([], dict(ends), dict(ends))]


# -- transactions ------------------------------------------------------------------------------------------------------


async def test_much_is_counted_in_several_transactions_that_follow_each_other() -> None:
    run = _Run()
    await run.until_committed(*(_list("a", at_ms=at, offset=at, interaction_id=str(at % 7)) for at in range(2_500)))
    assert [positions[_LISTS] for _, positions in run.number.commits] == [1_000, 2_000, 2_500]
    latest = {each["interactionId"]: each["retrieved"] for each in run.values("interaction-acceptance")}
    assert sum(latest.values()) == 2_500


async def test_clicks_far_ahead_of_the_lists_are_left_where_they_are() -> None:
    """D9: what waits for the other topic is bounded."""
    run = _Run()
    clicks = [_click(at_ms=at, offset=at) for at in range(10_000)]
    ends = {_LISTS: 1, _CLICKS: 10_000}
    async with asyncio.TaskGroup() as tasks:
        working = tasks.create_task(run.tally.work(run.number))
        for at in range(0, 10_000, 1_000):
            await run.number.give(*clicks[at : at + 1_000], ends=ends)
        await run.number.until_left(6_000)
        assert run.number.left == 6_000
        await run.number.give(_list("s", at_ms=10_000), ends=ends)
        await run.number.until_left(0)
        await run.number.drain()
        await working
    assert len(run.written("acceptance-exports")) == 10_000


async def test_a_failed_transaction_ends_the_work() -> None:
    run = _Run()
    run.number.fail_next_commit = True
    read = {_LISTS: 1, _CLICKS: 0}
    await run.number.give(_list("a", at_ms=1), positions=read, ends=read)
    with pytest.raises(TransactionError):
        await run.tally.work(run.number)
    assert run.number.written == []


async def test_a_batch_without_records_moves_the_positions_only() -> None:
    run = _Run()
    await run.give_and_drain([((), {_LISTS: 3, _CLICKS: 4}, {_LISTS: 3, _CLICKS: 4})], until={_LISTS: 3, _CLICKS: 4})
    assert run.number.commits == [([], {_LISTS: 3, _CLICKS: 4})]
    assert run.events == []


async def test_tells_a_transaction_in_one_event() -> None:
    run = _Run(topics=_TWELVE)
    home = partition_of(b"i", 12)
    twice = (("ce_id", b"x"),)
    records = [
        _list("a", at_ms=1_000, headers=twice),
        _list("a", at_ms=1_001, offset=1, headers=twice),
        _with(_click(at_ms=1_002, clickId="c"), partition=home),
        _with(_click(at_ms=1_003, offset=1, clickId="c"), partition=home),
        _with(_misplaced(), offset=2, timestamp=1_004),
        _with(_click(at_ms=1_005, offset=3), value=b""),
    ]
    await run.until_committed(*records)
    assert run.events == [
        BatchTallied(
            number=0,
            lists=1,
            lists_repeated=1,
            clicks=1,
            clicks_repeated=1,
            clicks_moved=1,
            dead=1,
            forgotten=0,
            open_interactions=1,
            waiting=0,
            age_s=3,
        )
    ]
