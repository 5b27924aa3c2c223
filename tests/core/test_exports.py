import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.errors import MalformedError
from bridge.core.exports import MAX_EXPORT_BYTES, export_of, set_aside, told
from bridge.core.records import Header, Record, StoredRecord, header_of
from bridge.core.topics import Options, topics_of
from bridge.core.verdict import Delivered, Refused

_TOPICS = topics_of(Options())
_BODY = b'{"type":"agent_assist_sync", "interactionId":"i1","acceptanceRate":0.50}'


def _record(
    value: bytes | None = _BODY,
    *,
    key: bytes | None = b"i1",
    headers: tuple[Header, ...] = (("ce_id", b"e1"), ("ce_time", b"2026-01-05T10:00:00.000Z")),
) -> StoredRecord:
    return StoredRecord(
        topic="acceptance-exports", partition=3, offset=17, timestamp=1, key=key, value=value, headers=headers
    )


def _as_record(topic: str, headers: tuple[Header, ...]) -> Record:
    return StoredRecord(topic=topic, headers=headers)


def test_an_export_is_the_value_byte_for_byte_under_its_ce_id() -> None:
    """T12: what is posted is what the topic holds, so that a retry is the same POST."""
    export = export_of(_record())
    assert (export.body, export.export_id, export.interaction_id) == (_BODY, "e1", "i1")
    assert export.sequence == "3/17"


@pytest.mark.parametrize(
    ("record", "dlq_class", "reason"),
    [
        (_record(None), "schema", "null"),
        (_record(b"{"), "decode", "no JSON"),
        (_record(b"[]"), "schema", "Expected `object`"),
        (_record(b'{"a":"' + b"x" * MAX_EXPORT_BYTES + b'"}'), "oversize", "65544 bytes"),
        (_record(headers=()), "schema", "ce_id"),
        (_record(headers=(("ce_id", b"a\r\nx: y"),)), "schema", "ce_id"),
        (_record(headers=(("ce_id", b'"quoted"'),)), "schema", "ce_id"),
        (_record(headers=(("ce_id", b""),)), "schema", "ce_id"),
        (_record(key=None), "schema", "key"),
        (_record(key=b""), "schema", "key"),
        (_record(key=b"\xff"), "schema", "key"),
    ],
)
def test_what_can_not_be_posted_is_malformed(record: Record, dlq_class: str, reason: str) -> None:
    with pytest.raises(MalformedError) as raised:
        export_of(record)
    assert raised.value.dlq_class == dlq_class
    assert reason in raised.value.reason


@given(value=st.none() | st.binary(max_size=50), key=st.none() | st.binary(max_size=5), ce_id=st.binary(max_size=5))
def test_any_bytes_are_an_export_or_malformed(value: bytes | None, key: bytes | None, ce_id: bytes) -> None:
    try:
        export = export_of(_record(value, key=key, headers=(("ce_id", ce_id),)))
    except MalformedError:
        return
    assert export.body == value


def test_a_delivered_export_leaves_its_audit() -> None:
    (audit,) = told(export_of(_record()), Delivered(status=201), attempts=3, topics=_TOPICS)
    assert (audit.topic, audit.key) == ("suggestion-audit", b"i1")
    assert msgspec.json.decode(audit.value or b"") == {
        "event": "acceptance_exported",
        "interactionId": "i1",
        "timestamp": "2026-01-05T10:00:00.000Z",
        "exportId": "e1",
        "outcome": "delivered",
        "status": 201,
        "attempts": 3,
    }


def test_a_refused_export_leaves_its_audit_and_a_dead_letter() -> None:
    verdict = Refused(status=422, reason="the KMP answered 422")
    audit, letter = told(export_of(_record()), verdict, attempts=2, topics=_TOPICS)
    assert b'"outcome":"refused","status":422,"attempts":2' in (audit.value or b"")
    assert (letter.topic, letter.key, letter.value) == ("dlq.exports", b"i1", _BODY)
    as_read = _as_record(letter.topic, letter.headers)
    wanted = {
        "ce_id": b"e1",
        "x-dlq-class": b"http-refused",
        "x-dlq-reason": b"the KMP answered 422",
        "x-dlq-worker": b"exporter",
        "x-dlq-attempts": b"2",
        "x-dlq-http-status": b"422",
        "__connect.errors.offset": b"17",
    }
    assert {name: header_of(as_read, name) for name in wanted} == wanted


def test_a_record_that_holds_no_export_is_set_aside_without_an_audit() -> None:
    (letter,) = set_aside(_record(None), MalformedError("schema", "the value is null"), topics=_TOPICS)
    as_read = _as_record(letter.topic, letter.headers)
    assert (letter.topic, letter.value) == ("dlq.exports", None)
    assert header_of(as_read, "x-dlq-class") == b"schema"
    assert header_of(as_read, "x-dlq-worker") == b"exporter"
