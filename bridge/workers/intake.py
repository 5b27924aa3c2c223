"""What ingress writes: raw records, dead letters, audit events, nulls of expired subscriptions."""

from binascii import b2a_hex
from functools import lru_cache
from hashlib import blake2b
from itertools import count
from typing import NamedTuple

import msgspec

from bridge.core.dead_letters import dead_frame, dead_letter
from bridge.core.dialects.agentassist import Suggestions, Unreadable
from bridge.core.gaps import Gap, Shed
from bridge.core.partitions import partition_of
from bridge.core.records import Header, Kind, NewRecord, made_here
from bridge.core.subscriptions import Ended, Fault, subscription_record
from bridge.core.times import to_rfc3339
from bridge.core.topics import Topics
from bridge.core.values import audit_now

# More than one process carries at a time; an entry takes 1 to 2 KB.
_INTERACTIONS = 16_384


class _Interaction(NamedTuple):
    """What all frames of one interaction have in common; in `headers`, `ce_id` and `ce_time` only keep their places."""

    key: bytes
    partition: int
    headers: tuple[Header, ...]
    digest: blake2b
    size: int


class RawRecords:
    """Makes raw records whose headers are those of `made_here`, in a third of the time: every frame comes by here."""

    def __init__(self, *, topic: str, partitions: int) -> None:
        self._topic = topic
        self._partitions = partitions
        self._time: Header = ("ce_time", b"")
        self._time_ms: int | None = None
        self._interaction = lru_cache(maxsize=_INTERACTIONS)(self._look_up)

    def make(self, frame: Suggestions, *, at_ms: int) -> tuple[NewRecord, int]:
        """The record of a frame that was read at `at_ms`, and how many bytes it takes.

        Its `ce_id` is `digest(interactionId, value, occurrence)`: the same frame from another socket has the same one.
        """
        key, partition, headers, digest, size = self._interaction(frame.interaction_id)
        version, _, source, kind, _, subject, content_type = headers
        value, occurrence = frame.value, frame.occurrence
        mixed = digest.copy()
        mixed.update(b"%d:" % len(value))
        mixed.update(value)
        mixed.update(_part(b"%d" % occurrence) if occurrence else _FIRST)
        if at_ms != self._time_ms:
            self._time, self._time_ms = ("ce_time", to_rfc3339(at_ms).encode()), at_ms
        ce_id = "ce_id", b2a_hex(mixed.digest())
        record = NewRecord(
            topic=self._topic,
            key=key,
            value=value,
            headers=(version, ce_id, source, kind, self._time, subject, content_type),
            partition=partition,
            timestamp=at_ms,
        )
        return record, size + len(value)

    def _look_up(self, interaction_id: str) -> _Interaction:
        key = interaction_id.encode()
        headers = made_here(kind=Kind.RECEIVED, subject=interaction_id, at_ms=0, ce_id="0" * 32)
        return _Interaction(
            key=key,
            partition=partition_of(key, self._partitions),
            headers=headers,
            digest=blake2b(_part(key), digest_size=16),
            size=NewRecord(topic=self._topic, key=key, value=b"", headers=headers).size,
        )


def _part(part: bytes) -> bytes:
    return b"%d:%b" % (len(part), part)


# Nearly every frame is the first of its kind.
_FIRST = _part(b"0")


class SideRecords:
    """Makes everything that ingress writes beside the frames. Each record names its partition."""

    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        self._dead_frames = count()

    def dead_frame(self, frame: Unreadable, *, at_ms: int) -> NewRecord:
        """The dead letter of a frame; of those that name no interaction, the partitions take turns."""
        name = frame.interaction_id
        return dead_frame(
            frame.value,
            topic=self._topics.dlq_ingress,
            partition=next(self._dead_frames) % self._topics.partitions if name is None else self._partition(name),
            dlq_class=frame.dlq_class,
            reason=frame.reason,
            size=frame.size,
            at_ms=at_ms,
            interaction_id=name,
        )

    def dead_subscription(self, fault: Fault) -> NewRecord:
        """The dead letter of a record of the subscription topic, on the partition that the record has there."""
        letter = dead_letter(
            fault.record,
            topic=self._topics.dlq_ingress,
            worker="ingress",
            dlq_class=fault.dlq_class,
            reason=fault.reason,
            stage="subscription",
            # It lives from then on, whatever its `ce_time` says.
            first_at_ms=fault.record.timestamp,
        )
        return msgspec.structs.replace(letter, partition=fault.record.partition)

    def null(self, interaction_id: str, *, at_ms: int) -> NewRecord:
        """The record that ends a subscription for every reader."""
        return subscription_record(
            self._topics.interaction_subscriptions,
            interaction_id,
            value=None,
            partition=self._partition(interaction_id),
            at_ms=at_ms,
        )

    def started(self, interaction_id: str, *, request_id: str, reason: str, at_ms: int) -> NewRecord:
        """The audit event `subscription_started`."""
        return self._audit("subscription_started", interaction_id, at_ms=at_ms, requestId=request_id, reason=reason)

    def ended(self, ended: Ended, *, at_ms: int) -> NewRecord:
        """The audit event `subscription_ended`."""
        return self._audit(
            "subscription_ended", ended.interaction_id, at_ms=at_ms, requestId=ended.request_id, reason=ended.reason
        )

    def gap(self, gap: Gap, *, at_ms: int) -> NewRecord:
        """The audit event `reception_gap`."""
        from_time = None if gap.from_ms is None else to_rfc3339(gap.from_ms)
        interval = {"from": from_time, "to": to_rfc3339(gap.to_ms)}
        return self._audit("reception_gap", gap.interaction_id, at_ms=at_ms, **interval, cause=gap.cause)

    def suppressed(self, interaction_id: str, *, frames: int, at_ms: int) -> NewRecord:
        """The audit event `duplicates_suppressed`."""
        return self._audit("duplicates_suppressed", interaction_id, at_ms=at_ms, frames=frames)

    def shed(self, shed: Shed, *, at_ms: int) -> NewRecord:
        """The audit event `suggestions_shed`."""
        interval = {"from": to_rfc3339(shed.from_ms), "to": to_rfc3339(shed.to_ms)}
        return self._audit(
            "suggestions_shed", shed.interaction_id, at_ms=at_ms, frames=shed.frames, **interval, cause=shed.cause
        )

    def _audit(self, event: str, interaction_id: str, *, at_ms: int, **fields: object) -> NewRecord:
        partition = self._partition(interaction_id)
        return audit_now(
            self._topics.suggestion_audit, event, interaction_id, at_ms=at_ms, partition=partition, **fields
        )

    def _partition(self, interaction_id: str) -> int:
        return partition_of(interaction_id.encode(), self._topics.partitions)
