"""raw-suggestions and what the ranker made of it: a loss, a duplicate and a swap are named by where they stand."""

import msgspec
import pytest

from bridge.core.dead_letters import REPLAY_COUNT
from bridge.core.records import NewRecord, StoredRecord
from bridge.core.replay import note_of
from bridge.core.topics import Options, topics_of
from bridge.core.verify_findings import IDENTITY, RANKED_ORDER, RAW, RETRIEVED
from tests.fakes.world import World, changing, checked, counts, doubling, losing, places, swapping, wrong

_TOPICS = topics_of(Options(partitions=1))
_RANKED, _AUDIT, _DEAD = _TOPICS.ranked_suggestions, _TOPICS.suggestion_audit, _TOPICS.dlq_ranker


@pytest.fixture
def world() -> World:
    return World(_TOPICS)


def _frames(world: World) -> None:
    """A list, a list of which nothing is left, garbage, two lists of one interaction."""
    world.frame("i-1", 0.9, 0.8)
    world.frame("i-2", 0.1)
    world.raw(b"garbage", "i-3")
    world.frame("i-4", 0.9)
    world.frame("i-4", 0.8)
    world.work()


def test_a_good_day_balances(world: World) -> None:
    _frames(world)
    world.rank(superseded=[world.frame("i-4", 0.9)])
    report = checked(world)
    assert wrong(report) == {}
    assert (counts(report, RAW), counts(report, RETRIEVED)) == ((6, 6, 0, 0), (3, 3, 0, 0))
    assert counts(report, RANKED_ORDER) == (3, 3, 0, 0)
    assert report.interactions == 2


@pytest.mark.parametrize(
    ("topic", "which", "lines", "place"),
    [
        (_RANKED, 1, {RAW: 1, RETRIEVED: 1}, "raw-suggestions/0/0"),
        (_AUDIT, 1, {RETRIEVED: 1}, "raw-suggestions/0/0"),
        (_AUDIT, 2, {RAW: 1}, "raw-suggestions/0/1"),
        (_DEAD, 1, {RAW: 1}, "raw-suggestions/0/2"),
    ],
)
def test_a_loss_is_named(world: World, topic: str, which: int, lines: dict[str, int], place: str) -> None:
    world.alter = losing(topic, which=which)
    _frames(world)
    report = checked(world)
    assert (wrong(report), places(report)) == (lines, [place])


@pytest.mark.parametrize(
    ("topic", "which", "lines", "place"),
    [
        (_RANKED, 1, {RAW: 1, RETRIEVED: 1}, "ranked-suggestions/0/1"),
        (_AUDIT, 1, {RETRIEVED: 1}, "suggestion-audit/0/1"),
        (_AUDIT, 2, {RAW: 1}, "suggestion-audit/0/2"),
        (_DEAD, 1, {RAW: 1}, "dlq.ranker/0/1"),
    ],
)
def test_a_duplicate_is_named(world: World, topic: str, which: int, lines: dict[str, int], place: str) -> None:
    world.alter = doubling(topic, which=which)
    _frames(world)
    report = checked(world)
    assert (wrong(report), places(report)) == (lines, [place])


def test_a_swap_within_an_interaction_is_named(world: World) -> None:
    world.alter = swapping(_RANKED, which=2)
    _frames(world)
    report = checked(world)
    assert (wrong(report), places(report)) == ({RANKED_ORDER: 1}, ["ranked-suggestions/0/2"])
    assert report.offenders[0].what == "what was made of offset 4, of the same interaction, stands before it"


def test_the_order_of_two_interactions_among_each_other_is_nobodys_business(world: World) -> None:
    world.alter = swapping(_RANKED, which=1)
    _frames(world)
    assert wrong(checked(world)) == {}


def test_a_list_with_the_identity_of_another_is_named(world: World) -> None:
    def renamed(record: NewRecord) -> NewRecord:
        headers = tuple((name, b"other" if name == "ce_id" else value) for name, value in record.headers)
        return msgspec.structs.replace(record, headers=headers)

    world.alter = changing(_RANKED, renamed)
    _frames(world)
    report = checked(world)
    assert (wrong(report), places(report)) == ({IDENTITY: 1}, ["ranked-suggestions/0/0"])


def test_a_frame_that_two_sockets_brought_is_a_repeat_and_no_offender(world: World) -> None:
    world.frame("i-1", 0.9, ce_id="same")
    world.frame("i-1", 0.9, ce_id="same")
    world.work()
    report = checked(world)
    assert (wrong(report), report.repeats) == ({}, 1)


def test_a_raw_record_of_someone_elses_has_its_place_for_a_name(world: World) -> None:
    world.append(NewRecord(topic=_TOPICS.raw_suggestions, key=b"i-1", value=world.frame("i-1", 0.9).value))
    world.work()
    assert wrong(checked(world)) == {}


def test_a_letter_that_is_sent_back_is_another_record_with_the_same_name(world: World) -> None:
    """The note that tells of it stands among the dead letters, and is none."""
    garbage = world.raw(b"garbage", "i-1")
    world.work()
    again = tuple(garbage.headers)
    world.append(
        NewRecord(topic=garbage.topic, key=garbage.key, value=garbage.value, headers=(*again, (REPLAY_COUNT, b"1")))
    )
    world.append(note_of(_DEAD, 0, [0], at_ms=world.at_ms))
    world.work()
    report = checked(world)
    assert (wrong(report), counts(report, RAW)) == ({}, (2, 2, 0, 0))


def test_a_list_that_is_read_before_its_raw_record_counts_too(world: World) -> None:
    """The clock of whoever wrote the raw record is ahead."""
    _frames(world)
    raw = world.records[_TOPICS.raw_suggestions]
    for at, record in enumerate(raw):
        assert isinstance(record, StoredRecord)
        raw[at] = msgspec.structs.replace(record, timestamp=record.timestamp + 60_000)
    report = checked(world)
    assert (wrong(report), counts(report, RAW)) == ({}, (5, 5, 0, 0))
