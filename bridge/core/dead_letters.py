"""What a dead letter carries: the original's bytes, and headers that tell where it came from and what failed."""

import re
from typing import NamedTuple

import msgspec

from bridge.core.errors import MalformedError
from bridge.core.records import Header, NewRecord, Record, header_of, time_of
from bridge.core.times import to_rfc3339
from bridge.core.topics import MAX_DEAD_LETTER_BYTES

CLASSES = (
    "decode",
    "schema",
    "oversize",
    "inflate",
    "misplaced",
    "key-mismatch",
    "http-refused",
    "expired",
)

DLQ_CLASS = "x-dlq-class"
REPLAY_COUNT = "x-dlq-replay-count"
CUT = "x-dlq-cut"

# What is kept of a value that has no room on the dead-letter topic.
_CUT_BYTES = 512 * 1024
_NEVER_REPLAYED: Header = (REPLAY_COUNT, b"0")
_KEY_AND_HEADERS_CUT: Header = (CUT, b"key, headers")


def dead_letter(
    source: Record,
    *,
    topic: str,
    worker: str,
    dlq_class: str,
    reason: str,
    stage: str,
    attempts: int = 1,
    http_status: int | None = None,
    first_at_ms: int | None = None,
) -> NewRecord:
    """The record that sets `source` aside on `topic`: key, value and headers byte for byte, and what failed.

    `reason` is one sentence without personal data; `stage` is where it failed, in Kafka Connect's sense. What would be
    larger than the topic takes is cut: the value to its first 512 KiB, `x-dlq-size` being what it had; if that is not
    enough, `x-dlq-cut` says that key and headers are gone, too. `first_at_ms` is for what has another time than
    `time_of` says.
    """
    origin = (
        ("__connect.errors.topic", source.topic.encode()),
        ("__connect.errors.partition", b"%d" % source.partition),
        ("__connect.errors.offset", b"%d" % source.offset),
    )
    failed = _what_failed(
        worker=worker,
        dlq_class=dlq_class,
        reason=reason,
        stage=stage,
        attempts=attempts,
        first_at_ms=time_of(source) if first_at_ms is None else first_at_ms,
        http_status=http_status,
        size=len(source.value or b""),
    )
    added = (*failed, *_replay_count(source), *origin)
    return _fitted(
        NewRecord(topic=topic, key=source.key, value=source.value, headers=(*source.headers, *added)), added=added
    )


def _fitted(letter: NewRecord, *, added: tuple[Header, ...]) -> NewRecord:
    # A topic limits batches as they are compressed: a small one may hold a record that uncompressed is too large, and
    # one that could not be set aside would stop its partition for good.
    if letter.size <= MAX_DEAD_LETTER_BYTES:
        return letter
    cut = msgspec.structs.replace(letter, value=(letter.value or b"")[:_CUT_BYTES])
    if cut.size <= MAX_DEAD_LETTER_BYTES:
        return cut
    # The count is a writer's word, of any size: only the number is kept of it.
    replays = (REPLAY_COUNT, b"%d" % number_in(dict(letter.headers).get(REPLAY_COUNT)))
    dlq_class, *others = (header for header in added if header[0] != REPLAY_COUNT)
    return msgspec.structs.replace(cut, key=None, headers=(dlq_class, _KEY_AND_HEADERS_CUT, replays, *others))


def number_in(value: bytes | None) -> int:
    """The number that a header spells; 0 for one that spells none that could be meant."""
    return int(value) if value is not None and re.fullmatch(rb"[0-9]{1,18}", value) else 0


def malformed_letter(source: Record, error: MalformedError, *, topic: str, worker: str) -> NewRecord:
    """The record that sets aside what could not be read, in Kafka Connect's stages of reading a key and a value."""
    stage = "KEY_CONVERTER" if error.dlq_class == "key-mismatch" else "VALUE_CONVERTER"
    return dead_letter(source, topic=topic, worker=worker, dlq_class=error.dlq_class, reason=error.reason, stage=stage)


def dead_frame(
    value: bytes,
    *,
    topic: str,
    partition: int,
    dlq_class: str,
    reason: str,
    size: int,
    at_ms: int,
    interaction_id: str | None = None,
) -> NewRecord:
    """The record that sets a frame aside: its bytes as received (cut at the frame bound), `size` what it really had.

    One that names an interaction has its key and its `ce_subject`.
    """
    key = None if interaction_id is None else interaction_id.encode()
    return NewRecord(
        topic=topic,
        key=key,
        value=value,
        partition=partition,
        headers=(
            *_what_failed(
                worker="ingress",
                dlq_class=dlq_class,
                reason=reason,
                stage="frame",
                attempts=1,
                first_at_ms=at_ms,
                http_status=None,
                size=size,
            ),
            *(() if key is None else (("ce_subject", key),)),
            _NEVER_REPLAYED,
        ),
    )


class SetAside(NamedTuple):
    """What a dead letter that is to be written says: where the original stood, where it goes to, and what failed.

    `was_replayed`: the original had been sent back from the dead letters before.
    """

    topic: str
    offset: int
    was_replayed: bool
    dlq_topic: str
    dlq_class: str
    reason: str


def set_aside_in(record: NewRecord) -> SetAside | None:
    """What a record that is to be written sets aside; None for one that is no dead letter of another record."""
    # Each of them ends in its origin. Nearly everything that is written is none, so nothing else is looked at first.
    if not record.headers or record.headers[-1][0] != "__connect.errors.offset":
        return None
    told = dict(record.headers)
    return SetAside(
        topic=told["__connect.errors.topic"].decode(),
        offset=int(told["__connect.errors.offset"]),
        was_replayed=told.get(REPLAY_COUNT, b"0") != b"0",
        dlq_topic=record.topic,
        dlq_class=told[DLQ_CLASS].decode(),
        reason=told["x-dlq-reason"].decode(),
    )


def _replay_count(source: Record) -> tuple[Header, ...]:
    # A record that was replayed carries its count already, among the headers that are kept as they were.
    return () if header_of(source, REPLAY_COUNT) is not None else (_NEVER_REPLAYED,)


def _what_failed(
    *,
    worker: str,
    dlq_class: str,
    reason: str,
    stage: str,
    attempts: int,
    first_at_ms: int,
    http_status: int | None,
    size: int,
) -> tuple[Header, ...]:
    status = () if http_status is None else (("x-dlq-http-status", b"%d" % http_status),)
    return (
        (DLQ_CLASS, dlq_class.encode()),
        ("x-dlq-reason", reason.encode()),
        ("x-dlq-worker", worker.encode()),
        ("x-dlq-attempts", b"%d" % attempts),
        ("x-dlq-first-at", to_rfc3339(first_at_ms).encode()),
        *status,
        ("x-dlq-size", b"%d" % size),
        ("__connect.errors.stage", stage.encode()),
        ("__connect.errors.exception.class.name", f"bridge.{dlq_class}".encode()),
        ("__connect.errors.exception.message", reason.encode()),
    )
