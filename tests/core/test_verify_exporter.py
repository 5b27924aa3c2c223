"""acceptance-exports and what the exporter made of it."""

import msgspec
import pytest

from bridge.core.records import NewRecord
from bridge.core.topics import Options, topics_of
from bridge.core.verify_findings import ACCEPTED, CLICKS, DELIVERED, EXPORTED, EXPORTS, RATES
from tests.fakes.world import World, changing, checked, counts, doubling, losing, places, wrong

_TOPICS = topics_of(Options(partitions=1))
_EXPORTS, _AUDIT, _DEAD = _TOPICS.acceptance_exports, _TOPICS.suggestion_audit, _TOPICS.dlq_exports


@pytest.fixture
def world() -> World:
    """Of three clicks, the export of the second is refused."""
    world = World(_TOPICS)
    world.refuses = lambda interaction: interaction == "i-2"
    for number in (1, 2, 3):
        world.frame(f"i-{number}", 0.9)
        world.click(f"i-{number}", click_id=f"c-{number}")
    world.rank()
    world.tally()
    return world


def test_a_good_day_balances(world: World) -> None:
    world.export()
    report = checked(world)
    assert (wrong(report), counts(report, EXPORTED), counts(report, DELIVERED)) == ({}, (3, 3, 0, 0), (1, 1, 0, 0))


def test_what_was_not_posted_yet_is_open(world: World) -> None:
    report = checked(world)
    assert (wrong(report), counts(report, EXPORTED)) == ({}, (3, 0, 3, 0))


@pytest.mark.parametrize(
    ("topic", "which", "lines", "place"),
    [
        (_AUDIT, 1, {EXPORTED: 1}, "acceptance-exports/0/0"),
        (_AUDIT, 2, {EXPORTED: 1, DELIVERED: 1}, "acceptance-exports/0/1"),
        (_DEAD, 1, {DELIVERED: 1}, "acceptance-exports/0/1"),
    ],
)
def test_a_loss_is_named(world: World, topic: str, which: int, lines: dict[str, int], place: str) -> None:
    world.alter = losing(topic, which=which)
    world.export()
    report = checked(world)
    assert (wrong(report), places(report)) == (lines, [place])


@pytest.mark.parametrize(
    ("topic", "lines", "place"),
    [(_AUDIT, {EXPORTED: 1}, "suggestion-audit/0/7"), (_DEAD, {DELIVERED: 1}, "dlq.exports/0/1")],
)
def test_a_duplicate_is_named(world: World, topic: str, lines: dict[str, int], place: str) -> None:
    world.alter = doubling(topic)
    world.export()
    report = checked(world)
    assert (wrong(report), places(report)) == (lines, [place])


@pytest.mark.parametrize("value", [b'{"exportId":"other","outcome":"delivered"}', b"{", b'{"outcome":"delivered"}'])
def test_an_audit_that_names_another_export_is_named(world: World, value: bytes) -> None:
    world.alter = changing(_AUDIT, lambda record: msgspec.structs.replace(record, value=value))
    world.export()
    report = checked(world)
    assert wrong(report).get(EXPORTED) == 1
    assert "suggestion-audit/0/6" in places(report) or "acceptance-exports/0/0" in places(report)


def test_what_can_never_be_posted_is_a_dead_letter_without_an_audit(world: World) -> None:
    """Nobody made it of a click, though."""
    world.append(NewRecord(topic=_EXPORTS, key=b"i-1", value=b"{"))
    world.export()
    report = checked(world)
    assert (counts(report, EXPORTED), wrong(report)) == ((4, 4, 0, 0), {EXPORTS: 1, ACCEPTED: 1})
    assert CLICKS not in wrong(report)
    assert RATES not in wrong(report)
    assert places(report) == ["acceptance-exports/0/3"]


def test_an_export_that_was_sent_back_is_posted_once_more_and_counted_no_more(world: World) -> None:
    world.export()
    refused = world.records[_EXPORTS][1]
    again = (*refused.headers, ("x-dlq-replay-count", b"1"))
    world.append(NewRecord(topic=_EXPORTS, key=refused.key, value=refused.value, headers=again))
    world.refuses = lambda interaction: False
    world.export()
    report = checked(world)
    assert (wrong(report), counts(report, EXPORTED)) == ({}, (4, 4, 0, 0))
    assert counts(report, EXPORTS) == (3, 3, 0, 0)
