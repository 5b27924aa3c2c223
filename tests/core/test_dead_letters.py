"""What a dead letter carries."""

import msgspec
import pytest

from bridge.core.dead_letters import CLASSES, SetAside, dead_frame, dead_letter, malformed_letter, set_aside_in
from bridge.core.errors import MalformedError
from bridge.core.records import Header, NewRecord, StoredRecord
from bridge.core.topics import MAX_DEAD_LETTER_BYTES

_SOURCE = StoredRecord(
    topic="suggestion-clicks",
    partition=3,
    offset=9,
    timestamp=1_000,
    key=b"\xff",
    value=b"{]",
    headers=(("ce_id", b"x"), ("custom", b"\xfe"), ("custom", b"")),
)


def test_keeps_key_value_and_headers_byte_for_byte_and_adds_what_failed() -> None:
    letter = dead_letter(
        _SOURCE,
        topic="dlq.exports",
        worker="exporter",
        dlq_class="http-refused",
        reason="the KMP refuses it",
        stage="TASK_PUT",
        attempts=4,
        http_status=422,
    )
    assert (letter.topic, letter.key, letter.value) == ("dlq.exports", b"\xff", b"{]")
    assert letter.headers[:3] == _SOURCE.headers
    assert letter.headers[3:] == (
        ("x-dlq-class", b"http-refused"),
        ("x-dlq-reason", b"the KMP refuses it"),
        ("x-dlq-worker", b"exporter"),
        ("x-dlq-attempts", b"4"),
        ("x-dlq-first-at", b"1970-01-01T00:00:01.000Z"),
        ("x-dlq-http-status", b"422"),
        ("x-dlq-size", b"2"),
        ("__connect.errors.stage", b"TASK_PUT"),
        ("__connect.errors.exception.class.name", b"bridge.http-refused"),
        ("__connect.errors.exception.message", b"the KMP refuses it"),
        ("x-dlq-replay-count", b"0"),
        ("__connect.errors.topic", b"suggestion-clicks"),
        ("__connect.errors.partition", b"3"),
        ("__connect.errors.offset", b"9"),
    )


def test_a_replayed_record_keeps_its_count() -> None:
    replayed = StoredRecord(topic="t", headers=(("x-dlq-replay-count", b"2"),))
    letter = dead_letter(replayed, topic="d", worker="tally", dlq_class="schema", reason="r", stage="s")
    assert [value for name, value in letter.headers if name == "x-dlq-replay-count"] == [b"2"]
    assert "x-dlq-http-status" not in dict(letter.headers)


def test_what_could_not_be_read_says_whether_it_was_the_key_or_the_value() -> None:
    stages = {
        dlq_class: dict(
            malformed_letter(_SOURCE, MalformedError(dlq_class, "r"), topic="dlq.clicks", worker="tally").headers
        )["__connect.errors.stage"]
        for dlq_class in ("schema", "key-mismatch")
    }
    assert stages == {"schema": b"VALUE_CONVERTER", "key-mismatch": b"KEY_CONVERTER"}


@pytest.mark.parametrize(
    ("source", "kept"),
    [
        (StoredRecord(topic="t", key=b"k", value=b"v" * 2_000_000, headers=(("h", b"x"),)), (b"k", 2_000_000, b"x")),
        (StoredRecord(topic="t", key=b"k", value=b"v" * 3_000_000, headers=(("h", b"x"),)), (b"k", 524_288, b"x")),
        (StoredRecord(topic="t", key=b"k" * 3_000_000, value=b"v", headers=(("h", b"x"),)), (None, 1, None)),
        (StoredRecord(topic="t", key=b"k" * 3_000_000, value=None), (None, 0, None)),
        (StoredRecord(topic="t", key=b"k", value=b"v", headers=(("h", b"x" * 3_000_000),)), (None, 1, None)),
    ],
)
def test_what_has_no_room_on_the_topic_is_cut(
    source: StoredRecord, kept: tuple[bytes | None, int, bytes | None]
) -> None:
    """A batch may be small on the topic and large in truth: it was compressed."""
    letter = malformed_letter(source, MalformedError("oversize", "r"), topic="dlq.clicks", worker="tally")
    headers = dict(letter.headers)
    assert (letter.key, len(letter.value or b""), headers.get("h")) == kept
    assert headers["x-dlq-size"] == b"%d" % len(source.value or b"")
    assert (headers.get("x-dlq-cut") == b"key, headers") == (letter.key is None)
    assert headers["__connect.errors.topic"] == b"t"
    assert letter.size <= MAX_DEAD_LETTER_BYTES


def test_a_count_of_replays_that_has_no_room_is_none() -> None:
    """Headers are a writer's word: a letter that were too large for its topic would stop its partition for good."""
    source = StoredRecord(topic="t", key=b"k", value=b"v", headers=(("x-dlq-replay-count", b"0" * 3_000_000),))
    letter = malformed_letter(source, MalformedError("oversize", "r"), topic="dlq.clicks", worker="tally")
    assert letter.size <= MAX_DEAD_LETTER_BYTES
    assert dict(letter.headers)["x-dlq-replay-count"] == b"0"


def test_a_frame_has_no_place_but_its_real_size() -> None:
    letter = dead_frame(
        b"cut", topic="dlq.ingress", partition=5, dlq_class="oversize", reason="too large", size=900_000, at_ms=0
    )
    headers = dict(letter.headers)
    assert (letter.key, letter.value, letter.partition) == (None, b"cut", 5)
    assert headers["x-dlq-size"] == b"900000"
    assert headers["x-dlq-worker"] == b"ingress"
    assert headers["x-dlq-replay-count"] == b"0"
    assert not any(name.startswith("__connect.errors.topic") for name in headers)


def test_a_frame_that_names_its_interaction_has_its_key_and_subject() -> None:
    letter = dead_frame(
        b"{}", topic="dlq.ingress", partition=5, dlq_class="schema", reason="r", size=2, at_ms=0, interaction_id="i-1"
    )
    assert letter.key == b"i-1"
    assert dict(letter.headers)["ce_subject"] == b"i-1"


def test_the_classes_are_the_promised_ones() -> None:
    assert CLASSES == (
        "decode",
        "schema",
        "oversize",
        "inflate",
        "misplaced",
        "key-mismatch",
        "http-refused",
        "expired",
    )


def test_what_is_written_tells_what_it_sets_aside() -> None:
    letter = malformed_letter(_SOURCE, MalformedError("schema", "no good"), topic="dlq.clicks", worker="tally")
    assert set_aside_in(letter) == SetAside(
        topic="suggestion-clicks",
        offset=9,
        was_replayed=False,
        dlq_topic="dlq.clicks",
        dlq_class="schema",
        reason="no good",
    )


@pytest.mark.parametrize(("count", "was_replayed"), [(b"0", False), (b"1", True)])
def test_a_letter_tells_whether_what_it_sets_aside_was_sent_back_before(count: bytes, was_replayed: bool) -> None:
    source = msgspec.structs.replace(_SOURCE, headers=(("x-dlq-replay-count", count),))
    aside = set_aside_in(malformed_letter(source, MalformedError("schema", "no"), topic="dlq.clicks", worker="tally"))
    assert aside is not None
    assert aside.was_replayed is was_replayed


def test_a_letter_that_lost_its_own_headers_tells_it_too() -> None:
    source = msgspec.structs.replace(
        _SOURCE, headers=(("huge", b"x" * MAX_DEAD_LETTER_BYTES), ("x-dlq-replay-count", b"2"))
    )
    letter = malformed_letter(source, MalformedError("schema", "no good"), topic="dlq.clicks", worker="tally")
    aside = set_aside_in(letter)
    assert aside is not None
    assert (letter.key, aside.offset) == (None, 9)
    assert aside.was_replayed


@pytest.mark.parametrize("headers", [(), (("ce_id", b"x"),)])
def test_other_records_set_nothing_aside(headers: tuple[Header, ...]) -> None:
    assert set_aside_in(NewRecord(topic="ranked", key=None, value=b"", headers=headers)) is None
