"""Records of the topics: as they are read, as they are written, and the CloudEvents headers that tie them together."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Protocol

import msgspec

from bridge.core.times import from_rfc3339, to_rfc3339

Header = tuple[str, bytes]

# CloudEvents 1.0, Kafka protocol binding, binary content mode.
SOURCE = b"/bridge"
X_SOURCE = "x-source"
X_POSITIONS = "x-positions"
_SPEC_VERSION: Header = ("ce_specversion", b"1.0")
_CE_SOURCE: Header = ("ce_source", SOURCE)
_CONTENT_TYPE: Header = ("content-type", b"application/json")
# What is made of one record has its time, and all records have few kinds: these headers are made once.
_KINDS_KEPT = 64
_MOMENTS_KEPT = 256
# Copied for each digest, which takes half the time of making one.
_NOTHING = blake2b(digest_size=16)
# W3C Trace Context, level 1: version, trace id, parent id, flags. A foreign value of any other shape is not passed on.
_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


class Kind:
    """The `ce_type` of everything that the bridge writes."""

    SUBSCRIPTION = "agentassist.subscription.requested"
    RECEIVED = "agentassist.suggestions.received"
    RANKED = "agentassist.suggestions.ranked"
    CLICKED = "agentassist.suggestion.clicked"
    ACCEPTANCE = "agentassist.acceptance.updated"
    EXPORT = "agentassist.acceptance.export"
    AUDIT = "agentassist.audit."


class Record(Protocol):
    """One entry of a topic, as it was read. Kafka clients' own records have this shape."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int:
        """Epoch milliseconds: the writer's or the broker's time, as the topic is set up."""

    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[Header]: ...


class StoredRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A `Record` made by hand: for tests and for records that come from elsewhere than a Kafka client."""

    topic: str
    partition: int = 0
    offset: int = 0
    timestamp: int = 0
    key: bytes | None = None
    value: bytes | None = None
    headers: tuple[Header, ...] = ()


class NewRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An entry that is to be written.

    `partition` None is the number that the hop is working on. `timestamp` None is the time of writing.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...] = ()
    partition: int | None = None
    timestamp: int | None = None

    @property
    def size(self) -> int:
        """An upper estimate of the bytes that this record takes in a batch (record format v2)."""
        # Names may take 4 bytes a character in UTF-8, values that a foreign writer left null are carried on as null.
        headers = sum(len(name.encode()) + len(value or b"") + 10 for name, value in self.headers)
        return len(self.key or b"") + len(self.value or b"") + headers + 70


class Origin(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What everything that is made from one record takes over from it; read once, used for each."""

    identity: bytes
    at_ms: int
    place: str
    trace: bytes | None


def header_of(record: Record, name: str) -> bytes | None:
    """The last value of a header, or None. Kafka lets a name stand more than once, and a value be null."""
    return dict(record.headers).get(name)


def source_of(record: Record) -> str:
    """Where a record stands, `topic/partition/offset`: the value of `x-source`."""
    return f"{record.topic}/{record.partition}/{record.offset}"


def identity_of(record: Record) -> bytes:
    """What names a record for good: its `ce_id`, else where it stands."""
    return header_of(record, "ce_id") or source_of(record).encode()


def time_of(record: Record) -> int:
    """When the thing in a record happened, epoch milliseconds: its `ce_time`, else the record's timestamp."""
    return _time_in(header_of(record, "ce_time"), record)


def origin_of(record: Record) -> Origin:
    """The record's identity, time, place and trace."""
    headers = dict(record.headers)
    place = source_of(record)
    trace = headers.get("traceparent")
    return Origin(
        identity=headers.get("ce_id") or place.encode(),
        at_ms=_time_in(headers.get("ce_time"), record),
        place=place,
        trace=trace if trace is not None and _TRACEPARENT.fullmatch(trace) else None,
    )


def _time_in(spelled: bytes | None, record: Record) -> int:
    if spelled is not None:
        try:
            return from_rfc3339(spelled.decode("ascii"))
        except ValueError:
            pass  # A foreign writer's fault; the record's own timestamp is as good.
    return record.timestamp


def digest(*parts: bytes) -> str:
    """32 hexadecimal digits that follow from the parts and the borders between them."""
    return _hexadecimal(_spelled(*parts))


def _spelled(*parts: bytes) -> bytes:
    return b"".join([b"%d:%b" % (len(part), part) for part in parts])


def _hexadecimal(spelled: bytes) -> str:
    hashed = _NOTHING.copy()
    hashed.update(spelled)
    return hashed.hexdigest()


def made_from(
    source: Record, *, kind: str, subject: str, number: int = 0, ce_id: str | None = None
) -> tuple[Header, ...]:
    """The headers of a record that was made from another one.

    `ce_id` and `ce_time` follow from the source, the kind and the `number` (for several of one kind), so doing the
    work again gives the same headers.
    """
    return headers_from(origin_of(source), kind=kind, subject=subject, number=number, ce_id=ce_id)


def headers_from(
    origin: Origin, *, kind: str, subject: str, number: int = 0, ce_id: str | None = None
) -> tuple[Header, ...]:
    """The same as `made_from`, for a source whose origin has been read already."""
    if ce_id is None:
        ce_id = _hexadecimal(_spelled(origin.identity) + _spelled_kind(kind, number))
    headers = _cloud_event(ce_id=ce_id, kind=kind, at_ms=origin.at_ms, subject=subject)
    source = (X_SOURCE, origin.place.encode())
    return (*headers, source) if origin.trace is None else (*headers, ("traceparent", origin.trace), source)


@lru_cache(_KINDS_KEPT)
def _spelled_kind(kind: str, number: int) -> bytes:
    return _spelled(kind.encode(), b"%d" % number if number else b"")


def made_here(*, kind: str, subject: str, at_ms: int, ce_id: str) -> tuple[Header, ...]:
    """The headers of a record that was made from a frame or from something that happened in this process."""
    return _cloud_event(ce_id=ce_id, kind=kind, at_ms=at_ms, subject=subject)


def _cloud_event(*, ce_id: str, kind: str, at_ms: int, subject: str) -> tuple[Header, ...]:
    return (
        _SPEC_VERSION,
        ("ce_id", ce_id.encode()),
        _CE_SOURCE,
        _type_header(kind),
        _time_header(at_ms),
        ("ce_subject", subject.encode()),
        _CONTENT_TYPE,
    )


@lru_cache(_KINDS_KEPT)
def _type_header(kind: str) -> Header:
    return "ce_type", kind.encode()


@lru_cache(_MOMENTS_KEPT)
def _time_header(at_ms: int) -> Header:
    return "ce_time", to_rfc3339(at_ms).encode()


def positions_header(positions: Mapping[str, int]) -> Header:
    """The next offset to read of each input topic, as a state record carries it: `x-positions`."""
    return X_POSITIONS, msgspec.json.encode(dict(sorted(positions.items())))


def positions_of(record: Record) -> dict[str, int]:
    """The positions that a state record carries, by topic; empty where it carries none or nothing readable."""
    spelled = header_of(record, X_POSITIONS)
    if spelled is None:
        return {}
    try:
        return msgspec.json.decode(spelled, type=dict[str, int])
    except msgspec.MsgspecError:
        return {}
