"""The `agentassist` dialect without a socket: frames in -> what they say, subscriptions in -> frames out."""

import zlib
from typing import Generic, TypeVar

import msgspec

from bridge.core.errors import MalformedError
from bridge.core.times import to_rfc3339
from bridge.core.values import ContextWindow, Id, Subscription

MAX_FRAME_BYTES = 512 * 1024

_GZIP_MAGIC = b"\x1f\x8b"
# Each member of a gzip file costs a copy of what follows it, so their number is bounded, too.
_MAX_GZIP_MEMBERS = 16
_MAX_WORD = 64
_REMEMBERED = 65_536

_K = TypeVar("_K")
_V = TypeVar("_V")


class Suggestions(msgspec.Struct, frozen=True, kw_only=True):
    """A frame with suggestions for an interaction.

    `value` is its JSON, inflated, byte for byte; `occurrence` counts equal frames on the same socket, from 0.
    """

    interaction_id: str
    value: bytes
    occurrence: int


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Genesys refuses a subscription, or tells an error about none (`interaction_id` None)."""

    interaction_id: str | None
    code: str
    request_id: str | None


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """A frame that is no suggestion and no error: `subscribed`, `unsubscribed`, `heartbeat`, any other `type`."""

    type: str


class Unreadable(msgspec.Struct, frozen=True, kw_only=True):
    """A frame that cannot be used: a dead letter. `value` is at most the frame bound, `size` what it really had.

    `interaction_id` is for the class `schema`, where the frame names one all the same.
    """

    value: bytes
    dlq_class: str
    reason: str
    size: int
    interaction_id: str | None = None


Received = Suggestions | Refusal | Notice | Unreadable


class _WithSuggestions(msgspec.Struct, rename="camel", gc=False):
    # The one shape that matters for speed. Everything else in the frame is skipped, but its syntax is checked.
    interaction_id: Id
    suggestions: msgspec.Raw


_ABSENT = msgspec.Raw(b"")


class _AnyObject(msgspec.Struct, rename="camel", gc=False):
    type: msgspec.Raw = _ABSENT
    interaction_id: msgspec.Raw = _ABSENT
    suggestions: msgspec.Raw = _ABSENT
    request_id: msgspec.Raw = _ABSENT
    code: msgspec.Raw = _ABSENT


class _Subscribe(msgspec.Struct, rename="camel", kw_only=True):
    type: str = "subscribe"
    interaction_id: str
    context_window: ContextWindow
    suggestion_types: tuple[str, ...]
    request_id: str


class _Unsubscribe(msgspec.Struct, rename="camel", kw_only=True):
    type: str = "unsubscribe"
    interaction_id: str
    request_id: str


_suggestions_frames = msgspec.json.Decoder(_WithSuggestions)
_objects = msgspec.json.Decoder(_AnyObject)
_anything = msgspec.json.Decoder(msgspec.Raw)
_strings = msgspec.json.Decoder(str)
_codes = msgspec.json.Decoder(str | int)
_ids = msgspec.json.Decoder(Id)
_encoder = msgspec.json.Encoder()


class Session:
    """One socket's life: what to send for a subscription, and what each frame says. It never raises for a frame."""

    def __init__(self, *, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self._max_frame_bytes = max_frame_bytes
        self._occurrences: _Recent[int, int] = _Recent()
        self._asked: _Recent[str, str] = _Recent()
        self._latest: dict[str, str] = {}

    def subscribe(
        self,
        subscription: Subscription,
        *,
        request_id: str,
        now_ms: int,
        context_window_s: float,
        suggestion_types: tuple[str, ...],
    ) -> str:
        """The text frame that asks for an interaction's suggestions.

        `context_window_s` (seconds up to `now_ms`) and `suggestion_types` stand in for what it leaves open.
        """
        window = subscription.context_window or ContextWindow(
            start=to_rfc3339(now_ms - round(context_window_s * 1000)), end=to_rfc3339(now_ms)
        )
        types = subscription.suggestion_types
        frame = _Subscribe(
            interaction_id=subscription.interaction_id,
            context_window=window,
            suggestion_types=suggestion_types if types is None else types,
            request_id=request_id,
        )
        self._asked.put(request_id, subscription.interaction_id)
        self._latest[subscription.interaction_id] = request_id
        return _encoder.encode(frame).decode()

    def unsubscribe(self, interaction_id: str, *, request_id: str) -> str:
        """The text frame that ends an interaction's suggestions."""
        self._asked.put(request_id, interaction_id)
        self._latest.pop(interaction_id, None)
        return _encoder.encode(_Unsubscribe(interaction_id=interaction_id, request_id=request_id)).decode()

    def receive(self, data: bytes) -> Received:
        """What a message says, text or binary alike.

        The two need not be told apart: gzip begins with 1f 8b, which is never UTF-8, and everything else must be JSON
        in UTF-8. A `Suggestions` has a value that is valid JSON in UTF-8 from end to end.
        """
        value = b""
        try:
            value = self._json_of(data)
            return self._read(value)
        except MalformedError as error:
            return Unreadable(
                value=data[: self._max_frame_bytes],
                dlq_class=error.dlq_class,
                reason=error.reason,
                size=len(data),
                interaction_id=_named_in(value) if error.dlq_class == "schema" else None,
            )

    def _json_of(self, data: bytes) -> bytes:
        if data[:2] == _GZIP_MAGIC:
            return inflate(data, max_bytes=self._max_frame_bytes)
        if len(data) > self._max_frame_bytes:
            raise MalformedError("oversize", f"the frame has more than {self._max_frame_bytes} bytes")
        return data

    def _read(self, value: bytes) -> Received:
        try:
            # What msgspec skips it does not check for UTF-8. isascii() costs next to nothing.
            if not value.isascii():
                value.decode()
            frame = _suggestions_frames.decode(value)
        except msgspec.ValidationError:
            return self._read_other(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise MalformedError("decode", "the frame is no JSON in UTF-8") from error
        if not _is_array(frame.suggestions):
            raise MalformedError("schema", "suggestions is no array")
        return Suggestions(interaction_id=frame.interaction_id, value=value, occurrence=self._count(value))

    def copies_of(self, value: bytes) -> int:
        """How many frames of this value have come on this socket, as far back as it remembers (65,536 at least)."""
        occurrence = self._occurrences.get(hash(value))
        return 0 if occurrence is None else occurrence + 1

    def _count(self, value: bytes) -> int:
        mark = hash(value)
        before = self._occurrences.get(mark)
        occurrence = 0 if before is None else before + 1
        self._occurrences.put(mark, occurrence)
        return occurrence

    def _read_other(self, value: bytes) -> Refusal | Notice:
        frame = _object_in(value)
        if frame.suggestions:
            raise MalformedError("schema", "suggestions without a usable interactionId")
        kind = _string_in(frame.type)
        if kind is None:
            raise MalformedError("schema", "the object has neither suggestions nor a type")
        if kind == "error":
            return self._refusal(frame)
        return Notice(type=kind[:_MAX_WORD])

    def _refusal(self, frame: _AnyObject) -> Refusal:
        request_id = _id_in(frame.request_id)
        asked = None if request_id is None else self._asked.get(request_id)
        interaction_id = _id_in(frame.interaction_id) or asked
        if asked is not None and self._latest.get(asked) != request_id:
            # It answers a request that another one has replaced: that says nothing about the interaction now.
            interaction_id = None
        return Refusal(interaction_id=interaction_id, code=_code_in(frame.code), request_id=request_id)


def inflate(data: bytes, *, max_bytes: int) -> bytes:
    """The content of a gzip file (RFC 1952), of all its members; zeros after the last one are padding.

    Never makes more than `max_bytes` + 1 of it. Raises MalformedError (`inflate`) for a larger or a broken one.
    """
    parts: list[bytes] = []
    left = max_bytes + 1
    for _ in range(_MAX_GZIP_MEMBERS):
        part, data = _member(data, max_bytes=left)
        parts.append(part)
        left -= len(part)
        if left <= 0:
            raise MalformedError("inflate", f"the gzip frame inflates to more than {max_bytes} bytes")
        if not data.strip(b"\0"):
            return b"".join(parts)
        if data[:2] != _GZIP_MAGIC:
            raise MalformedError("inflate", "something else follows the gzip")
    raise MalformedError("inflate", f"the gzip frame has more than {_MAX_GZIP_MEMBERS} members")


def _member(data: bytes, *, max_bytes: int) -> tuple[bytes, bytes]:
    inflater = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        content = inflater.decompress(data, max_bytes)
    except zlib.error as error:
        raise MalformedError("inflate", "the frame begins like gzip, but is none") from error
    if not inflater.eof and len(content) < max_bytes:
        raise MalformedError("inflate", "the gzip frame is cut off")
    return content, inflater.unused_data


def _object_in(value: bytes) -> _AnyObject:
    try:
        _anything.decode(value)  # A wrong shape may hide what is no JSON further on.
        return _objects.decode(value)
    except msgspec.ValidationError as error:
        raise MalformedError("schema", "the frame is no object") from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise MalformedError("decode", "the frame is no JSON in UTF-8") from error


def _named_in(value: bytes) -> str | None:
    frame = _typed(value, _objects)
    return None if frame is None else _id_in(frame.interaction_id)


def _is_array(value: msgspec.Raw) -> bool:
    return memoryview(value)[0] == ord("[")


def _string_in(value: msgspec.Raw) -> str | None:
    return _typed(value, _strings)


def _id_in(value: msgspec.Raw) -> str | None:
    return _typed(value, _ids)


def _code_in(value: msgspec.Raw) -> str:
    code = _typed(value, _codes)
    return "unknown" if code is None else str(code)[:_MAX_WORD]


def _typed(value: msgspec.Raw | bytes, decoder: msgspec.json.Decoder[_V]) -> _V | None:
    try:
        return decoder.decode(value)
    except msgspec.DecodeError:
        return None


class _Recent(Generic[_K, _V]):
    """A mapping that remembers at least the last 65,536 keys and at most twice as many."""

    def __init__(self) -> None:
        self._younger: dict[_K, _V] = {}
        self._older: dict[_K, _V] = {}

    def get(self, key: _K) -> _V | None:
        value = self._younger.get(key)
        return self._older.get(key) if value is None else value

    def put(self, key: _K, value: _V) -> None:
        self._younger[key] = value
        if len(self._younger) >= _REMEMBERED:
            self._older, self._younger = self._younger, {}
