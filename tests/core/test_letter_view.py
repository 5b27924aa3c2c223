"""A dead letter for people."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.dead_letters import dead_frame, dead_letter
from bridge.core.letter_view import view_of
from bridge.core.letters import letter_of
from bridge.core.records import NewRecord, StoredRecord
from bridge.core.replay import note_of
from tests.core.test_letters import stored


def view(
    value: bytes | None, *, reason: str = "no good", dlq_class: str = "schema", key: bytes | None = b"i-1"
) -> list[str]:
    source = StoredRecord(
        topic="suggestion-clicks",
        partition=3,
        offset=9,
        timestamp=1_000,
        key=key,
        value=value,
        headers=(("ce_id", b"x"), ("custom", b"\xfe")),
    )
    letter = dead_letter(
        source, topic="dlq.clicks", worker="tally", dlq_class=dlq_class, reason=reason, stage="VALUE_CONVERTER"
    )
    return list(view_of(letter_of(stored(letter))))


def value_in(lines: list[str]) -> list[str]:
    at = next(at for at, line in enumerate(lines) if line.startswith("value "))
    return [line.removeprefix("  ") for line in lines[at + 1 :]]


def test_tells_what_failed_where_it_came_from_and_all_headers() -> None:
    lines = view(b"{}")
    assert lines[:7] == [
        "dead letter  dlq.clicks/1/4, set aside 1970-01-01T00:00:05.000Z",
        "class        schema",
        "reason       no good",
        "came from    suggestion-clicks/3/9, 1970-01-01T00:00:01.000Z",
        "replayed     0 times",
        "key          i-1",
        "its headers",
    ]
    assert "  ce_id   x" in lines
    assert "  custom  0xfe" in lines
    assert any(line.split() == ["x-dlq-worker", "tally"] for line in lines)
    assert value_in(lines) == ["{}  <-- no good"]


def test_json_stands_there_in_lines_with_its_own_digits_order_and_names() -> None:
    value = '{"b":1.50,"a":[],"a":[1e3,{"c":null,"d":"ü"}]}'.encode()
    assert value_in(view(value, dlq_class="http-refused")) == [
        "{",
        '  "b": 1.50,',
        '  "a": [],',
        '  "a": [',
        "    1e3,",
        "    {",
        '      "c": null,',
        '      "d": "ü"',
        "    }",
        "  ]",
        "}",
    ]


@pytest.mark.parametrize(
    ("value", "reason", "marked"),
    [
        (b'{"suggestionId":5,"s":1}', "Expected `str`, got `int` - at `$.suggestionId`", '"suggestionId": 5,'),
        (b'{"s":[{},{"id":"x"}]}', "Expected `int`, got `str` - at `$.s[1].id`", '"id": "x"'),
        (b'{"s":{"t":1}}', "Object missing required field `id` - at `$.s`", '"s": {'),
        (b'{"s":1}', "Object missing required field `interactionId`", "{"),
        (b'{"clickedAt":"now"}', "clickedAt is no RFC 3339 time", '"clickedAt": "now"'),
        (b"[1]", "Expected `object`, got `array`", "["),
    ],
)
def test_a_wrong_shape_is_marked_where_it_is_or_where_it_should_be(value: bytes, reason: str, marked: str) -> None:
    (line,) = [line for line in value_in(view(value, reason=reason)) if "<--" in line]
    assert line.strip() == f"{marked}  <-- {reason}"


def test_text_is_marked_where_it_stops_being_json() -> None:
    assert value_in(view(b'{"a": oops}', dlq_class="decode")) == ['{"a": ', "oops}  <-- here it stops being JSON"]


def test_of_a_long_text_the_part_around_the_mark_is_shown() -> None:
    lines = value_in(view(b"[" + b"1," * 5_000 + b"x" * 5_000, dlq_class="decode"))
    assert lines[0] == "… 9001 characters before"
    assert lines[2] == "x" * 1_000 + "  <-- here it stops being JSON"
    assert lines[3] == "… 4000 characters more"


@pytest.mark.parametrize("value", [b"NaN", b"[" * 900 + b"]" * 900, b"[" * 100_000])
def test_what_json_does_not_know_or_nobody_can_read_is_text(value: bytes) -> None:
    assert value_in(view(value, dlq_class="decode"))[0].startswith(value[:3].decode())


def test_other_bytes_are_shown_in_hexadecimal_with_a_mark() -> None:
    lines = value_in(view(b"0123456789abcdef\x1f\xff!", dlq_class="decode"))
    assert lines == [
        "00000000  30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66  0123456789abcdef",
        "00000010  1f ff 21                                         ..!  <-- here it stops being UTF-8",
    ]


def test_of_many_bytes_those_around_the_mark_are_shown() -> None:
    lines = value_in(view(b"a" * 1_000 + b"\xff" + b"b" * 1_000, dlq_class="decode"))
    assert lines[0] == "… 864 bytes before"
    assert lines[-1] == "… 881 bytes more"
    assert sum("<--" in line for line in lines) == 1


def test_a_null_value_is_null() -> None:
    assert value_in(view(None)) == ["null"]


def test_a_wrong_key_is_marked() -> None:
    assert "key          0xff00  <-- the key is wrong" in view(
        b"{}", dlq_class="key-mismatch", reason="the key is wrong", key=b"\xff\x00"
    )
    assert "key          null" in view(b"{}", key=None)


def test_a_frame_tells_that_it_is_one_and_what_was_cut() -> None:
    frame = dead_frame(b"ab", topic="dlq.ingress", partition=0, dlq_class="oversize", reason="r", size=9, at_ms=0)
    lines = list(view_of(letter_of(stored(frame))))
    assert "came from    a frame of Genesys, 1970-01-01T00:00:00.000Z" in lines
    assert "value        9 bytes, cut to 2" in lines


def test_what_the_bridge_did_not_set_aside_is_called_what_it_is() -> None:
    note = list(view_of(letter_of(stored(note_of("dlq.clicks", 1, [3], at_ms=5_000)))))
    assert note[3] == "came from    a replay: its note, 1970-01-01T00:00:05.000Z"
    strange = list(view_of(letter_of(stored(NewRecord(topic="dlq.clicks", key=None, value=b'{"a":1}')))))
    assert strange[3] == "came from    another writer: it is no dead letter, 1970-01-01T00:00:05.000Z"
    assert "value        7 bytes" in strange


@given(st.one_of(st.binary(max_size=300), st.text(max_size=100).map(str.encode)))
def test_no_value_steers_the_terminal(value: bytes) -> None:
    for dlq_class in ("schema", "decode"):
        assert all(line.isprintable() for line in view(value, dlq_class=dlq_class))
