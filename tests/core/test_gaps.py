"""The gap ledger and the tally of what was shed."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.core.gaps import Backlogs, Gap, GapLedger, Shed, ShedTally


def gap(interaction_id: str, from_ms: int | None, to_ms: int, cause: str) -> Gap:
    return Gap(interaction_id=interaction_id, from_ms=from_ms, to_ms=to_ms, cause=cause)


def live(*interaction_ids: str, backlogs: Backlogs | None = None) -> GapLedger:
    ledger = GapLedger(backlogs or Backlogs())
    for interaction_id in interaction_ids:
        ledger.subscribed(interaction_id, at_ms=0)
    return ledger


def test_a_first_subscription_has_no_gap() -> None:
    ledger = GapLedger(Backlogs())
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


def test_a_gap_begins_before_younger_frames_of_another_connection() -> None:
    """What was on its way on the lost one may be older than they are."""
    ledger = live("i")
    ledger.received("i", at_ms=50)
    ledger.received("i", at_ms=60)  # On the other one.
    ledger.disconnected("i", cause="dropped", read_to_ms=50)
    ledger.subscribed("i", at_ms=90)
    assert ledger.tell() == [gap("i", 50, 90, "dropped")]


@pytest.mark.parametrize(("read_to_ms", "from_ms"), [(70, 50), (20, 30)])
def test_what_was_read_last_does_not_shorten_a_gap_and_does_not_reach_into_the_one_before(
    read_to_ms: int, from_ms: int
) -> None:
    ledger = live("i")
    ledger.disconnected("i", cause="dropped")
    ledger.subscribed("i", at_ms=30)
    ledger.tell()
    ledger.received("i", at_ms=50)
    ledger.disconnected("i", cause="dropped", read_to_ms=read_to_ms)
    ledger.subscribed("i", at_ms=90)
    assert ledger.tell() == [gap("i", from_ms, 90, "dropped")]


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


@pytest.mark.parametrize(("from_ms", "told_from_ms"), [(None, None), (50, 50), (90, 70)])
def test_a_takeover_opens_a_gap_from_the_last_record_of_the_partition(
    from_ms: int | None, told_from_ms: int | None
) -> None:
    """The other process' clock may be ahead: a gap never ends before it begins."""
    ledger = GapLedger(Backlogs())
    ledger.taken_over("i", from_ms=from_ms)
    ledger.subscribed("i", at_ms=70)
    assert ledger.tell() == [gap("i", told_from_ms, 70, "takeover")]


def test_a_stop_tells_a_gap_for_everything_live_and_everything_open() -> None:
    ledger = live("live", "lost")
    ledger.received("live", at_ms=5)
    ledger.disconnected("lost", cause="dropped")
    ledger.taken_over("waiting", from_ms=None)
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
    ledger.subscribed("live", at_ms=60)  # With another context window, on the same socket.
    assert ledger.tell() == []


@pytest.mark.parametrize("known_to_ms", [None, 20])
def test_a_gap_that_is_open_at_a_handover_is_told_by_the_other_replica(known_to_ms: int | None) -> None:
    """The last record of the partition is not younger than the gap: the other one's begins no later."""
    ledger = live("i")
    ledger.received("i", at_ms=20)
    ledger.disconnected("i", cause="dropped")
    ledger.handed_over("i", known_to_ms=known_to_ms)
    ledger.subscribed("i", at_ms=50)
    ledger.stopped(at_ms=60)
    assert ledger.tell() == [gap("i", None, 60, "stopped")]


def test_a_gap_that_is_open_at_a_handover_is_told_up_to_where_the_other_replica_begins() -> None:
    """Another interaction of its partition was received meanwhile, on another socket."""
    ledger = live("i", "j")
    ledger.received("i", at_ms=20)
    ledger.disconnected("i", cause="dropped")
    ledger.disconnected("j", cause="dropped")
    for interaction_id in ("i", "j"):
        ledger.handed_over(interaction_id, known_to_ms=45)
    assert ledger.tell() == [gap("i", 20, 45, "dropped"), gap("j", None, 45, "dropped")]


def test_what_was_read_out_of_a_backlog_may_have_been_sent_at_its_beginning() -> None:
    backlogs = Backlogs()
    backlogs.ended(at_ms=5)  # There was none.
    backlogs.began(at_ms=1_000)
    backlogs.began(at_ms=2_000)
    assert [backlogs.sent_from(at_ms) for at_ms in (999, 1_000, 3_000)] == [999, 1_000, 1_000]
    backlogs.ended(at_ms=3_000)
    assert [backlogs.sent_from(at_ms) for at_ms in (999, 3_500, 5_000, 5_001)] == [999, 1_000, 1_000, 5_001]
    backlogs.stood_still(from_ms=4_000, to_ms=4_100)
    assert [backlogs.sent_from(at_ms) for at_ms in (3_500, 5_100, 5_101)] == [1_000, 1_000, 5_101], "they are one"
    backlogs.stood_still(from_ms=100_000, to_ms=200_000)
    assert [backlogs.sent_from(at_ms) for at_ms in (210_000, 210_001)] == [100_000, 210_001], "buffers are bounded"


def test_only_so_many_backlogs_are_remembered() -> None:
    backlogs = Backlogs()
    for number in range(100):
        backlogs.stood_still(from_ms=number * 10_000, to_ms=number * 10_000 + 100)
    assert backlogs.sent_from(990_500) == 990_000
    assert backlogs.sent_from(300_500) == 0, "the oldest are taken for one"


def test_a_gap_begins_before_a_frame_that_came_out_of_a_backlog() -> None:
    backlogs = Backlogs()
    ledger = live("i", "before", backlogs=backlogs)
    ledger.received("before", at_ms=500)
    backlogs.began(at_ms=1_000)
    backlogs.ended(at_ms=3_000)
    ledger.received("i", at_ms=3_200)
    for interaction_id in ("i", "before"):
        ledger.disconnected(interaction_id, cause="dropped")
        ledger.subscribed(interaction_id, at_ms=4_000)
    assert ledger.tell() == [gap("i", 1_000, 4_000, "dropped"), gap("before", 500, 4_000, "dropped")]
    ledger.received("i", at_ms=4_100)
    ledger.disconnected("i", cause="dropped")
    ledger.subscribed("i", at_ms=4_200)
    assert ledger.tell() == [gap("i", 4_000, 4_200, "dropped")], "what was sent on a new socket is no older than it"


def test_what_was_shed_out_of_a_backlog_was_sent_since_its_beginning() -> None:
    backlogs = Backlogs()
    backlogs.began(at_ms=1_000)
    backlogs.ended(at_ms=3_000)
    tally = ShedTally(backlogs)
    for at_ms in (3_100, 3_200):
        tally.add("i", at_ms=at_ms, cause="valve")
    assert tally.tell() == [Shed(interaction_id="i", frames=2, from_ms=1_000, to_ms=3_200, cause="valve")]


class Line:
    """A socket, the frames on their way through it, and the ledger of who reads them; a step takes 100 ms."""

    def __init__(self) -> None:
        self.backlogs = Backlogs()
        self.ledger = live("i", backlogs=self.backlogs)
        self.told: list[Gap] = []
        self.lost: list[int] = []
        self._waiting: list[int] = []
        self._is_live, self._is_read = True, True

    def step(self, what: str, at_ms: int) -> None:
        match what:
            case "send" if self._is_live:
                self._waiting.append(at_ms)
            case "cut" if self._is_live:
                self._is_live = False
                if not self._is_read:  # Nobody notices before it is read again; the kernel has kept some of it.
                    self.lost += self._waiting[1:]
                    del self._waiting[1:]
                else:
                    self._cut()
            case "subscribe" if not self._is_live and self._is_read:
                self.ledger.subscribed("i", at_ms=at_ms)
                self._is_live = True
            case "pause" if self._is_read:
                self._is_read = False
                self.backlogs.began(at_ms=at_ms)
            case "resume" if not self._is_read:
                self._is_read = True
                self.backlogs.ended(at_ms=at_ms)
            case "tell":
                self.told += self.ledger.tell()
        self._read(at_ms)

    def _read(self, at_ms: int) -> None:
        if self._is_read:
            for _ in self._waiting:
                self.ledger.received("i", at_ms=at_ms)
            self._waiting.clear()
            if not self._is_live:
                self._cut()

    def _cut(self) -> None:
        self.lost += self._waiting
        self._waiting.clear()
        self.ledger.disconnected("i", cause="dropped")


_STEPS = ["send", "send", "cut", "subscribe", "pause", "resume", "tell"]


@settings(max_examples=300)
@given(st.lists(st.sampled_from(_STEPS), max_size=60))
def test_every_lost_frame_lies_in_a_gap_and_gaps_never_overlap(steps: list[str]) -> None:
    line = Line()
    for number, what in enumerate([*steps, "resume", "subscribe", "tell"], start=1):
        line.step(what, number * 100)
    for at_ms in line.lost:
        assert any((one.from_ms or 0) <= at_ms <= one.to_ms for one in line.told)
    for earlier, later in pairwise(line.told):
        assert later.from_ms is not None
        assert earlier.to_ms <= later.from_ms
    assert all((one.from_ms or 0) <= one.to_ms for one in line.told)


def test_sheds_are_summed_until_they_are_told() -> None:
    backlogs = Backlogs()
    tally = ShedTally(backlogs)
    for interaction_id, at_ms, cause in [("i", 5, "kafka"), ("j", 6, "kafka"), ("i", 9, "kafka"), ("i", 8, "valve")]:
        tally.add(interaction_id, at_ms=at_ms, cause=cause)
    assert len(tally) == 3
    assert tally.tell() == [
        Shed(interaction_id="i", frames=2, from_ms=5, to_ms=9, cause="kafka"),
        Shed(interaction_id="j", frames=1, from_ms=6, to_ms=6, cause="kafka"),
        Shed(interaction_id="i", frames=1, from_ms=8, to_ms=8, cause="valve"),
    ]
    assert tally.tell() == []
