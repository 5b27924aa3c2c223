"""A dead letter as it is read back: what failed, where it came from and what it was; and which letters are meant."""

import re
from dataclasses import dataclass

from bridge.core.dead_letters import CUT, DLQ_CLASS, REPLAY_COUNT, number_in
from bridge.core.records import Header, Record, header_of
from bridge.core.times import from_rfc3339

UNKNOWN = "unknown"
"""The class of what stands on a dead-letter topic and was not written by the bridge."""

_PERIOD = re.compile(r"(\d{1,9})([smhd])", re.ASCII)
_PERIOD_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a record stands."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A record of a dead-letter topic.

    `headers` are those that the original had, `added` those that tell what failed. `size` is the number of bytes that
    the original's value had; `first_at_ms` when what is in it happened; `origin` where it stood, None for a frame;
    `replays` how often it was sent back.
    """

    record: Record
    headers: tuple[Header, ...]
    added: tuple[Header, ...]
    dlq_class: str
    reason: str
    size: int
    first_at_ms: int
    replays: int
    origin: Place | None

    @property
    def is_cut(self) -> bool:
        """True where the topic had no room for all of the original."""
        return self.size > len(self.record.value or b"") or self.has_lost_key

    @property
    def has_lost_key(self) -> bool:
        """True where it had no room for key and headers either."""
        return any(name == CUT for name, _ in self.added)


def letter_of(record: Record) -> Letter:
    """What a record of a dead-letter topic tells; a stranger's record is of the class `unknown`."""
    headers = tuple(record.headers)
    # A dead letter only appends: what stands before its class (the last one) belongs to the original.
    at = max((at for at, (name, _) in enumerate(headers) if name == DLQ_CLASS), default=len(headers))
    added = dict(headers[at:])
    return Letter(
        record=record,
        headers=headers[:at],
        added=headers[at:],
        dlq_class=_text(added.get(DLQ_CLASS)) or UNKNOWN,
        reason=_text(added.get("x-dlq-reason")),
        size=number_in(added.get("x-dlq-size")),
        first_at_ms=_time(added.get("x-dlq-first-at"), otherwise=record.timestamp),
        replays=number_in(header_of(record, REPLAY_COUNT)),
        origin=_origin(added),
    )


def _origin(added: dict[str, bytes]) -> Place | None:
    topic, partition, offset = (added.get(f"__connect.errors.{name}") for name in ("topic", "partition", "offset"))
    if not topic:
        return None
    return Place(topic=_text(topic), partition=number_in(partition), offset=number_in(offset))


def _text(value: bytes | None) -> str:
    return (value or b"").decode(errors="replace")


def _time(value: bytes | None, *, otherwise: int) -> int:
    try:
        return from_rfc3339(_text(value))
    except ValueError:
        return otherwise


def place_of(spelled: str) -> Place:
    """The place that `topic/partition/offset` names; raises ValueError for anything else."""
    found = re.fullmatch(r"([A-Za-z0-9._-]+)/(\d{1,9})/(\d{1,18})", spelled, re.ASCII)
    if found is None:
        raise ValueError("no TOPIC/PARTITION/OFFSET")
    return Place(topic=found[1], partition=int(found[2]), offset=int(found[3]))


def moment_of(spelled: str, *, now_ms: int) -> int:
    """Epoch milliseconds of an RFC 3339 time, or of so long ago: `90s`, `30m`, `2h`, `7d`.

    Raises ValueError for anything else.
    """
    if (period := _PERIOD.fullmatch(spelled)) is not None:
        return now_ms - int(period[1]) * _PERIOD_MS[period[2]]
    return from_rfc3339(spelled)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which letters are meant: those of a class, set aside at or after a time, with an interaction's key; None: any."""

    dlq_class: str | None = None
    since_ms: int | None = None
    interaction_id: str | None = None

    def includes(self, letter: Letter) -> bool:
        """True for a letter that fits all of it."""
        return (
            self.dlq_class in {None, letter.dlq_class}
            and (self.since_ms is None or letter.record.timestamp >= self.since_ms)
            and (self.interaction_id is None or letter.record.key == self.interaction_id.encode())
        )
