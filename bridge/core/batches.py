"""A ranked list as a program reads it, and what a program writes of it: clicks and subscriptions."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from bridge.core.errors import MalformedError
from bridge.core.records import Record, StoredRecord
from bridge.core.times import to_rfc3339
from bridge.core.values import (
    Click,
    ContextWindow,
    Subscription,
    check_key,
    decode,
    decode_click,
    decode_subscription,
    encode,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class Suggestion(msgspec.Struct, frozen=True, kw_only=True):
    """One suggestion of a ranked list, and the interaction that it is for.

    What Genesys left out is empty, or None for a score. `raw` is the whole object, JSON in UTF-8, byte for byte as
    Genesys sent it: `json.loads(suggestion.raw)` has the fields that are not named here.
    """

    interaction_id: str
    id: str
    title: str
    type: str
    confidence: float | None
    relevance_score: float | None
    knowledge_article_id: str
    raw: bytes


class RankedBatch(msgspec.Struct, frozen=True, kw_only=True):
    """A ranked list: at least one suggestion, the best first.

    `timestamp` is when the bridge received it (RFC 3339, UTC, milliseconds), `latency_ms` what Genesys says that it
    took to make it.
    """

    interaction_id: str
    timestamp: str
    ranked_suggestions: tuple[Suggestion, ...]
    latency_ms: float


class _List(msgspec.Struct, rename="camel"):
    interaction_id: str
    timestamp: str
    ranked_suggestions: list[msgspec.Raw]
    latency_ms: float


class _Fields(msgspec.Struct, rename="camel"):
    # Genesys may put anything where the bridge looks at nothing; the ranker has seen to the scores.
    id: object = ""
    title: object = ""
    type: object = ""
    knowledge_article_id: object = ""
    confidence: float | None = None
    relevance_score: float | None = None


_lists = msgspec.json.Decoder(_List)
_fields = msgspec.json.Decoder(_Fields)


def batch_of(record: Record) -> RankedBatch | None:
    """The list of a record; None for what another writer left on the topic that is none, or an empty one."""
    try:
        ranked = decode(record.value, _lists)
        check_key(record, ranked.interaction_id)
        suggestions = tuple(_suggestion(raw, ranked.interaction_id) for raw in ranked.ranked_suggestions)
    except MalformedError:
        return None
    if not suggestions:
        return None
    return RankedBatch(
        interaction_id=ranked.interaction_id,
        timestamp=ranked.timestamp,
        ranked_suggestions=suggestions,
        latency_ms=ranked.latency_ms,
    )


def _suggestion(raw: msgspec.Raw, interaction_id: str) -> Suggestion:
    fields = decode(bytes(raw), _fields)
    return Suggestion(
        interaction_id=interaction_id,
        id=_text(fields.id),
        title=_text(fields.title),
        type=_text(fields.type),
        confidence=fields.confidence,
        relevance_score=fields.relevance_score,
        knowledge_article_id=_text(fields.knowledge_article_id),
        raw=bytes(raw),
    )


def _text(field: object) -> str:
    return field if isinstance(field, str) else ""


def click_on(suggestion: Suggestion, *, click_id: str, agent_id: str | None, at_ms: int) -> Click:
    """The click of an agent who took the suggestion at `at_ms` (epoch milliseconds).

    Raises ValueError for one that the bridge would set aside: without an id or an article, or with too long an id.
    """
    click = Click(
        interaction_id=suggestion.interaction_id,
        suggestion_id=suggestion.id,
        article_id=suggestion.knowledge_article_id,
        clicked_at=to_rfc3339(at_ms),
        click_id=click_id,
        agent_id=agent_id,
    )
    try:
        decode_click(_as_read(click.interaction_id, encode(click)))
    except MalformedError as error:
        raise ValueError(f"no click that can be counted: {error.reason}") from error
    return click


def subscription_of(
    interaction_id: str, *, context_window: tuple[datetime, datetime] | None, suggestion_types: Sequence[str] | None
) -> Subscription:
    """The wish for suggestions of an interaction; what is None is left to the bridge's options.

    Raises ValueError for one that the bridge would set aside, and for a window without a time zone.
    """
    subscription = Subscription(
        interaction_id=interaction_id,
        context_window=None if context_window is None else _window(*context_window),
        suggestion_types=None if suggestion_types is None else tuple(suggestion_types),
    )
    try:
        decode_subscription(_as_read(interaction_id, encode(subscription)))
    except MalformedError as error:
        raise ValueError(f"no subscription: {error.reason}") from error
    return subscription


def _window(start: datetime, end: datetime) -> ContextWindow:
    if start.tzinfo is None or end.tzinfo is None:
        raise ValueError("the times of a context window need a time zone")
    return ContextWindow(
        start=to_rfc3339((start - _EPOCH) // _MILLISECOND), end=to_rfc3339((end - _EPOCH) // _MILLISECOND)
    )


def _as_read(interaction_id: str, value: bytes) -> StoredRecord:
    return StoredRecord(topic="", key=interaction_id.encode(), value=value)
