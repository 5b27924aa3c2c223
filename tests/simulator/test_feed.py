from hypothesis import given
from hypothesis import strategies as st

from bridge.simulator.feed import Pace


def test_a_pace_of_nothing_is_never_due() -> None:
    assert Pace(0).wait_s(1e9) == float("inf")


def test_the_next_one_is_due_after_its_interval() -> None:
    pace = Pace(4)
    assert pace.wait_s(0) == 0
    pace.take(0)

    assert pace.wait_s(0.05) == 0.2
    assert pace.wait_s(0.25) == 0


@given(st.floats(1, 1_000))
def test_what_was_missed_is_not_made_up_for(pause_s: float) -> None:
    pace = Pace(100)
    pace.take(0)

    taken = 0
    while pace.wait_s(pause_s) == 0:
        pace.take(pause_s)
        taken += 1
    assert taken <= 12
