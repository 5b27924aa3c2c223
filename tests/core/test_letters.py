"""A dead letter as it is read back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.dead_letters import dead_frame, dead_letter
from bridge.core.letters import Letter, Place, Selection, letter_of, moment_of, place_of
from bridge.core.records import Header, NewRecord, StoredRecord

HEADERS: tuple[Header, ...] = (("ce_id", b"x"), ("custom", b"\xfe"), ("x-dlq-class", b"a stranger's"))


def stored(letter: NewRecord, *, offset: int = 4, timestamp: int = 5_000) -> StoredRecord:
    """A dead letter as it stands on its topic."""
    return StoredRecord(
        topic=letter.topic,
        partition=1,
        offset=offset,
        timestamp=timestamp,
        key=letter.key,
        value=letter.value,
        headers=letter.headers,
    )


def clicked(value: bytes | None = b"{]", *, headers: tuple[Header, ...] = HEADERS, dlq_class: str = "decode") -> Letter:
    source = StoredRecord(
        topic="suggestion-clicks", partition=3, offset=9, timestamp=1_000, key=b"i-1", value=value, headers=headers
    )
    letter = dead_letter(
        source, topic="dlq.clicks", worker="tally", dlq_class=dlq_class, reason="no JSON", stage="VALUE_CONVERTER"
    )
    return letter_of(stored(letter))


def test_tells_what_failed_and_keeps_the_originals_headers_apart() -> None:
    letter = clicked()
    assert (letter.dlq_class, letter.reason, letter.size, letter.replays) == ("decode", "no JSON", 2, 0)
    assert letter.origin == Place(topic="suggestion-clicks", partition=3, offset=9)
    assert letter.headers == HEADERS
    assert letter.first_at_ms == 1_000
    assert not letter.is_cut


def test_a_replayed_record_that_died_again_tells_how_often_it_was_sent_back() -> None:
    letter = clicked(headers=(*HEADERS, ("x-dlq-replay-count", b"2")))
    assert letter.replays == 2
    assert letter.headers[-1] == ("x-dlq-replay-count", b"2")


def test_a_frame_has_no_origin_and_tells_when_it_was_received() -> None:
    frame = dead_frame(
        b"ab", topic="dlq.ingress", partition=0, dlq_class="oversize", reason="too long", size=9, at_ms=777
    )
    letter = letter_of(stored(frame))
    assert (letter.origin, letter.headers, letter.first_at_ms, letter.is_cut) == (None, (), 777, True)


def test_a_frame_that_names_its_interaction_is_found_by_it_and_is_a_frame_all_the_same() -> None:
    frame = dead_frame(
        b"{}", topic="dlq.ingress", partition=0, dlq_class="schema", reason="r", size=2, at_ms=0, interaction_id="i-1"
    )
    letter = letter_of(stored(frame))
    assert Selection(interaction_id="i-1").includes(letter)
    assert (letter.origin, letter.headers) == (None, ())


def test_what_the_bridge_has_not_written_is_unknown() -> None:
    letter = letter_of(StoredRecord(topic="dlq.clicks", timestamp=6, headers=(("ce_id", b"x"),)))
    assert (letter.dlq_class, letter.headers, letter.added) == ("unknown", (("ce_id", b"x"),), ())
    assert letter.first_at_ms == 6


def test_numbers_that_are_none_count_as_0() -> None:
    letter = letter_of(
        StoredRecord(
            topic="t", headers=(("x-dlq-class", b"schema"), ("x-dlq-size", b"-1"), ("__connect.errors.topic", b"t"))
        )
    )
    assert (letter.size, letter.origin) == (0, Place(topic="t", partition=0, offset=0))


@given(st.lists(st.tuples(st.text(max_size=20), st.binary(max_size=20))))
def test_any_headers_of_an_original_come_back_as_they_were(headers: list[Header]) -> None:
    assert clicked(headers=tuple(headers)).headers == tuple(headers)


@given(st.lists(st.tuples(st.text(max_size=20), st.binary(max_size=20))))
def test_any_record_can_be_read(headers: list[Header]) -> None:
    letter_of(StoredRecord(topic="dlq.clicks", headers=tuple(headers)))


def test_a_place_is_spelled_with_slashes() -> None:
    place = place_of("a-dlq.clicks/3/17")
    assert place == Place(topic="a-dlq.clicks", partition=3, offset=17)
    assert str(place) == "a-dlq.clicks/3/17"


@pytest.mark.parametrize("spelled", ["", "dlq.clicks", "dlq.clicks/3", "dlq.clicks/3/x", "a/b/3/4", "dlq.clicks/-1/0"])
def test_what_names_no_place_is_refused(spelled: str) -> None:
    with pytest.raises(ValueError, match="TOPIC/PARTITION/OFFSET"):
        place_of(spelled)


@pytest.mark.parametrize(
    ("spelled", "at_ms"),
    [
        ("90s", 1_000_000 - 90_000),
        ("2m", 880_000),
        ("1h", -2_600_000),
        ("1d", -85_400_000),
        ("1970-01-01T00:00:01Z", 1_000),
    ],
)
def test_a_moment_is_a_time_or_so_long_ago(spelled: str, at_ms: int) -> None:
    assert moment_of(spelled, now_ms=1_000_000) == at_ms


def test_what_is_no_moment_is_refused() -> None:
    with pytest.raises(ValueError, match="RFC 3339"):
        moment_of("yesterday", now_ms=0)


@pytest.mark.parametrize(
    ("selection", "is_meant"),
    [
        (Selection(), True),
        (Selection(dlq_class="decode", since_ms=5_000, interaction_id="i-1"), True),
        (Selection(dlq_class="schema"), False),
        (Selection(since_ms=5_001), False),
        (Selection(interaction_id="i-2"), False),
    ],
)
def test_a_selection_includes_what_fits_all_of_it(selection: Selection, is_meant: bool) -> None:
    assert selection.includes(clicked()) is is_meant
