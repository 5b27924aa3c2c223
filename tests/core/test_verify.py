"""The books of whole numbers: moved clicks, lost input, and a million records with one fault of each kind."""

from collections.abc import Callable, Iterator, Sequence
from random import Random

import msgspec
import pytest

from bridge.core import acceptance
from bridge.core.acceptance import decode_acceptance
from bridge.core.dead_letters import REPLAY_COUNT, malformed_letter
from bridge.core.errors import MalformedError
from bridge.core.partitions import partition_of
from bridge.core.records import Header, NewRecord, Record
from bridge.core.topics import Options, Topics, topics_of
from bridge.core.verify import Moves, NumberBooks
from bridge.core.verify_findings import ACCEPTANCE, CLICKS, MOVED, RANKED_ORDER, RATES, RAW, RETRIEVED, Findings
from bridge.core.verify_in_step import InStep
from bridge.core.verify_scope import topics_exact, topics_read
from tests.fakes.world import (
    NOW_MS,
    Alter,
    World,
    changing,
    checked,
    counts,
    doubling,
    losing,
    places,
    runs,
    swapping_one_key,
    wrong,
)

_ONE = topics_of(Options(partitions=1))
_TWO = topics_of(Options(partitions=2))
_AUDIT, _CLICKS = _ONE.suggestion_audit, _ONE.suggestion_clicks


def test_an_empty_bridge_balances() -> None:
    report = checked(World(_ONE))
    assert (report.balanced, report.records) == (True, 0)


def test_events_of_ingress_are_nobodys_business() -> None:
    world = World(_ONE)
    world.append(NewRecord(topic=_AUDIT, key=b"i-1", value=b"{}", headers=(("ce_type", b"agentassist.audit.x"),)))
    world.append(NewRecord(topic=_AUDIT, key=b"i-1", value=b"{}"))
    assert wrong(checked(world)) == {}


# -- clicks that move --------------------------------------------------------------------------------------------------


def _moving(*, click_ids: tuple[str, ...] = ("c-1",), headers: Sequence[Header] = ()) -> tuple[World, World]:
    """A click of an interaction of number 1 that was sent to number 0, and what came of it on both."""
    interaction = next(f"i-{one}" for one in range(99) if partition_of(b"i-%d" % one, 2) == 1)
    wrongly, rightly = World(_TWO, number=0), World(_TWO, number=1)
    for click_id in click_ids:
        wrongly.click(interaction, click_id=click_id, headers=headers)
    wrongly.work()
    rightly.frame(interaction, 0.9)
    rightly.rank()
    for record in wrongly.elsewhere:
        rightly.append(record)
    rightly.work()
    return wrongly, rightly


def test_a_click_that_moves_is_counted_where_it_belongs() -> None:
    report = checked(*_moving())
    assert (wrong(report), counts(report, CLICKS), counts(report, MOVED)) == ({}, (2, 2, 0, 0), (1, 1, 0, 0))
    assert wrong(checked(*reversed(_moving()))) == {}


def test_a_click_that_was_sent_back_to_its_wrong_partition_moves_like_any_other() -> None:
    report = checked(*_moving(headers=[("x-dlq-replay-count", b"1")]))
    assert (wrong(report), counts(report, MOVED)) == ({}, (1, 1, 0, 0))


def test_a_click_that_is_lost_on_the_way_is_named() -> None:
    wrongly, _ = _moving()
    report = checked(wrongly, World(_TWO, number=1))
    assert (wrong(report), places(report)) == ({MOVED: 1}, ["suggestion-audit/0/0"])


def test_a_click_of_which_nobody_tells_that_it_moved_is_named() -> None:
    wrongly, rightly = _moving()
    wrongly.records[_TWO.suggestion_audit].clear()
    report = checked(wrongly, rightly)
    assert wrong(report) == {CLICKS: 1, MOVED: 1}
    assert places(report) == ["suggestion-clicks/0/0", "suggestion-clicks/1/0"]


def test_one_that_was_moved_after_the_positions_that_are_known_is_open() -> None:
    wrongly, rightly = _moving()
    rightly.records[_TWO.suggestion_clicks].clear()
    due_before = rightly.worked | {_TWO.suggestion_clicks: 0}
    report = checked(wrongly, due_before=due_before)
    assert (wrong(report), counts(report, MOVED)) == ({}, (1, 0, 1, 0))


def test_one_that_was_moved_before_the_range_is_nobodys_business() -> None:
    wrongly, rightly = _moving()
    wrongly.records[_TWO.suggestion_audit].clear()
    report = checked(wrongly, rightly, begins=dict.fromkeys(_TWO.names(), 0) | {_TWO.suggestion_clicks: 1})
    assert counts(report, MOVED) == (0, 0, 0, 0)


def test_moves_between_numbers_of_which_not_all_are_looked_at_cannot_be_proven() -> None:
    wrongly, rightly = _moving()
    for world, sides in ((wrongly, (1, 0)), (rightly, (0, 1))):
        report = checked(world, partitions=2)
        assert (wrong(report), counts(report, MOVED)) == ({}, (*sides, 0, 1))


@pytest.mark.parametrize(("until_ms", "unproven"), [(None, 0), (NOW_MS + 99, 0), (NOW_MS, 1)])
def test_one_that_was_moved_after_the_time_that_is_asked_for_may_not_have_been_read(
    until_ms: int | None, unproven: int
) -> None:
    """A number is read until all that was asked for is over there, whatever others still have to tell."""
    wrongly, _ = _moving()
    report = checked(wrongly, World(_TWO, number=1), until_ms=until_ms)
    assert (wrong(report), counts(report, MOVED)[3]) == ({} if unproven else {MOVED: 1}, unproven)


@pytest.mark.parametrize("source", [b"suggestion-clicks/9/0", b"suggestion-clicks/x/0", b"suggestion-clicks/0/x"])
def test_a_click_that_says_that_it_came_from_nowhere_is_named(source: bytes) -> None:
    world = World(_ONE)
    world.click("i-1", headers=[("x-source", source)])
    world.work()
    assert wrong(checked(world)) == {MOVED: 1}


@pytest.mark.parametrize(
    "headers", [[("x-source", b"a UI's own")], [("x-source", b"suggestion-clicks/0/7"), ("x-dlq-replay-count", b"1")]]
)
def test_other_sources_of_clicks_are_nobodys_business(headers: list[tuple[str, bytes]]) -> None:
    world = World(_ONE)
    world.click("i-1", headers=headers)
    world.work()
    assert wrong(checked(world)) == {}


def test_a_click_that_is_told_to_have_moved_twice_is_named() -> None:
    wrongly, rightly = _moving()
    told = wrongly.records[_TWO.suggestion_audit]
    told.append(msgspec.structs.replace(told[0], offset=1))  # type: ignore[type-var]
    report = checked(wrongly, rightly)
    assert (wrong(report), places(report)) == ({CLICKS: 1}, ["suggestion-audit/0/1"])


def test_an_export_that_was_sent_back_was_counted_before() -> None:
    world = World(_ONE)
    world.click("i-1")
    world.work()
    export = world.records[_ONE.acceptance_exports][0]
    again = (*export.headers, ("x-dlq-replay-count", b"1"))
    world.append(NewRecord(topic=export.topic, key=export.key, value=export.value, headers=again))
    world.work()
    assert wrong(checked(world)) == {}


@pytest.mark.parametrize("topic", [_ONE.ranked_suggestions, _ONE.suggestion_clicks])
def test_good_input_that_a_bad_release_of_the_tally_set_aside_balances_before_and_after_it_is_sent_back(
    topic: str,
) -> None:
    world = World(_ONE)
    world.frame("i-1", 0.9)
    world.frame("i-1", 0.8)
    world.rank()
    world.click("i-1")
    world.is_misread = lambda record: record.topic == topic
    world.work()
    assert wrong(checked(world)) == {}
    world.is_misread = lambda record: False
    for record in world.records[topic][:]:
        again = (*record.headers, (REPLAY_COUNT, b"1"))
        world.append(NewRecord(topic=topic, key=record.key, value=record.value, headers=again))
    world.click("i-1", "s1")
    world.work()
    assert wrong(checked(world)) == {}
    last = decode_acceptance(world.records[_ONE.interaction_acceptance][-1])
    assert (last.retrieved, last.accepted) == (2, 2)


def test_input_that_was_counted_though_it_was_set_aside_is_named() -> None:
    world = World(_ONE)
    world.frame("i-1", 0.9)
    world.rank()
    world.click("i-1")
    world.work()
    (counted,) = world.records[_ONE.ranked_suggestions]
    world.append(malformed_letter(counted, MalformedError("schema", "it is good"), topic=_ONE.dlq_clicks, worker="t"))
    assert wrong(checked(world)) == {ACCEPTANCE: 1, RATES: 1}


# -- input that was lost -----------------------------------------------------------------------------------------------


def _lost(**fields: object) -> NewRecord:
    told: dict[str, object] = {"event": "input_lost", "topic": _ONE.raw_suggestions, "partition": 0, "from": 0, "to": 2}
    return NewRecord(
        topic=_AUDIT,
        key=None,
        value=msgspec.json.encode(told | fields),
        headers=(("ce_type", b"agentassist.audit.input_lost"),),
    )


@pytest.mark.parametrize(
    ("letter", "lines", "lost"),
    [
        (_lost(), {RAW: 1}, 2),
        (_lost(partition=1), {RAW: 3}, 0),
        (_lost(topic="another"), {RAW: 3}, 0),
        (_lost(topic=_ONE.ranked_suggestions), {RAW: 3}, 2),
        (msgspec.structs.replace(_lost(), value=b"{"), {RAW: 3}, 0),
    ],
)
def test_input_that_was_lost_and_told_is_no_offender(letter: NewRecord, lines: dict[str, int], lost: int) -> None:
    world = World(_ONE)
    for _ in range(3):
        world.frame("i-1", 0.9)
    world.append(letter)
    report = checked(world, due_before=world.worked | {_ONE.raw_suggestions: 3})
    assert (wrong(report), report.lost_offsets) == (lines, lost)


# -- what is open ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("until", [None, "rank", "tally", "export"])
def test_something_is_open_until_every_hop_is_done(until: str | None) -> None:
    """With all positions at the ends: so whatever is missing should be there."""
    world = World(_ONE)
    world.frame("i-1", 0.9)
    for hop in () if until is None else ("rank", "tally", "export"):
        getattr(world, hop)()
        if hop == "rank":
            world.click("i-1", click_id="c-1")
        if hop == until:
            break
    findings = Findings(max_offenders=1)
    scope = world.scope(due_before=dict(world.ends))
    books = NumberBooks(scope, acceptance.Options(), findings, Moves(_CLICKS, findings))
    for topic, records, in_step in runs(_ONE, world.records):
        books.take(topic, records, read_to=in_step.position)
    assert books.is_open(now_ms=0) == (until != "export")


def test_an_acceptance_that_is_missing_is_open() -> None:
    world = World(_ONE)
    world.frame("i-1", 0.9)
    world.frame("i-2", 0.9)
    world.work()
    findings = Findings(max_offenders=1)
    books = NumberBooks(world.scope(), acceptance.Options(), findings, Moves(_CLICKS, findings))
    del world.records[_ONE.interaction_acceptance][1]
    for topic, records, in_step in runs(_ONE, world.records):
        books.take(topic, records, read_to=in_step.position)
    assert books.is_open(now_ms=0)
    assert books.open == 0


# -- a million ---------------------------------------------------------------------------------------------------------

_NUMBERS = 4
_TICKS = 1_000
_LISTS, _TAKEN = 55, 6


def _tick(world: World, ids: list[str], chance: Random, tick: int) -> None:
    """A quarter of a second of a busy tenant; something on each topic."""
    for _ in range(_LISTS):
        confidences = (0.9, 0.8, 0.95) if chance.random() > 0.02 else (0.1,)
        world.frame(chance.choice(ids), *confidences)
    world.raw(b"garbage %d" % tick, ids[0])
    world.rank()
    for at in range(_TAKEN):
        # Now and then the UI sends a click again.
        world.click(
            chance.choice(ids), f"s{chance.randrange(3)}", click_id=f"{tick if chance.random() > 0.1 else 0}-{at}"
        )
    world.append(NewRecord(topic=_CLICKS, key=ids[0].encode(), value=b"garbage"))
    world.click(ids[0], click_id=f"refused-{tick}")
    world.tally()
    world.export()


class _Stream:
    """A number that comes and goes: what was read is not kept."""

    def __init__(self, topics: Topics, number: int, *, alter: Alter) -> None:
        chance = Random(number)
        ids = [f"i-{one}" for one in range(1_200) if partition_of(b"i-%d" % one, topics.partitions) == number]
        self._world = World(topics, number=number)
        self._world.alter = alter
        self._world.refuses = lambda interaction: interaction == ids[0]
        self._ticks = iter(range(_TICKS))
        self._tick: Callable[[int], None] = lambda tick: _tick(self._world, ids, chance, tick)
        self._topics = topics
        self.scope = self._world.scope(due_before=dict.fromkeys(topics.names(), 2**62))

    def runs(self) -> Iterator[tuple[str, Sequence[Record], InStep]]:
        read = topics_read(self._topics)
        in_step = InStep(dict.fromkeys(read, 0), exact=topics_exact(self._topics))
        while in_step.wanting():
            is_over = not self._go_on()
            for topic in in_step.wanting():
                records, self._world.records[topic] = self._world.records[topic], []
                in_step.feed(topic, records, position=self._world.ends[topic], is_over=is_over)
            while (run := in_step.next_run()) is not None:
                yield *run, in_step

    def _go_on(self) -> bool:
        tick = next(self._ticks, None)
        if tick is not None:
            self._tick(tick)
        return tick is not None


def _wrongly(record: NewRecord) -> NewRecord:
    value = msgspec.json.decode(record.value or b"")
    return msgspec.structs.replace(record, value=msgspec.json.encode(value | {"retrieved": value["retrieved"] + 1}))


@pytest.mark.timeout(600)
def test_one_fault_of_each_kind_is_found_in_a_million_records() -> None:
    """A loss, a duplicate, a swap and a wrong count, each on a number of its own; and nothing else is told."""
    topics = topics_of(Options(partitions=_NUMBERS))
    faults: list[Alter] = [
        losing(topics.ranked_suggestions, which=23_456),
        doubling(topics.suggestion_audit, which=34_567),
        swapping_one_key(topics.ranked_suggestions, which=12_345),
        changing(topics.interaction_acceptance, _wrongly, which=20_000),
    ]
    findings, records, scopes = Findings(max_offenders=20), 0, {}
    moves = Moves(topics.suggestion_clicks, findings)
    largest = 0
    for number, alter in enumerate(faults):
        stream = _Stream(topics, number, alter=alter)
        books = NumberBooks(stream.scope, acceptance.Options(), findings, moves)
        for topic, run, in_step in stream.runs():
            books.take(topic, run, read_to=in_step.position)
            records += len(run)
            largest = max(largest, books.open)
        books.finish()
        scopes[number] = stream.scope
    moves.finish(scopes, partitions=len(scopes))
    report = findings.report(records=records)
    assert report.records > 1_000_000
    assert largest < 2_000, "what is held is what is open"
    assert wrong(report) == {RAW: 1, RETRIEVED: 2, RANKED_ORDER: 1, ACCEPTANCE: 1}
    assert [(place, one.what) for place, one in zip(places(report), report.offenders, strict=True)] == [
        ("raw-suggestions/0/24365", "there is suggestions_retrieved of it, but no ranked list"),
        (
            "suggestion-audit/1/34567",
            "it is a second suggestions_retrieved of raw-suggestions/1/27674, or that is no record",
        ),
        (
            "ranked-suggestions/2/12385",
            "what was made of offset 12866, of the same interaction, stands before it",
        ),
        ("interaction-acceptance/3/19999", "retrieved is 67, a recount comes to 66"),
    ]
