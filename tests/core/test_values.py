"""The values of the topics: read, refused, written."""

from collections.abc import Callable
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.errors import MalformedError
from bridge.core.records import StoredRecord, origin_of
from bridge.core.values import (
    Click,
    ExportBody,
    Subscription,
    audit_from,
    audit_now,
    audit_of,
    click_id_of,
    decode_click,
    decode_subscription,
    encode,
    id_in_key,
)

_CLICK = b'{"interactionId":"i","suggestionId":"s","articleId":"a"}'


def _record(value: bytes | None, *, key: bytes | None = b"i") -> StoredRecord:
    return StoredRecord(topic="t", partition=1, offset=2, timestamp=1_000, key=key, value=value)


def _refusal(read: Callable[[StoredRecord], object], record: StoredRecord) -> str:
    with pytest.raises(MalformedError) as refused:
        read(record)
    return refused.value.dlq_class


def test_a_click_needs_three_ids_and_may_have_more() -> None:
    assert decode_click(_record(_CLICK)) == Click(interaction_id="i", suggestion_id="s", article_id="a")
    full = {
        "interactionId": "i",
        "suggestionId": "s",
        "articleId": "a",
        "clickedAt": "2026-01-05T10:00:00Z",
        "clickId": "c",
        "agentId": "g",
        "unknown": [1],
    }
    click = decode_click(_record(msgspec.json.encode(full)))
    assert (click.clicked_at, click.click_id, click.agent_id) == ("2026-01-05T10:00:00Z", "c", "g")


@pytest.mark.parametrize(
    ("value", "dlq_class"),
    [
        (None, "schema"),
        (b"", "decode"),
        (b"{", "decode"),
        (b"[1]", "schema"),
        (b'{"interactionId":"i","suggestionId":"s"}', "schema"),
        (_CLICK.replace(b'"s"', b'""'), "schema"),
        (_CLICK.replace(b'"s"', b"5"), "schema"),
        (_CLICK.replace(b'"s"', b'"%b"' % (b"s" * 257)), "schema"),
        (_CLICK.replace(b'"s"', b'"\xff"'), "decode"),
        (_CLICK.replace(b'"s"', b'"\\ud800"'), "decode"),
        (_CLICK.replace(b"}", b',"clickedAt":"yesterday"}'), "schema"),
        (_CLICK.replace(b"}", b',"x":' + b"[" * 5_000 + b"]" * 5_000 + b"}"), "decode"),
        (_CLICK + b" " * 65_536, "oversize"),
        (_CLICK.replace(b'"i"', b'"j"'), "key-mismatch"),
    ],
)
def test_a_click_that_cannot_be_used_says_why(value: bytes | None, dlq_class: str) -> None:
    assert _refusal(decode_click, _record(value)) == dlq_class


def test_a_click_without_a_key_is_a_mismatch() -> None:
    assert _refusal(decode_click, _record(_CLICK, key=None)) == "key-mismatch"


@given(st.binary(max_size=60))
def test_any_bytes_are_a_click_or_the_documented_error(value: bytes) -> None:
    with suppress(MalformedError):
        assert decode_click(_record(value)).interaction_id == "i"


def test_a_reason_names_the_place_and_quotes_nothing() -> None:
    with pytest.raises(MalformedError) as refused:
        decode_click(_record(_CLICK.replace(b'"s"', b'{"agent":"private"}')))
    assert refused.value.reason == "Expected `str`, got `object` - at `$.suggestionId`"


@pytest.mark.parametrize(
    ("value", "click_id"),
    [
        (None, None),
        (b"{", None),
        (b'{"clickId":"\xff"}', None),
        (b'{"clickId":5}', None),
        (b"[" * 5_000, None),
        (b"{}", None),
        (b'{"clickId":"c","articleId":5}', "c"),
    ],
)
def test_a_click_id_is_found_where_it_can_be_read(value: bytes | None, click_id: str | None) -> None:
    assert click_id_of(value) == click_id


@pytest.mark.parametrize(
    ("key", "interaction_id"),
    [(None, ""), (b"", ""), (b"\xff", ""), (b"k" * 257, ""), ("ä".encode(), "ä"), (b"k" * 256, "k" * 256)],
)
def test_a_key_spells_an_id_or_nothing(key: bytes | None, interaction_id: str) -> None:
    assert id_in_key(key) == interaction_id


def test_a_subscription_may_leave_out_all_but_its_id() -> None:
    assert decode_subscription(_record(b'{"interactionId":"i"}')) == Subscription(interaction_id="i")
    assert encode(Subscription(interaction_id="i")) == b'{"interactionId":"i"}'
    assert Subscription(interaction_id="i").expires_at_ms is None


def test_a_subscription_is_read_as_it_was_written() -> None:
    value = (
        b'{"interactionId":"i","contextWindow":{"start":"2026-01-05T10:00:00Z","end":"2026-01-05T10:05:00Z"},'
        b'"suggestionTypes":["knowledge"],"expiresAt":"1970-01-01T00:00:01Z"}'
    )
    subscription = decode_subscription(_record(value))
    assert encode(subscription) == value
    assert subscription.expires_at_ms == 1_000


@pytest.mark.parametrize(
    "value",
    [
        b'{"interactionId":"i","expiresAt":"later"}',
        b'{"interactionId":"i","contextWindow":{"start":"x","end":"2026-01-05T10:05:00Z"}}',
        b'{"interactionId":"i","contextWindow":{"start":"2026-01-05T10:05:00Z","end":"x"}}',
        b'{"interactionId":"i","suggestionTypes":"knowledge"}',
    ],
)
def test_a_subscription_of_another_shape_is_refused(value: bytes) -> None:
    assert _refusal(decode_subscription, _record(value)) == "schema"


def test_a_subscription_stands_under_its_id() -> None:
    assert _refusal(decode_subscription, _record(b'{"interactionId":"j"}')) == "key-mismatch"


def test_the_export_body_is_the_tutorials() -> None:
    """T12: field names and their order."""
    body = ExportBody(
        interaction_id="i", accepted_article_id="a", acceptance_rate=0.5, exported_at="2026-01-05T10:00:00.000Z"
    )
    assert encode(body) == (
        b'{"type":"agent_assist_sync","interactionId":"i","acceptedArticleId":"a","acceptanceRate":0.5,'
        b'"exportedAt":"2026-01-05T10:00:00.000Z"}'
    )


def test_an_audit_event_follows_from_its_record() -> None:
    source = _record(b"")
    event = audit_from(source, "suggestion-audit", "suggestions_retrieved", "i", count=2, latencyMs=42)
    assert event == audit_of(origin_of(source), "suggestion-audit", "suggestions_retrieved", "i", count=2, latencyMs=42)
    assert event.key == b"i"
    assert event.partition is None
    assert event.value == (
        b'{"event":"suggestions_retrieved","interactionId":"i","timestamp":"1970-01-01T00:00:01.000Z",'
        b'"count":2,"latencyMs":42}'
    )
    assert dict(event.headers)["ce_type"] == b"agentassist.audit.suggestions_retrieved"
    assert dict(event.headers)["x-source"] == b"t/1/2"


def test_an_audit_event_of_this_process_says_where_it_belongs() -> None:
    event = audit_now("suggestion-audit", "reception_gap", "i", at_ms=0, partition=3, **{"from": None, "to": "x"})
    assert (event.key, event.partition) == (b"i", 3)
    assert event.value == (
        b'{"event":"reception_gap","interactionId":"i","timestamp":"1970-01-01T00:00:00.000Z","from":null,"to":"x"}'
    )
    assert "x-source" not in dict(event.headers)


def test_an_audit_event_may_name_no_interaction() -> None:
    event = audit_from(_record(b""), "suggestion-audit", "click_refused", "", reason="r")
    assert event.key is None
    assert event.value == b'{"event":"click_refused","timestamp":"1970-01-01T00:00:01.000Z","reason":"r"}'


def test_audit_events_of_the_same_moment_are_told_apart_by_what_they_say() -> None:
    ids = {
        dict(audit_now("a", "suggestions_shed", "i", at_ms=0, partition=0, frames=frames).headers)["ce_id"]
        for frames in (1, 2)
    }
    assert len(ids) == 2
