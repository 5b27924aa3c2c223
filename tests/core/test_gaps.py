"""The gap ledger and the tally of what was shed."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from bridge.core.gaps import Gap, GapLedger, Shed, ShedTally


def gap(interaction_id: str, from_ms: int | None, to_ms: int, cause: str) -> Gap:
    return Gap(interaction_id=interaction_id, from_ms=from_ms, to_ms=to_ms, cause=cause)


def live(*interaction_ids: str) -> GapLedger:
    ledger = GapLedger()
    for interaction_id in interaction_ids:
        ledger.subscribed(interaction_id, at_ms=0)
    return ledger


def test_a_first_subscription_has_no_gap() -> None:
    ledger = GapLedger()
    ledger.disconnected("i", cause="dropped")  # It was not carried yet.
    ledger.subscribed("i", at_ms=10)
    assert ledger.tell() == []


def test_a_gap_lasts_from_the_last_frame_known_to_the_next_subscription() -> None:
    ledger = live("i", "other")
    ledger.received("i", at_ms=50)
    ledger.disconnected("i", cause="dropped")
    assert ledger.tell() == []
    ledger.subscribed("i", at_ms=90)
    assert ledger.tell() == [gap("i", 50, 90, "dropped")]
    assert ledger.tell() == []


def test_without_a_frame_the_beginning_is_not_known() -> None:
    ledger = live("i")
    ledger.disconnected("i", cause="dropped")
    ledger.subscribed("i", at_ms=90)
    assert ledger.tell() == [gap("i", None, 90, "dropped")]


def test_an_open_gap_keeps_its_beginning_and_its_cause() -> None:
    ledger = live("i")
    ledger.received("i", at_ms=50)
    ledger.disconnected("i", cause="dropped")
    ledger.received("i", at_ms=60)  # A frame that was still on its way.
    ledger.disconnected("i", cause="unreachable")
    ledger.subscribed("i", at_ms=90)
    assert ledger.tell() == [gap("i", 50, 90, "dropped")]


def test_the_next_gap_begins_where_the_last_one_ended() -> None:
    ledger = live("i")
    for at_ms in (100, 200):
        ledger.disconnected("i", cause="dropped")
        ledger.subscribed("i", at_ms=at_ms)
        assert ledger.tell() == [gap("i", None if at_ms == 100 else 100, at_ms, "dropped")]


def test_gaps_that_nobody_was_told_of_become_one() -> None:
    ledger = live("i")
    ledger.received("i", at_ms=5)
    for at_ms in (100, 200):
        ledger.disconnected("i", cause="dropped")
        ledger.subscribed("i", at_ms=at_ms)
    assert ledger.tell() == [gap("i", 5, 200, "dropped")]


def test_a_takeover_opens_a_gap_without_a_beginning() -> None:
    ledger = GapLedger()
    ledger.taken_over("i")
    ledger.subscribed("i", at_ms=70)
    assert ledger.tell() == [gap("i", None, 70, "takeover")]


def test_a_stop_tells_a_gap_for_everything_live_and_everything_open() -> None:
    ledger = live("live", "lost")
    ledger.received("live", at_ms=5)
    ledger.disconnected("lost", cause="dropped")
    ledger.taken_over("waiting")
    ledger.stopped(at_ms=20)
    assert sorted(ledger.tell(), key=lambda told: told.interaction_id) == [
        gap("live", 5, 20, "stopped"),
        gap("lost", None, 20, "dropped"),
        gap("waiting", None, 20, "takeover"),
    ]


def test_the_end_of_a_subscription_ends_its_gap() -> None:
    ledger = live("lost", "live")
    ledger.disconnected("lost", cause="dropped")
    ledger.ended("lost", at_ms=30)
    ledger.ended("live", at_ms=30)
    ledger.ended("never", at_ms=30)
    assert ledger.tell() == [gap("lost", None, 30, "dropped")]
    ledger.received("live", at_ms=40)
    ledger.subscribed("live", at_ms=50)
    assert ledger.tell() == []


def test_a_subscription_that_was_handed_over_is_told_by_the_other_replica() -> None:
    ledger = live("i")
    ledger.disconnected("i", cause="dropped")
    ledger.handed_over("i")
    ledger.subscribed("i", at_ms=50)
    ledger.stopped(at_ms=60)
    assert ledger.tell() == [gap("i", None, 60, "stopped")]


@given(st.lists(st.sampled_from(["frame", "disconnect", "subscribe", "tell"]), max_size=60))
def test_every_missed_time_lies_in_a_gap_and_gaps_never_overlap(steps: list[str]) -> None:
    ledger, told, is_live, missed = live("i"), list[Gap](), True, list[int]()
    for at_ms, step in enumerate([*steps, "disconnect", "subscribe", "tell"], start=1):
        match step:
            case "frame" if is_live:
                ledger.received("i", at_ms=at_ms)
            case "frame":
                missed.append(at_ms)
            case "disconnect":
                ledger.disconnected("i", cause="dropped")
                is_live = False
            case "subscribe":
                ledger.subscribed("i", at_ms=at_ms)
                is_live = True
            case _:
                told += ledger.tell()
    for at_ms in missed:
        assert any((one.from_ms or 0) <= at_ms <= one.to_ms for one in told)
    for earlier, later in pairwise(told):
        assert later.from_ms is not None
        assert earlier.to_ms <= later.from_ms


def test_sheds_are_summed_until_they_are_told() -> None:
    tally = ShedTally()
    for interaction_id, at_ms, cause in [("i", 5, "kafka"), ("j", 6, "kafka"), ("i", 9, "kafka"), ("i", 8, "valve")]:
        tally.add(interaction_id, at_ms=at_ms, cause=cause)
    assert len(tally) == 3
    assert tally.tell() == [
        Shed(interaction_id="i", frames=2, from_ms=5, to_ms=9, cause="kafka"),
        Shed(interaction_id="j", frames=1, from_ms=6, to_ms=6, cause="kafka"),
        Shed(interaction_id="i", frames=1, from_ms=8, to_ms=8, cause="valve"),
    ]
    assert tally.tell() == []
