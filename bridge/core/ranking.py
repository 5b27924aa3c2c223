"""Suggestions in -> suggestions in order: those worth showing, the best first, each carried byte for byte."""

from dataclasses import dataclass
from operator import itemgetter
from typing import Annotated, ClassVar

import msgspec

from bridge.core.errors import MalformedError
from bridge.core.options import Within
from bridge.core.records import Record, digest
from bridge.core.times import to_rfc3339
from bridge.core.values import Id, check_key, decode

_NO_LATENCY = msgspec.Raw(b"0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The section `ranking`. Only the ratio of the two weights matters; `fresh_for_s` 0 is for ever."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    min_confidence: Annotated[float, Within(0, 1)] = 0.75
    relevance_weight: Annotated[float, Within(0, 1)] = 0.6
    confidence_weight: Annotated[float, Within(0, 1)] = 0.4
    # No agent looks back at what was suggested half a minute ago when there is something newer.
    fresh_for_s: Annotated[float, Within(0, 86_400)] = 30.0


class Ranking(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What became of one list of suggestions.

    `value` is the ranked list as it stands on the topic, None when no suggestion is left. `latency_ms` is a JSON
    number, in the digits in which it came.
    """

    interaction_id: str
    received: int
    ranked: int
    latency_ms: msgspec.Raw
    value: bytes | None


class RankedList(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a ranked list shows: the ids of its suggestions, without those that have none."""

    interaction_id: str
    suggestion_ids: tuple[str, ...]


class _Frame(msgspec.Struct, frozen=True, rename="camel", gc=False):
    interaction_id: Id
    suggestions: list[msgspec.Raw]
    metadata: msgspec.Raw = msgspec.Raw(b"{}")


class _Scores(msgspec.Struct, frozen=True, rename="camel", gc=False):
    confidence: float | None = None
    relevance_score: float | None = None


class _Metadata(msgspec.Struct, frozen=True, rename="camel", gc=False):
    processing_latency_ms: msgspec.Raw = _NO_LATENCY


class _Shown(msgspec.Struct, frozen=True, gc=False):
    id: msgspec.Raw = msgspec.Raw(b"null")


class _Ranked(msgspec.Struct, frozen=True, rename="camel", gc=False):
    interaction_id: Id
    ranked_suggestions: list[_Shown]


_frames = msgspec.json.Decoder(_Frame)
_scores = msgspec.json.Decoder(_Scores)
_metadata = msgspec.json.Decoder(_Metadata)
_numbers = msgspec.json.Decoder(float)
_ranked = msgspec.json.Decoder(_Ranked)
_strings = msgspec.json.Decoder(str)
_encode = msgspec.json.Encoder().encode


def version(options: Options) -> str:
    """16 hexadecimal digits that follow from the options: lists that have them equal were ranked alike."""
    weights = (options.min_confidence, options.relevance_weight, options.confidence_weight)
    return digest(*(repr(float(weight)).encode() for weight in weights))[:16]


def is_fresh(at_ms: int, *, now_ms: int, options: Options) -> bool:
    """Whether a list of `at_ms` is worth showing at `now_ms` though there is a newer one (epoch milliseconds)."""
    return options.fresh_for_s == 0 or now_ms - at_ms <= options.fresh_for_s * 1000


def rank(value: bytes | None, *, at_ms: int, options: Options) -> Ranking:
    """Ranks the suggestions of a frame that was received at `at_ms` (epoch milliseconds).

    Raises MalformedError: `decode` for what is no JSON in UTF-8, else `schema`: no interactionId, no list of objects,
    or a score that is neither absent, null nor a number that a double can hold. A latency that is no such number is 0.
    """
    _check_utf8(value)
    frame = decode(value, _frames)
    best = _in_order(frame.suggestions, options)
    latency_ms = _latency_in(frame.metadata)
    return Ranking(
        interaction_id=frame.interaction_id,
        received=len(frame.suggestions),
        ranked=len(best),
        latency_ms=latency_ms,
        value=_value(frame.interaction_id, best, latency_ms=latency_ms, at_ms=at_ms) if best else None,
    )


def decode_ranked(record: Record) -> RankedList:
    """The ranked list of a record. A suggestion's `id` that is no string is nobody's to click, and left out.

    Raises MalformedError: `decode`, `schema`, or `key-mismatch` where the key is not its interactionId.
    """
    ranked = decode(record.value, _ranked)
    check_key(record, ranked.interaction_id)
    ids = (_string_in(shown.id) for shown in ranked.ranked_suggestions)
    return RankedList(
        interaction_id=ranked.interaction_id,
        suggestion_ids=tuple(spelled for spelled in ids if spelled is not None),
    )


def _in_order(suggestions: list[msgspec.Raw], options: Options) -> list[msgspec.Raw]:
    weighted = []
    at = 0
    try:
        for at, suggestion in enumerate(suggestions):  # noqa: B007 - where it fails
            scores = decode(suggestion, _scores)
            confidence = scores.confidence or 0.0
            if confidence >= options.min_confidence:
                relevance = scores.relevance_score or 0.0
                weighted.append(
                    (options.relevance_weight * relevance + options.confidence_weight * confidence, suggestion)
                )
    except MalformedError as error:
        raise _placed(error, f"$.suggestions[{at}]") from error
    # Python's sort is stable, reversed too: ties keep the order in which they came.
    weighted.sort(key=itemgetter(0), reverse=True)
    return [suggestion for _, suggestion in weighted]


def _placed(error: MalformedError, path: str) -> MalformedError:
    """The same, told of a part of the value that was read by itself."""
    reason = error.reason.replace("`$", f"`{path}", 1) if "`$" in error.reason else f"{error.reason} - at `{path}`"
    return MalformedError(error.dlq_class, reason)


def _value(interaction_id: str, best: list[msgspec.Raw], *, latency_ms: msgspec.Raw, at_ms: int) -> bytes:
    return b'{"interactionId":%b,"timestamp":"%b","rankedSuggestions":[%b],"latencyMs":%b}' % (
        _encode(interaction_id),
        to_rfc3339(at_ms).encode(),
        b",".join(best),
        latency_ms,
    )


def _check_utf8(value: bytes | None) -> None:
    # The decoder skips over unknown fields without looking at their UTF-8; they are carried on.
    try:
        (value or b"").decode()
    except UnicodeDecodeError as error:
        raise MalformedError("decode", "the value is no JSON in UTF-8") from error


def _latency_in(metadata: msgspec.Raw) -> msgspec.Raw:
    try:
        latency_ms = _metadata.decode(metadata).processing_latency_ms
        _numbers.decode(latency_ms)
    except (msgspec.DecodeError, RecursionError):
        return _NO_LATENCY
    return latency_ms


def _string_in(spelled: msgspec.Raw) -> str | None:
    try:
        return _strings.decode(spelled)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
