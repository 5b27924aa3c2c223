"""Where a number starts to read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.positions import NoPositionError, Start, start_of

offsets = st.integers(min_value=0, max_value=1_000)


def start(committed: int | None, in_state: int | None, *, start_from: str = "earliest") -> Start:
    return start_of(committed=committed, in_state=in_state, beginning=10, end=90, start_from=start_from)


def test_it_starts_at_the_committed_position() -> None:
    assert start(50, None) == Start(position=50)


def test_the_position_in_the_state_makes_up_for_a_lost_one() -> None:
    assert start(None, 60) == Start(position=60)


def test_the_higher_of_two_positions_counts() -> None:
    assert start(50, 60).position == start(60, 50).position == 60


@pytest.mark.parametrize(("start_from", "position"), [("earliest", 10), ("latest", 90)])
def test_without_a_position_the_option_decides(start_from: str, position: int) -> None:
    assert start(None, None, start_from=start_from) == Start(position=position, is_first=True)


def test_without_a_position_it_can_refuse_to_start() -> None:
    with pytest.raises(NoPositionError):
        start(None, None, start_from="fail")


def test_what_retention_has_taken_is_told_as_lost() -> None:
    assert start(3, None) == Start(position=10, lost_from=3)


def test_a_position_beyond_the_end_means_a_topic_that_was_made_anew() -> None:
    assert start(91, None) == Start(position=10, lost_from=10)


@given(committed=st.none() | offsets, in_state=st.none() | offsets, beginning=offsets, length=offsets)
def test_it_never_starts_outside_the_topic(
    committed: int | None, in_state: int | None, beginning: int, length: int
) -> None:
    end = beginning + length
    found = start_of(committed=committed, in_state=in_state, beginning=beginning, end=end, start_from="earliest")
    assert beginning <= found.position <= end
    assert found.lost_from is None or found.lost_from <= found.position
