"""Lists and clicks and what the tally made of them: losses, duplicates, swaps and wrong counts are named."""

from collections.abc import Callable

import msgspec
import pytest

from bridge.core.records import NewRecord
from bridge.core.topics import Options, topics_of
from bridge.core.verify_findings import (
    ACCEPTANCE,
    ACCEPTED,
    CLICKS,
    EXPORTED,
    EXPORTS,
    EXPORTS_ORDER,
    IDENTITY,
    LISTS,
    RATES,
    REFUSED,
)
from tests.fakes.world import (
    NOW_MS,
    World,
    changing,
    checked,
    counts,
    doubling,
    losing,
    places,
    swapping,
    wrong,
)

_TOPICS = topics_of(Options(partitions=1))
_CLICKS, _EXPORTS = _TOPICS.suggestion_clicks, _TOPICS.acceptance_exports
_AUDIT, _DEAD, _STATES = _TOPICS.suggestion_audit, _TOPICS.dlq_clicks, _TOPICS.interaction_acceptance


@pytest.fixture
def world() -> World:
    """Clicks of every kind: two that count, a repeat, one that nobody can read; and a list that nobody can read."""
    world = World(_TOPICS)
    world.frame("i-1", 0.9, 0.8)
    world.frame("i-2", 0.9)
    world.rank()
    world.append(NewRecord(topic=_TOPICS.ranked_suggestions, key=b"i-3", value=b"garbage"))
    world.click("i-1", "s0", click_id="c-1")
    world.click("i-1", "s1", click_id="c-2")
    world.click("i-1", "s1", click_id="c-1")
    world.append(NewRecord(topic=_CLICKS, key=b"i-1", value=b"garbage"))
    return world


def _done(world: World) -> World:
    """The list that nobody can read was not made by the ranker, which is not what is looked at here."""
    world.tally()
    world.export()
    return world


def _wrong(world: World) -> dict[str, int]:
    lines = wrong(checked(_done(world)))
    assert lines.pop("raw = ranked + withheld + superseded + dead letters") == 1
    assert lines.pop("ranked = suggestions_retrieved") == 1
    return lines


def test_a_good_day_balances(world: World) -> None:
    assert _wrong(world) == {}
    report = checked(world)
    assert [counts(report, line)[:2] for line in (CLICKS, REFUSED, LISTS, EXPORTS, ACCEPTED, RATES)] == [
        (4, 4),
        (1, 1),
        (1, 1),
        (2, 2),
        (2, 2),
        (2, 2),
    ]
    assert counts(report, EXPORTS_ORDER)[:2] == (2, 2)


def test_what_was_not_counted_yet_is_open(world: World) -> None:
    report = checked(world)
    assert wrong(report).keys().isdisjoint({CLICKS, EXPORTS, ACCEPTANCE, RATES})
    assert counts(report, CLICKS) == (4, 0, 4, 0)


# The dead letters and audits of the tally: list 2 is dead, then by click: accepted, accepted, repeated, refused.
@pytest.mark.parametrize(
    ("topic", "which", "lines", "place"),
    [
        (_DEAD, 1, {LISTS: 1}, "ranked-suggestions/0/2"),
        (_DEAD, 2, {CLICKS: 1, REFUSED: 1}, "suggestion-clicks/0/3"),
        (_EXPORTS, 1, {EXPORTS: 1, ACCEPTED: 1}, "suggestion-clicks/0/0"),
        (_AUDIT, 2, {ACCEPTED: 1}, "suggestion-clicks/0/1"),
        (_AUDIT, 3, {CLICKS: 1}, "suggestion-clicks/0/2"),
        (_AUDIT, 4, {REFUSED: 1}, "suggestion-clicks/0/3"),
        (_STATES, 1, {ACCEPTANCE: 1}, "ranked-suggestions/0/1"),
    ],
)
def test_a_loss_is_named(world: World, topic: str, which: int, lines: dict[str, int], place: str) -> None:
    world.alter = losing(topic, which=which)
    assert _wrong(world) == lines
    assert place in places(checked(world))


@pytest.mark.parametrize(
    ("topic", "which", "lines", "place"),
    [
        (_DEAD, 1, {LISTS: 1}, "dlq.clicks/0/1"),
        (_DEAD, 2, {CLICKS: 1, REFUSED: 1}, "dlq.clicks/0/2"),
        (_EXPORTS, 1, {EXPORTS: 1, ACCEPTED: 1}, "acceptance-exports/0/1"),
        (_AUDIT, 2, {ACCEPTED: 1}, "suggestion-audit/0/4"),
        (_AUDIT, 3, {CLICKS: 1}, "suggestion-audit/0/5"),
        (_AUDIT, 4, {REFUSED: 1}, "suggestion-audit/0/6"),
        (_STATES, 1, {}, None),
    ],
)
def test_a_duplicate_is_named(world: World, topic: str, which: int, lines: dict[str, int], place: str | None) -> None:
    """But of an acceptance only the last one counts."""
    world.alter = doubling(topic, which=which)
    assert _wrong(world) == lines
    assert place is None or place in places(checked(world))


def test_a_swap_of_two_exports_is_named(world: World) -> None:
    world.alter = swapping(_EXPORTS)
    assert _wrong(world) == {EXPORTS_ORDER: 1}


def _body(**fields: object) -> Callable[[NewRecord], NewRecord]:
    def change(record: NewRecord) -> NewRecord:
        body = msgspec.json.decode(record.value or b"") | fields
        return msgspec.structs.replace(record, value=msgspec.json.encode(body))

    return change


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (_body(acceptanceRate=0.75), "acceptanceRate is 0.75, a recount comes to 1.0"),
        (_body(acceptedArticleId="another"), "its body is not what its click says"),
        (lambda record: msgspec.structs.replace(record, value=None), "it is no export"),
    ],
)
def test_an_export_that_says_something_else_is_named(
    world: World, change: Callable[[NewRecord], NewRecord], what: str
) -> None:
    world.alter = changing(_EXPORTS, change)
    assert _wrong(world) == {RATES: 1}
    report = checked(world)
    assert ("acceptance-exports/0/0", what) in zip(places(report), [one.what for one in report.offenders], strict=True)


def _named(ce_id: bytes) -> Callable[[NewRecord], NewRecord]:
    def change(record: NewRecord) -> NewRecord:
        headers = tuple((name, ce_id if name == "ce_id" else value) for name, value in record.headers)
        return msgspec.structs.replace(record, headers=headers)

    return change


def test_an_export_under_another_key_is_named(world: World) -> None:
    world.alter = changing(_EXPORTS, _named(b"other"))
    assert _wrong(world) == {IDENTITY: 1}


def test_two_exports_under_one_key_are_named(world: World) -> None:
    """The KMP would take the second for a repeat of the first."""
    named = _named(b"one-key")
    world.alter = lambda record: (named(record),) if record.topic == _EXPORTS else (record,)
    assert _wrong(world) == {IDENTITY: 3}
    assert "another export within 30 s has its ce_id" in [one.what for one in checked(world).offenders]


def test_a_click_that_counts_twice_in_the_tally_is_named(world: World) -> None:
    """A recount says that it is a repeat: so the export should not be there."""
    tallied: list[NewRecord] = []

    def keep(record: NewRecord) -> list[NewRecord]:
        tallied.append(record)
        return [record]

    world.alter = keep
    _done(world)
    again = next(record for record in tallied if record.topic == _EXPORTS)
    for record in (again, next(record for record in tallied if b"suggestion_accepted" in (record.value or b""))):
        headers = tuple(
            (name, b"suggestion-clicks/0/4" if name == "x-source" else value) for name, value in record.headers
        )
        world.append(msgspec.structs.replace(record, headers=headers))
    world.click("i-1", "s0", click_id="c-1")
    world.worked |= {_CLICKS: 5}
    report = checked(world)
    assert {CLICKS, EXPORTS} <= wrong(report).keys()
    assert "suggestion-clicks/0/4" in places(report)


def test_an_export_that_is_read_before_its_click_counts_too(world: World) -> None:
    """The clock of the tally is behind that of the broker."""
    _done(world)
    for topic in (_EXPORTS, _AUDIT):
        world.records[topic] = [
            msgspec.structs.replace(record, timestamp=NOW_MS)  # type: ignore[type-var]
            for record in world.records[topic]
        ]
    assert wrong(checked(world)).keys().isdisjoint({CLICKS, EXPORTS, ACCEPTED, RATES, EXPORTED})


def test_records_before_the_range_are_nobodys_business(world: World) -> None:
    _done(world)
    begins = dict.fromkeys(_TOPICS.names(), 0) | {_CLICKS: 3, _EXPORTS: 2, _TOPICS.ranked_suggestions: 9}
    report = checked(world, begins=begins | {_TOPICS.raw_suggestions: 9})
    assert (counts(report, CLICKS), counts(report, EXPORTS)) == ((1, 1, 0, 0), (0, 0, 0, 0))
    assert counts(report, LISTS) == (0, 0, 0, 0)


def test_an_export_of_an_interaction_whose_beginning_is_gone_is_not_compared(world: World) -> None:
    _done(world)
    for topic in (_EXPORTS, _AUDIT):
        world.records[topic] = [
            msgspec.structs.replace(record, timestamp=record.timestamp + 60_000)  # type: ignore[type-var]
            for record in world.records[topic]
        ]
    report = checked(world, counted_from_ms=float("inf"))
    assert (counts(report, EXPORTS), counts(report, RATES)) == ((2, 2, 0, 0), (0, 0, 0, 0))
    assert wrong(report).keys().isdisjoint({CLICKS, EXPORTS, ACCEPTED})
