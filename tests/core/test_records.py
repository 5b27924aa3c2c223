"""Records, and the headers that tie them together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.records import (
    Header,
    Kind,
    NewRecord,
    StoredRecord,
    digest,
    header_of,
    headers_from,
    identity_of,
    made_from,
    made_here,
    origin_of,
    positions_header,
    positions_of,
    source_of,
    time_of,
)

_TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def _record(*headers: Header) -> StoredRecord:
    return StoredRecord(topic="raw-suggestions", partition=2, offset=7, timestamp=1_000, headers=headers)


def test_the_last_of_equal_headers_counts() -> None:
    record = _record(("a", b"1"), ("b", b"2"), ("a", b"3"))
    assert header_of(record, "a") == b"3"
    assert header_of(record, "c") is None


def test_a_record_without_a_name_is_named_by_its_place() -> None:
    assert source_of(_record()) == "raw-suggestions/2/7"
    assert identity_of(_record()) == b"raw-suggestions/2/7"
    assert identity_of(_record(("ce_id", b""))) == b"raw-suggestions/2/7"
    assert identity_of(_record(("ce_id", b"x"))) == b"x"


@pytest.mark.parametrize("spelled", [b"soon", b"\xff", b"2026-02-30T00:00:00Z"])
def test_a_time_that_cannot_be_read_gives_way_to_the_timestamp(spelled: bytes) -> None:
    assert time_of(_record(("ce_time", spelled))) == 1_000


def test_the_time_is_that_of_the_header_where_there_is_one() -> None:
    assert time_of(_record(("ce_time", b"1970-01-01T00:00:02.000Z"))) == 2_000
    assert time_of(_record()) == 1_000


@given(st.lists(st.binary(max_size=5), max_size=4), st.lists(st.binary(max_size=5), max_size=4))
def test_a_digest_knows_the_borders_of_its_parts(one: list[bytes], other: list[bytes]) -> None:
    assert (digest(*one) == digest(*other)) == (one == other)


def test_a_digest_stays_what_it_is() -> None:
    """Ids on topics follow from it: a change would make every record a new one."""
    assert digest(b"a", b"", b"bc") == "090a567a1c6757f8cc62559f3014bf0d"


def test_what_is_made_from_a_record_is_a_cloud_event() -> None:
    source = _record(("ce_id", b"x"), ("ce_time", b"1970-01-01T00:00:02Z"), ("traceparent", _TRACE))
    assert made_from(source, kind=Kind.RANKED, subject="ä") == (
        ("ce_specversion", b"1.0"),
        ("ce_id", digest(b"x", b"agentassist.suggestions.ranked", b"").encode()),
        ("ce_source", b"/bridge"),
        ("ce_type", b"agentassist.suggestions.ranked"),
        ("ce_time", b"1970-01-01T00:00:02.000Z"),
        ("ce_subject", "ä".encode()),
        ("content-type", b"application/json"),
        ("traceparent", _TRACE),
        ("x-source", b"raw-suggestions/2/7"),
    )


@pytest.mark.parametrize("trace", [b"", b"00-zz", _TRACE + b"\n", _TRACE.upper()])
def test_a_trace_of_another_shape_is_not_passed_on(trace: bytes) -> None:
    names = [name for name, _ in made_from(_record(("traceparent", trace)), kind=Kind.RANKED, subject="i")]
    assert "traceparent" not in names


def test_records_of_one_kind_from_one_source_are_told_apart_by_number() -> None:
    ids = {dict(made_from(_record(), kind=Kind.ACCEPTANCE, subject="i", number=number))["ce_id"] for number in range(3)}
    assert len(ids) == 3


def test_an_id_may_be_given() -> None:
    assert dict(made_from(_record(), kind=Kind.EXPORT, subject="i", ce_id="key"))["ce_id"] == b"key"


def test_an_origin_gives_the_same_headers_as_its_record() -> None:
    source = _record(("ce_id", b"x"), ("traceparent", _TRACE))
    assert headers_from(origin_of(source), kind=Kind.RANKED, subject="i") == made_from(
        source, kind=Kind.RANKED, subject="i"
    )


def test_what_is_made_here_has_no_source() -> None:
    headers = dict(made_here(kind=Kind.RECEIVED, subject="i", at_ms=0, ce_id="x"))
    assert headers["ce_time"] == b"1970-01-01T00:00:00.000Z"
    assert "x-source" not in headers


@given(st.dictionaries(st.text(max_size=5), st.integers(0, 2**63 - 1), max_size=3))
def test_positions_are_read_as_they_were_written(positions: dict[str, int]) -> None:
    assert positions_of(_record(positions_header(positions))) == positions


@pytest.mark.parametrize("spelled", [b"", b"[]", b'{"a":"b"}', b"\xff"])
def test_positions_that_cannot_be_read_are_none(spelled: bytes) -> None:
    assert positions_of(_record(("x-positions", spelled))) == {}


def test_positions_that_are_not_there_are_none() -> None:
    assert positions_of(_record()) == {}


@given(
    st.none() | st.binary(max_size=300),
    st.none() | st.binary(max_size=300),
    st.lists(st.tuples(st.text(max_size=20), st.binary(max_size=300)), max_size=12),
)
def test_the_size_is_never_below_what_the_format_takes(
    key: bytes | None, value: bytes | None, headers: list[Header]
) -> None:
    record = NewRecord(topic="t", key=key, value=value, headers=tuple(headers))
    # Record format v2: attributes 1, and varints of at most 5 bytes (10 for the timestamp's difference).
    taken = 1 + 5 + 10 + 5 + 5 + len(key or b"") + 5 + len(value or b"") + 5
    taken += sum(5 + len(name.encode()) + 5 + len(header) for name, header in headers)
    assert record.size >= taken
