"""The valve and the gate: when the sockets may be read."""

from itertools import pairwise
from math import isnan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.valve import Gate, Lag, Options, Turn, Valve

OPTIONS = Options(close_above_records=100, reopen_at_records=20, min_dwell_s=2, unknown_after_s=30)


def test_closes_above_one_lag_and_opens_at_a_lower_one() -> None:
    """T6, D1: the backlog is the ranker's lag, and it does close the valve. D2: it opens again."""
    valve = Valve(OPTIONS)
    assert not valve.sample(100, now_s=0)
    assert valve.is_open
    assert valve.sample(101, now_s=1)
    assert not valve.is_open
    assert not valve.sample(21, now_s=10)
    assert valve.sample(20, now_s=11)
    assert valve.is_open


def test_a_decision_holds_for_its_dwell() -> None:
    valve = Valve(OPTIONS)
    valve.sample(101, now_s=0)
    assert not valve.sample(0, now_s=1.9)
    assert not valve.is_open
    assert valve.sample(0, now_s=2)


def test_an_unknown_lag_keeps_the_decision_and_then_acts_as_closed() -> None:
    valve = Valve(OPTIONS)
    assert not valve.sample(None, now_s=5)
    assert not valve.sample(None, now_s=34.9)
    assert valve.is_open
    assert valve.unknown_s(34.9) == pytest.approx(29.9)
    assert valve.sample(None, now_s=35)
    assert not valve.is_open
    assert valve.lag_records is None


def test_a_lag_that_is_known_again_starts_the_unknown_time_anew() -> None:
    valve = Valve(OPTIONS)
    valve.sample(None, now_s=0)
    valve.sample(5, now_s=29)
    assert valve.unknown_s(29) == 0
    valve.sample(None, now_s=30)
    valve.sample(None, now_s=59)
    assert valve.is_open


def test_an_unknown_lag_never_opens() -> None:
    valve = Valve(OPTIONS)
    valve.sample(101, now_s=0)
    assert not valve.sample(None, now_s=1_000)
    assert not valve.is_open


def test_the_limits_must_not_cross() -> None:
    with pytest.raises(ValueError, match="reopen_at_records"):
        Options(close_above_records=10, reopen_at_records=11)


@given(st.lists(st.tuples(st.integers(21, 100), st.floats(0, 5)), max_size=50), st.sampled_from([0, 101]))
def test_never_chatters_between_its_limits(steps: list[tuple[int, float]], first: int) -> None:
    valve = Valve(OPTIONS)
    valve.sample(first, now_s=0)
    was_open, now_s = valve.is_open, 0.0
    for lag_records, later_s in steps:
        now_s += later_s
        assert not valve.sample(lag_records, now_s=now_s)
    assert valve.is_open == was_open


@given(st.lists(st.tuples(st.none() | st.integers(0, 200), st.floats(0, 5)), max_size=100))
def test_turns_are_at_least_a_dwell_apart(steps: list[tuple[int | None, float]]) -> None:
    valve, now_s, turns = Valve(OPTIONS), 0.0, []
    for lag_records, later_s in steps:
        now_s += later_s
        if valve.sample(lag_records, now_s=now_s):
            turns.append(now_s)
    assert all(later - earlier >= 2 for earlier, later in pairwise(turns))


def test_the_age_of_a_lag_is_that_of_its_oldest_record() -> None:
    assert Lag(records=3, oldest_ms=1_000).age_s(3_500) == 2.5
    assert Lag(records=3, oldest_ms=1_000).age_s(900) == 0, "clocks differ"
    assert Lag(records=0).age_s(3_500) == 0
    assert isnan(Lag(records=3).age_s(3_500))


class Look:
    """A gate with everything well but what a test says."""

    def __init__(self, overflow: str = "write") -> None:
        self.gate = Gate(max_queue_frames=100, pause_max_s=10, overflow=overflow)

    def __call__(
        self, now_s: float, *, queue: int = 0, valve: bool = True, stalled_s: float = 0, full: bool = False
    ) -> Turn | None:
        return self.gate.look(queue_frames=queue, valve_is_open=valve, stalled_s=stalled_s, is_full=full, now_s=now_s)


def test_a_full_queue_pauses_until_it_is_half_empty() -> None:
    """T6: pause and resume. D2: a pause is not for ever."""
    look = Look()
    assert look(0, queue=99) is None
    assert look(1, queue=100) == "paused"
    assert not look.gate.is_open
    assert look.gate.cause == "queue"
    assert look(2, queue=51) is None
    assert look(3, queue=50) == "resumed"
    assert look.gate.is_open
    assert look.gate.cause is None
    assert look.gate.lasted_s == 2


def test_a_closed_valve_pauses_until_it_opens() -> None:
    look = Look()
    assert look(0, valve=False) == "paused"
    assert look.gate.cause == "valve"
    assert look(5) == "resumed"


@pytest.mark.parametrize("overflow", ["write", "shed"])
def test_after_its_bound_a_pause_is_overridden_once(overflow: str) -> None:
    look = Look(overflow)
    look(0, valve=False)
    assert look(9.9, valve=False) is None
    assert look(10, valve=False) == "overridden"
    assert look.gate.is_open
    assert look(11, valve=False) is None
    assert look.gate.is_open
    assert look.gate.cause == "valve"
    assert look(12) == "resumed"
    look(13, valve=False)
    assert not look.gate.is_open
    assert look(23, valve=False) == "overridden"


def test_block_pauses_for_as_long_as_it_takes() -> None:
    look = Look("block")
    look(0, valve=False)
    assert look(9.9, valve=False) is None
    assert look(10, valve=False) == "prolonged"
    assert look(1_000, valve=False) is None
    assert not look.gate.is_open
    assert look(1_001) == "resumed"


def test_block_reads_on_while_kafka_is_away() -> None:
    look = Look("block")
    look(0, queue=100)
    assert look(10, queue=100, stalled_s=9.9) == "prolonged"
    assert look(11, queue=100, stalled_s=10.9) == "overridden"
    assert look.gate.is_open
    assert look(12, queue=100, stalled_s=0) == "prolonged"
    assert not look.gate.is_open


def test_nothing_is_read_while_what_may_not_be_shed_fills_the_buffer() -> None:
    look = Look("shed")
    look(0, valve=False)
    assert look(100, valve=False, full=True) == "prolonged"
    assert not look.gate.is_open
    assert look.gate.cause == "bound"
    assert look(101, valve=False) == "overridden"
