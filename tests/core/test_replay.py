"""What is sent back for a dead letter, and the notes that it was sent."""

import gzip
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.dead_letters import dead_frame, dead_letter
from bridge.core.dialects.agentassist import MAX_FRAME_BYTES
from bridge.core.letters import Letter, letter_of
from bridge.core.partitions import partition_of
from bridge.core.records import Header, NewRecord, StoredRecord, digest, header_of
from bridge.core.replay import REPLAYED, LastWords, Left, Offsets, fate_of, note_of, replayed_in
from bridge.core.topics import Options, topics_of

TOPICS = topics_of(Options(), prefix="a-")
HOME = partition_of(b"i-1", 12)
FRAME = msgspec.json.encode({"interactionId": "i-1", "suggestions": []})


def stored(record: NewRecord, *, offset: int = 7) -> StoredRecord:
    return StoredRecord(
        topic=record.topic,
        partition=2,
        offset=offset,
        timestamp=9_000,
        key=record.key,
        value=record.value,
        headers=record.headers,
    )


def letter(**changes: Any) -> Letter:
    """A click that was set aside; `dlq_class` and what `StoredRecord` takes can be other."""
    dlq_class = changes.pop("dlq_class", "schema")
    headers: tuple[Header, ...] = (("ce_id", b"c"), ("custom", b"\xfe"))
    source = msgspec.structs.replace(
        StoredRecord(
            topic=TOPICS.suggestion_clicks,
            partition=5,
            offset=1,
            timestamp=3,
            key=b"\xff",
            value=b"{]",
            headers=headers,
        ),
        **changes,
    )
    dead = dead_letter(source, topic=TOPICS.dlq_clicks, worker="tally", dlq_class=dlq_class, reason="r", stage="s")
    return letter_of(stored(dead))


def frame(
    value: bytes, *, size: int | None = None, dlq_class: str = "decode", interaction_id: str | None = None
) -> Letter:
    dead = dead_frame(
        value,
        topic=TOPICS.dlq_ingress,
        partition=2,
        dlq_class=dlq_class,
        reason="r",
        size=len(value) if size is None else size,
        at_ms=1_500,
        interaction_id=interaction_id,
    )
    return letter_of(stored(dead))


def fate(dead: Letter, *, max_replays: int = 3) -> NewRecord | Left:
    return fate_of(
        dead,
        topics=TOPICS,
        last_words=LastWords(TOPICS),
        max_replays=max_replays,
        max_frame_bytes=MAX_FRAME_BYTES,
    )


def sent(dead: Letter) -> NewRecord:
    record = fate(dead)
    assert isinstance(record, NewRecord)
    return record


def reason_for(dead: Letter, *, max_replays: int = 3) -> str:
    left = fate(dead, max_replays=max_replays)
    assert isinstance(left, Left)
    return left.reason


def test_goes_back_to_its_place_byte_for_byte_with_a_replay_count() -> None:
    record = sent(letter())
    assert record == NewRecord(
        topic="a-suggestion-clicks",
        key=b"\xff",
        value=b"{]",
        partition=5,
        headers=(("ce_id", b"c"), ("custom", b"\xfe"), ("x-dlq-replay-count", b"1")),
    )


def test_counts_each_replay() -> None:
    record = sent(letter(headers=(("x-dlq-replay-count", b"1"), ("custom", b""))))
    assert record.headers == (("custom", b""), ("x-dlq-replay-count", b"2"))


def test_a_null_value_goes_back_as_null() -> None:
    assert sent(letter(value=None)).value is None


def test_a_misplaced_record_goes_to_the_partition_of_its_key() -> None:
    record = sent(letter(topic=TOPICS.interaction_subscriptions, key=b"i-1", dlq_class="misplaced"))
    assert (record.topic, record.partition) == ("a-interaction-subscriptions", partition_of(b"i-1", 12))


def test_a_misplaced_record_without_a_key_goes_where_it_was() -> None:
    assert sent(letter(key=None, dlq_class="misplaced")).partition == 5


def test_one_that_was_replayed_often_enough_stays() -> None:
    often = letter(headers=(("x-dlq-replay-count", b"3"),))
    assert reason_for(often) == "it has been replayed 3 times already"
    assert isinstance(fate(often, max_replays=4), NewRecord)


@pytest.mark.parametrize("changes", [{"topic": "payments"}, {"topic": TOPICS.dlq_clicks}, {"partition": 12}])
def test_nothing_is_written_to_a_place_that_is_not_ours(changes: dict[str, Any]) -> None:
    assert reason_for(letter(**changes)) == "the place that it came from is none of the bridge's"


def test_what_the_bridge_has_not_written_stays() -> None:
    strange = letter_of(StoredRecord(topic=TOPICS.dlq_clicks, value=b"x"))
    assert reason_for(strange) == "it was not written by the bridge"


def test_what_was_cut_stays() -> None:
    told = "it was cut, because it had no room on the topic"
    assert reason_for(letter(value=b"x" * 3_000_000)) == told
    assert reason_for(frame(FRAME, size=len(FRAME) + 1)) == told
    assert reason_for(letter(key=b"k" * 3_000_000)) == told, "it would come back without its key"
    assert reason_for(letter(headers=(("huge", b"x" * 3_000_000),))) == told


def test_what_is_too_large_for_the_topic_stays() -> None:
    assert reason_for(letter(value=b"x" * 1_500_000)) == "it is too large for its topic unless it is compressed"


@pytest.mark.parametrize("value", [FRAME, gzip.compress(FRAME)])
def test_a_frame_that_can_be_read_now_becomes_a_raw_record(value: bytes) -> None:
    record = sent(frame(value, dlq_class="inflate"))
    assert (record.topic, record.key, record.value) == ("a-raw-suggestions", b"i-1", FRAME)
    assert record.partition == partition_of(b"i-1", 12)
    read = stored(record)
    assert header_of(read, "ce_id") == digest(b"i-1", FRAME, b"0").encode()
    assert header_of(read, "ce_type") == b"agentassist.suggestions.received"
    assert header_of(read, "ce_time") == b"1970-01-01T00:00:01.500Z"
    assert header_of(read, "x-source") == b"a-dlq.ingress/2/7"
    assert header_of(read, "x-dlq-replay-count") == b"1"


def test_a_frame_whose_letter_has_a_key_goes_through_the_decoder_like_all_others() -> None:
    assert sent(frame(FRAME, dlq_class="schema", interaction_id="i-1")) == sent(frame(FRAME, dlq_class="schema"))


def test_a_frame_that_still_cannot_be_read_stays() -> None:
    assert reason_for(frame(b"{]")) == "the frame still cannot be read: the frame is no JSON in UTF-8"


def test_a_frame_without_suggestions_has_nothing_to_write() -> None:
    heartbeat = frame(b'{"type":"heartbeat"}')
    assert reason_for(heartbeat) == "the frame holds no suggestions: there is nothing to write for it"


@pytest.mark.parametrize(
    ("key", "partition", "offset", "at_ms", "is_after"),
    [
        (b"i-1", HOME, 9, 50, True),
        (b"i-1", HOME, 9, 2, True),  # Whatever the writers' clocks say: it stands behind it.
        (b"i-1", HOME, 1, 50, False),  # It is the letter's own record, written a moment after what is in it.
        (b"i-1", HOME, 0, 9_001, True),  # Younger than the letter: the topic was made anew.
        (b"i-1", HOME, 0, 50, False),
        (b"i-1", HOME + 1, 9, 50, False),  # Misplaced: nobody reads it there.
        (b"i-2", partition_of(b"i-2", 12), 9, 50, False),
        (None, HOME, 9, 50, False),
    ],
)
def test_an_older_subscription_is_not_written_over_a_newer_word(
    key: bytes | None, partition: int, offset: int, at_ms: int, *, is_after: bool
) -> None:
    words = LastWords(TOPICS)
    words.take(
        StoredRecord(
            topic=TOPICS.interaction_subscriptions, partition=partition, offset=offset, timestamp=at_ms, key=key
        )
    )
    dead = letter(topic=TOPICS.interaction_subscriptions, key=b"i-1", partition=HOME, offset=1, timestamp=3)
    assert words.is_after(dead) is is_after
    fate = fate_of(dead, topics=TOPICS, last_words=words, max_replays=3, max_frame_bytes=MAX_FRAME_BYTES)
    assert isinstance(fate, Left) is is_after
    assert not words.is_after(letter(key=b"i-1")), "a click is no subscription"


def test_a_subscription_keeps_its_time_and_so_its_end() -> None:
    """One without `expiresAt` lives from its own time on: ten days later it is not begun once more."""
    dead = letter(topic=TOPICS.interaction_subscriptions, key=b"i-1", partition=HOME, headers=())
    assert sent(dead).timestamp == dead.first_at_ms == 3
    ahead = letter(topic=TOPICS.interaction_subscriptions, key=b"i-1", partition=HOME, headers=(), timestamp=10_000)
    assert sent(ahead).timestamp == 9_000, "no broker takes what is an hour ahead: not younger than its letter"
    assert sent(letter()).timestamp is None


def test_of_two_misplaced_subscriptions_only_the_younger_one_is_sent_back() -> None:
    """A writer that spreads them at random: partition by partition, the end of a conversation may come first."""
    topic, words = TOPICS.interaction_subscriptions, LastWords(TOPICS)
    begun = letter(topic=topic, key=b"i-1", partition=7, timestamp=1, dlq_class="misplaced")
    ended = letter(topic=topic, key=b"i-1", partition=2, timestamp=2, dlq_class="misplaced", value=None)
    for one in (ended, begun):
        words.take_letter(one.record)
    words.take_letter(letter(topic=topic, key=b"i-2", timestamp=9, dlq_class="misplaced").record)
    words.take_letter(letter(key=b"i-1", timestamp=9, dlq_class="misplaced").record)
    assert (words.is_after(begun), words.is_after(ended)) == (True, False)


def test_a_note_names_the_letters_that_were_sent() -> None:
    note = note_of("a-dlq.clicks", 2, [3, 4, 5, 9], at_ms=1_000)
    assert (note.topic, note.partition, note.key) == ("a-dlq.clicks", 2, None)
    assert note.value == b'{"offsets":[[3,5],[9,9]]}'
    assert header_of(stored(note), "ce_type") == REPLAYED.encode()
    assert replayed_in(stored(note)) == [(3, 5), (9, 9)]


def test_a_letter_is_no_note() -> None:
    assert replayed_in(letter().record) is None


def test_a_letter_whose_original_claims_to_be_a_note_is_none() -> None:
    assert replayed_in(letter(headers=(("ce_type", REPLAYED.encode()),), value=b'{"offsets":[[0,99]]}').record) is None


def test_a_note_that_cannot_be_read_names_nothing() -> None:
    assert replayed_in(StoredRecord(topic="t", headers=(("ce_type", REPLAYED.encode()),))) == []


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 5))), st.integers(-1, 70))
def test_offsets_hold_what_is_in_their_spans_and_nothing_else(spans: list[tuple[int, int]], offset: int) -> None:
    offsets = Offsets((first, first + more) for first, more in spans)
    assert (offset in offsets) == any(first <= offset <= first + more for first, more in spans)
