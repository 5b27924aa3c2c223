"""Every acceptance is what a recount comes to, up to exactly where its transaction ended."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from bridge.core import acceptance
from bridge.core.partitions import partition_of
from bridge.core.records import NewRecord, Record, StoredRecord
from bridge.core.topics import Options, topics_of
from bridge.core.verify_findings import ACCEPTANCE, CLICKS, EXPORTS, RATES, Findings
from bridge.core.verify_recount import Recounting, Verdict
from tests.fakes.world import World, changing, checked, counts, places, wrong

_TOPICS = topics_of(Options(partitions=1))
_RANKED, _CLICKS = _TOPICS.ranked_suggestions, _TOPICS.suggestion_clicks
_DAY_MS = 24 * 60 * 60 * 1000
_STATES, _EXPORTS = _TOPICS.interaction_acceptance, _TOPICS.acceptance_exports


@pytest.fixture
def world() -> World:
    return World(_TOPICS)


def _day(world: World) -> None:
    """Three lists and a click of one interaction, a list of another, in three transactions."""
    world.frame("i-1", 0.9, 0.8)
    world.frame("i-2", 0.9)
    world.work()
    world.frame("i-1", 0.9)
    world.click("i-1", click_id="c-1")
    world.work()
    world.frame("i-1", 0.9)
    world.work()


def _altered(**fields: object) -> Callable[[NewRecord], NewRecord]:
    def change(record: NewRecord) -> NewRecord:
        value = msgspec.json.decode(record.value or b"") | fields
        return msgspec.structs.replace(record, value=msgspec.json.encode(value))

    return change


def test_acceptances_are_compared_one_by_one(world: World) -> None:
    _day(world)
    report = checked(world)
    assert (wrong(report), counts(report, ACCEPTANCE)) == ({}, (4, 4, 0, 0))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (_altered(retrieved=4), "retrieved is 4, a recount comes to 2"),
        (
            _altered(accepted=2, acceptanceRate=1.0),
            "accepted is 2, a recount comes to 1; acceptanceRate is 1.0, a recount comes to 0.5",
        ),
        (_altered(recent={}), "its memory (`recent`) is not what a recount comes to"),
        (
            lambda record: msgspec.structs.replace(record, value=None),
            "it is null, or cannot be read, and the interaction is not forgotten",
        ),
        (
            lambda record: msgspec.structs.replace(record, value=b"{"),
            "it is null, or cannot be read, and the interaction is not forgotten",
        ),
    ],
)
def test_a_wrong_count_is_named(world: World, change: Callable[[NewRecord], NewRecord], what: str) -> None:
    world.alter = changing(_STATES, change, which=3)
    _day(world)
    report = checked(world)
    assert (wrong(report), places(report)) == ({ACCEPTANCE: 1}, ["interaction-acceptance/0/2"])
    assert report.offenders[0].what == what


def test_a_click_that_was_read_late_is_right_by_the_lists_appended_before_it(world: World) -> None:
    """Its broker stood still between stamping and showing it; lists that were appended later are counted already."""
    world.frame("i-1", 0.9)
    world.work()
    world.frame("i-1", 0.9)
    world.work()
    world.at_ms = world.records[_RANKED][1].timestamp - 2
    world.click("i-1", click_id="late")
    world.work()
    assert msgspec.json.decode(world.records[_EXPORTS][0].value or b"")["acceptanceRate"] == 1.0
    report = checked(world)
    assert (wrong(report), counts(report, RATES)) == ({}, (1, 1, 0, 0))


def test_a_list_that_a_counted_click_has_not_seen_is_named(world: World) -> None:
    """The export has gone out with a rate that is wrong."""
    world.frame("i-1", 0.9)
    world.work()
    world.click("i-1", click_id="c")
    world.work()
    world.at_ms = world.records[_CLICKS][0].timestamp - 2
    world.frame("i-1", 0.9)
    world.rank()
    world.at_ms += 60_000
    world.work()
    assert RATES in wrong(checked(world))


def test_an_interaction_that_is_wrong_is_named_once_and_counted_each_time(world: World) -> None:
    change = _altered(retrieved=9)
    world.alter = lambda record: (change(record),) if record.topic == _STATES else (record,)
    _day(world)
    report = checked(world)
    assert (wrong(report), places(report)) == (
        {ACCEPTANCE: 4},
        ["interaction-acceptance/0/0", "interaction-acceptance/0/1"],
    )


def test_an_acceptance_of_nobody_is_named(world: World) -> None:
    _day(world)
    state = world.records[_STATES][-1]
    value = (state.value or b"").replace(b"i-1", b"i-9")
    world.append(NewRecord(topic=_STATES, key=b"i-9", value=value, headers=tuple(state.headers)))
    report = checked(world)
    assert wrong(report) == {ACCEPTANCE: 1}
    assert report.offenders[0].what.startswith("it stands for an interaction of which nothing was counted")


def test_an_acceptance_that_does_not_say_up_to_where_it_counts_is_named(world: World) -> None:
    _day(world)
    world.append(NewRecord(topic=_STATES, key=b"i-1", value=b"{}"))
    assert wrong(checked(world)) == {ACCEPTANCE: 1}


def test_acceptances_that_compaction_has_removed_are_not_missed(world: World) -> None:
    _day(world)
    world.records[_STATES] = [world.records[_STATES][at] for at in (1, 3)]
    report = checked(world)
    assert (wrong(report), counts(report, ACCEPTANCE)) == ({}, (2, 2, 0, 0))
    assert counts(report, RATES) == (1, 1, 0, 0)


def test_the_last_acceptance_of_an_interaction_is_missed(world: World) -> None:
    _day(world)
    del world.records[_STATES][3]
    report = checked(world)
    assert (wrong(report), places(report)) == ({ACCEPTANCE: 1}, ["ranked-suggestions/0/3"])


def test_what_was_counted_after_the_positions_that_are_known_is_open(world: World) -> None:
    """The positions are asked for first, so the topics may have more."""
    _day(world)
    due_before = dict(world.worked) | {_RANKED: 3, _CLICKS: 1}
    del world.records[_STATES][3]
    report = checked(world, due_before=due_before)
    assert (wrong(report), counts(report, ACCEPTANCE)) == ({}, (3, 3, 0, 0))
    world.records[_STATES].append(_copy_of(world.records[_STATES][0], positions=dict(world.worked)))
    report = checked(world, due_before=due_before)
    assert counts(report, ACCEPTANCE)[2] == 1


def _copy_of(record: Record, *, positions: dict[str, int]) -> Record:
    spelled = msgspec.json.encode({topic: positions[topic] for topic in (_RANKED, _CLICKS)})
    headers = tuple((name, spelled if name == "x-positions" else value) for name, value in record.headers)
    return msgspec.structs.replace(record, key=b"i-9", timestamp=2**50, headers=headers)  # type: ignore[type-var]


def test_an_acceptance_waits_for_the_lists_and_the_clicks_that_it_counts(world: World) -> None:
    """The clock of the tally is behind that of the broker."""
    _day(world)
    world.records[_STATES] = [
        msgspec.structs.replace(record, timestamp=0)  # type: ignore[type-var]
        for record in world.records[_STATES]
    ]
    report = checked(world)
    assert (wrong(report), counts(report, ACCEPTANCE)) == ({}, (4, 4, 0, 0))


def test_an_interaction_that_is_silent_for_long_is_forgotten() -> None:
    """And then its last acceptance is a null, or nothing at all, once the topic is compacted."""
    options = acceptance.Options(forget_after_s=60)
    world = World(_TOPICS, options=options)
    _day(world)
    world.at_ms += 100_000
    world.frame("i-3", 0.9)
    world.work()
    assert [record.value for record in world.records[_STATES][-2:]] == [None, None]
    assert wrong(checked(world, options=options)) == {}
    world.records[_STATES] = [record for record in world.records[_STATES] if record.key == b"i-3"]
    assert wrong(checked(world, options=options)) == {}
    assert wrong(checked(world)) == {ACCEPTANCE: 2}


def test_the_former_life_of_an_interaction_that_came_back_after_it_was_forgotten_is_not_judged(world: World) -> None:
    """Lists are kept for a week, clicks for a month: of the click the export is there, and of its rate nothing."""
    world.frame("i-1", 0.9)
    world.click("i-1", click_id="c-1")
    world.work()
    world.at_ms += 12 * _DAY_MS
    world.frame("i-2", 0.9)
    world.work()
    known_from_ms = world.at_ms - 2
    world.frame("i-1", 0.9, 0.8)
    world.click("i-1", "s1", click_id="c-2")
    world.work()
    for topic in (_TOPICS.raw_suggestions, _RANKED):
        del world.records[topic][0]
    last = {record.key: record for record in world.records[_STATES]}
    world.records[_STATES] = [record for record in world.records[_STATES] if record is last[record.key]]
    begins = dict.fromkeys(_TOPICS.names(), 0) | {_TOPICS.raw_suggestions: 1, _RANKED: 1}
    report = checked(world, begins=begins, reads_from=begins, counted_from_ms=known_from_ms)
    assert wrong(report) == {}
    assert counts(report, RATES)[0] == 1, "the click of its second life is compared"


class TestAlone:
    """A recount by itself: what it says of each record."""

    @staticmethod
    def _recounting() -> tuple[Recounting, list[Verdict], list[int], Findings]:
        verdicts: list[Verdict] = []
        unreadable: list[int] = []
        findings = Findings(max_offenders=9)
        world = World(topics_of(Options(partitions=2)), number=partition_of(b"i-1", 2))
        recounting = Recounting(
            world.scope(),
            acceptance.Options(),
            findings,
            judge=verdicts.append,
            unreadable=unreadable.append,
        )
        return recounting, verdicts, unreadable, findings

    @staticmethod
    def _click(offset: int, *, interaction: str = "i-1", value: bytes | None = None) -> Record:
        body = b'{"interactionId":"%b","suggestionId":"s","articleId":"a","clickId":"c"}' % interaction.encode()
        return StoredRecord(
            topic=_CLICKS,
            partition=partition_of(b"i-1", 2),
            offset=offset,
            key=interaction.encode(),
            value=value or body,
        )

    def test_clicks_are_counted_once_and_where_they_belong(self) -> None:
        recounting, verdicts, _, _ = self._recounting()
        elsewhere = next(f"i-{one}" for one in range(99) if partition_of(b"i-%d" % one, 2) != partition_of(b"i-1", 2))
        clicks = [self._click(0), self._click(1), self._click(2, interaction=elsewhere), self._click(3, value=b"{")]
        recounting.clicks(clicks)
        assert recounting.waiting == 4
        recounting.count_to({_CLICKS: 2})
        assert recounting.waiting == 2
        recounting.count_to({_CLICKS: 4})
        assert [verdict.is_counted for verdict in verdicts] == [True, False, False, False]

    def test_lists_that_nobody_can_read_are_told_and_repeats_are_not_counted(self) -> None:
        recounting, _, unreadable, _ = self._recounting()
        world = World(_TOPICS)
        world.frame("i-1", 0.9, ce_id="same")
        world.frame("i-1", 0.9, ce_id="same")
        world.rank()
        world.append(NewRecord(topic=_RANKED, key=b"i-1", value=b"{"))
        recounting.lists(world.records[_RANKED])
        recounting.count_to({_RANKED: 2})
        assert unreadable == []
        recounting.count_to({_RANKED: 3})
        assert unreadable == [2]

    def test_something_is_open_until_its_acceptance_is_there(self) -> None:
        recounting, _, _, findings = self._recounting()
        recounting.clicks([self._click(0)])
        recounting.count_to({_CLICKS: 1})
        assert recounting.is_open_before({_CLICKS: 1})
        assert not recounting.is_open_before({})
        recounting.finish({_CLICKS: 0})
        assert findings.report(records=0).balanced


class TestWhereTheBeginningIsGone:
    """Retention has deleted lists or clicks, or only later ones were asked for."""

    @staticmethod
    def _shortened(world: World) -> dict[str, Any]:
        """The first transaction is gone; `i-4` begins later."""
        world.frame("i-1", 0.9)
        world.click("i-1", click_id="c-0")
        world.work()
        gone = {topic: len(world.records[topic]) for topic in _TOPICS.names()}
        from_ms = world.at_ms
        world.click("i-1", click_id="c-2")
        _day(world)
        world.frame("i-4", 0.9)
        world.click("i-4", click_id="c-4")
        world.work()
        for topic, count in gone.items():
            del world.records[topic][:count]
        return {"begins": gone, "reads_from": gone, "counted_from_ms": from_ms}

    def test_the_first_acceptance_that_is_left_is_taken_over(self, world: World) -> None:
        report = checked(world, **self._shortened(world))
        assert (wrong(report), counts(report, ACCEPTANCE)) == ({}, (5, 5, 0, 1))

    def test_what_is_counted_from_then_on_is_compared(self, world: World) -> None:
        scope = self._shortened(world)
        states = world.records[_STATES]
        value = (states[-1].value or b"").replace(b'"retrieved":1', b'"retrieved":2')
        states[-1] = msgspec.structs.replace(states[-1], value=value)  # type: ignore[type-var]
        assert wrong(checked(world, **scope)) == {ACCEPTANCE: 1}

    def test_a_click_of_an_interaction_whose_beginning_is_gone_counts_as_the_tally_says(self, world: World) -> None:
        """The rate of `c-2` follows from what was counted before the range."""
        scope = self._shortened(world)
        report = checked(world, **scope)
        assert (counts(report, CLICKS), counts(report, EXPORTS)) == ((3, 3, 0, 0), (3, 3, 0, 0))
        assert counts(report, RATES) == (2, 2, 0, 0)

    def test_a_repeat_of_a_click_that_is_gone_is_no_offender(self, world: World) -> None:
        scope = self._shortened(world)
        world.click("i-1", click_id="c-0")
        world.work()
        report = checked(world, **scope)
        assert (wrong(report), counts(report, CLICKS)) == ({}, (4, 4, 0, 0))

    def test_a_click_whose_interaction_has_no_acceptance_left_counts_as_the_tally_says(self, world: World) -> None:
        scope = self._shortened(world)
        world.records[_STATES].clear()
        report = checked(world, **scope)
        assert wrong(report) == {ACCEPTANCE: 3}
        assert (counts(report, CLICKS), counts(report, EXPORTS)) == ((3, 3, 0, 0), (3, 3, 0, 0))

    def test_acceptances_that_count_what_is_gone_are_not_taken_over(self, world: World) -> None:
        """Between them and what is left there may be lists that nobody has any more."""
        scope = self._shortened(world)
        state = world.records[_STATES][0]
        early = _copy_of(state, positions={_RANKED: 0, _CLICKS: 1})
        world.records[_STATES].insert(0, msgspec.structs.replace(early, key=b"i-1", timestamp=0))  # type: ignore[type-var]
        report = checked(world, **scope)
        assert (wrong(report), counts(report, ACCEPTANCE)) == ({}, (6, 6, 0, 2))

    def test_a_null_is_a_beginning(self, world: World) -> None:
        options = acceptance.Options(forget_after_s=60)
        world = World(_TOPICS, options=options)
        world.frame("i-1", 0.9)
        world.work()
        gone = {topic: len(world.records[topic]) for topic in _TOPICS.names()}
        from_ms = world.at_ms
        world.at_ms += 100_000
        world.frame("i-2", 0.9)
        world.work()
        world.frame("i-1", 0.9)
        world.work()
        for topic, count in gone.items():
            del world.records[topic][:count]
        report = checked(world, options=options, begins=gone, reads_from=gone, counted_from_ms=from_ms)
        assert (wrong(report), counts(report, ACCEPTANCE)) == ({}, (3, 3, 0, 1))
