"""Where a number starts to read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.dead_letters import dead_letter
from bridge.core.positions import NoPositionError, Source, Start, highest, source_in, start_of
from bridge.core.records import Header, StoredRecord

offsets = st.integers(min_value=0, max_value=1_000)


def start(committed: int | None, written: int | None, *, start_from: str = "earliest") -> Start:
    return start_of(committed=committed, written=written, beginning=10, end=90, start_from=start_from)


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


@given(committed=st.none() | offsets, written=st.none() | offsets, beginning=offsets, length=offsets)
def test_it_never_starts_outside_the_topic(
    committed: int | None, written: int | None, beginning: int, length: int
) -> None:
    end = beginning + length
    found = start_of(committed=committed, written=written, beginning=beginning, end=end, start_from="earliest")
    assert beginning <= found.position <= end
    assert found.lost_from is None or found.lost_from <= found.position


# -- what outputs name -------------------------------------------------------------------------------------------------


def output(*headers: Header) -> StoredRecord:
    return StoredRecord(topic="ranked-suggestions", partition=3, headers=headers)


def test_an_output_names_the_record_that_it_was_made_from() -> None:
    assert source_in(output(("x-source", b"raw-suggestions/3/17")), number=3) == Source("raw-suggestions", 17)


def test_a_dead_letter_is_made_from_the_original_wherever_that_came_from() -> None:
    original = StoredRecord(
        topic="suggestion-clicks", partition=3, offset=5, headers=(("x-source", b"suggestion-clicks/1/99"),)
    )
    letter = dead_letter(original, topic="dlq.clicks", worker="tally", dlq_class="schema", reason="no", stage="click")
    stored = StoredRecord(topic="dlq.clicks", partition=3, headers=letter.headers)
    assert source_in(stored, number=3) == Source("suggestion-clicks", 5)


def test_what_was_sent_back_from_the_dead_letters_is_no_news_of_how_far_a_hop_has_worked() -> None:
    """It stands among the youngest outputs, and was made from an old record."""
    sent_back = (("x-source", b"raw-suggestions/3/17"), ("x-dlq-replay-count", b"1"))
    assert source_in(output(*sent_back), number=3) is None
    died_again = dead_letter(
        StoredRecord(topic="suggestion-clicks", partition=3, offset=5, headers=sent_back),
        topic="dlq.clicks",
        worker="tally",
        dlq_class="schema",
        reason="no",
        stage="click",
    )
    stored = StoredRecord(topic="dlq.clicks", partition=3, headers=died_again.headers)
    assert source_in(stored, number=3) == Source("suggestion-clicks", 5)


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (("x-source", b""),),
        (("x-source", b"raw-suggestions/1/17"),),
        (("x-source", b"raw-suggestions/3"),),
        (("x-source", b"raw-suggestions/3/last"),),
        (("x-source", b"\xff/3/17"),),
        (("__connect.errors.topic", b"raw-suggestions"), ("__connect.errors.partition", b"3")),
    ],
    ids=["none", "empty", "another number", "two parts", "no offset", "no text", "half a letter"],
)
def test_what_names_nothing_of_this_number_has_no_source(headers: tuple[Header, ...]) -> None:
    assert source_in(output(*headers), number=3) is None


def test_the_highest_is_that_of_those_that_are_known() -> None:
    assert highest(None, 3, 9, None) == 9
    assert highest(None, None) is None
