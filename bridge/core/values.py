"""The values of the topics, typed: bytes <-> Subscription, Click, AuditEvent, and the KMP's body.

Frames are `dialects/`, ranked lists `ranking.py`, acceptances `acceptance.py`: those are more than their shape.
"""

from typing import Annotated, Any, TypeVar

import msgspec

from bridge.core.errors import MalformedError
from bridge.core.records import Header, Kind, NewRecord, Origin, Record, digest, headers_from, made_here, origin_of
from bridge.core.times import from_rfc3339, to_rfc3339

MAX_CLICK_BYTES = 64 * 1024

_T = TypeVar("_T")

# Longer ids are nobody's interaction, but would be a way to fill memory and headers.
MAX_ID_CHARACTERS = 256
Id = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID_CHARACTERS)]


class ContextWindow(msgspec.Struct, frozen=True):
    """The part of the conversation that Genesys looks at; RFC 3339 times."""

    start: str
    end: str


class Subscription(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A value of `interaction-subscriptions`: suggestions are wanted for this interaction."""

    interaction_id: Id
    context_window: ContextWindow | None = None
    suggestion_types: tuple[str, ...] | None = None
    expires_at: str | None = None

    @property
    def expires_at_ms(self) -> int | None:
        """`expiresAt` in epoch milliseconds."""
        return None if self.expires_at is None else from_rfc3339(self.expires_at)


class Click(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A value of `suggestion-clicks`: an agent took a suggestion."""

    interaction_id: Id
    suggestion_id: Id
    article_id: Id
    clicked_at: str | None = None
    click_id: Id | None = None
    agent_id: Id | None = None


class _ClickId(msgspec.Struct, frozen=True, rename="camel"):
    click_id: Id | None = None


class ExportBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What is posted to the KMP for one click; the field names and their order are the tutorial's."""

    type: str = "agent_assist_sync"
    interaction_id: str
    accepted_article_id: str
    acceptance_rate: float
    exported_at: str


_subscriptions = msgspec.json.Decoder(Subscription)
_clicks = msgspec.json.Decoder(Click)
_click_ids = msgspec.json.Decoder(_ClickId)
_encoder = msgspec.json.Encoder()


def encode(value: msgspec.Struct | dict[str, Any]) -> bytes:
    """A value as it stands on a topic: JSON, UTF-8, the fields in their order."""
    return _encoder.encode(value)


def decode_subscription(record: Record) -> Subscription:
    """The subscription of a record whose value is not null.

    Raises MalformedError: `schema` for a value of another shape, `key-mismatch` where the key is not its interactionId.
    """
    subscription = decode(record.value, _subscriptions)
    _check_time("expiresAt", subscription.expires_at)
    if subscription.context_window is not None:
        _check_time("contextWindow.start", subscription.context_window.start)
        _check_time("contextWindow.end", subscription.context_window.end)
    check_key(record, subscription.interaction_id)
    return subscription


def decode_click(record: Record) -> Click:
    """The click of a record.

    Raises MalformedError: `oversize` over 64 KiB, `schema` for a value of another shape or a `clickedAt` that is no
    RFC 3339 time, `key-mismatch` where the key is not its interactionId.
    """
    size = len(record.value or b"")
    if size > MAX_CLICK_BYTES:
        raise MalformedError("oversize", f"the click has {size} bytes, at most {MAX_CLICK_BYTES} are taken")
    click = decode(record.value, _clicks)
    _check_time("clickedAt", click.clicked_at)
    check_key(record, click.interaction_id)
    return click


def click_id_of(value: bytes | None) -> str | None:
    """The `clickId` of a value that may be no click at all, where it can be read."""
    try:
        return _click_ids.decode(value or b"").click_id
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None


def id_in_key(key: bytes | None) -> str:
    """The interactionId that a key spells, or an empty string where it spells none (null, not UTF-8, too long)."""
    try:
        spelled = (key or b"").decode()
    except UnicodeDecodeError:
        return ""
    return spelled if len(spelled) <= MAX_ID_CHARACTERS else ""


def check_key(record: Record, interaction_id: str) -> None:
    """Raises MalformedError (`key-mismatch`) unless the record's key is the interactionId of its value."""
    if record.key != interaction_id.encode():
        raise MalformedError("key-mismatch", "the key is not the interactionId of the value")


def decode(value: bytes | None, decoder: msgspec.json.Decoder[_T]) -> _T:
    """The typed value.

    Raises MalformedError, with a sentence that quotes nothing: `decode` for what is no JSON, else `schema`.
    """
    if value is None:
        raise MalformedError("schema", "the value is null")
    try:
        return decoder.decode(value)
    except msgspec.ValidationError as error:
        raise MalformedError("schema", _without_values(error)) from error
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise MalformedError("decode", "the value is no JSON in UTF-8") from error


def _without_values(error: msgspec.ValidationError) -> str:
    # msgspec tells types and places (`$.suggestionId`; keys of a mapping as `[...]`), but would quote an invalid enum
    # value or tag. Our values have neither; yet a reason may never carry personal data, so it ends before a quote.
    return str(error).split("'")[0][:200]


def _check_time(name: str, spelled: str | None) -> None:
    if spelled is None:
        return
    try:
        from_rfc3339(spelled)
    except ValueError as error:
        raise MalformedError("schema", f"{name} is no RFC 3339 time") from error


def audit_from(
    source: Record, topic: str, event: str, interaction_id: str, *, number: int = 0, **fields: object
) -> NewRecord:
    """An audit event that follows from a record: written again, it is the same record."""
    return audit_of(origin_of(source), topic, event, interaction_id, number=number, **fields)


def audit_of(
    origin: Origin, topic: str, event: str, interaction_id: str, *, number: int = 0, **fields: object
) -> NewRecord:
    """The same as `audit_from`, for a source whose origin has been read already."""
    headers = headers_from(origin, kind=Kind.AUDIT + event, subject=interaction_id, number=number)
    return _audit(topic, event, interaction_id, at_ms=origin.at_ms, headers=headers, fields=fields)


def audit_now(
    topic: str, event: str, interaction_id: str, *, at_ms: int, partition: int, **fields: object
) -> NewRecord:
    """An audit event about something that happened in this process at `at_ms` (epoch milliseconds)."""
    kind = Kind.AUDIT + event
    spelled = _encoder.encode(fields)
    ce_id = digest(kind.encode(), interaction_id.encode(), b"%d" % at_ms, spelled)
    headers = made_here(kind=kind, subject=interaction_id, at_ms=at_ms, ce_id=ce_id)
    record = _audit(topic, event, interaction_id, at_ms=at_ms, headers=headers, fields=fields)
    return msgspec.structs.replace(record, partition=partition)


def _audit(
    topic: str,
    event: str,
    interaction_id: str,
    *,
    at_ms: int,
    headers: tuple[Header, ...],
    fields: dict[str, object],
) -> NewRecord:
    value: dict[str, object] = {"event": event}
    if interaction_id:  # Empty where nobody knows which: a click that is refused and has no readable key.
        value["interactionId"] = interaction_id
    value["timestamp"] = to_rfc3339(at_ms)
    return NewRecord(
        topic=topic,
        key=interaction_id.encode() if interaction_id else None,
        value=_encoder.encode(value | fields),
        headers=headers,
    )
