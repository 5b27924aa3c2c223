"""The subscription table: what `interaction-subscriptions` says -> what this replica must have subscribed."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import msgspec

from bridge.core.errors import MalformedError
from bridge.core.partitions import partition_of
from bridge.core.records import Kind, NewRecord, Record, digest, made_here
from bridge.core.values import Subscription, decode_subscription, id_in_key


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A subscription of this replica is over; `request_id` is None where it was never sent."""

    interaction_id: str
    request_id: str | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A record of the topic that is no subscription: a dead letter."""

    record: Record
    dlq_class: str
    reason: str


@dataclass(slots=True, kw_only=True)
class Changes:
    """What follows from a change of the table, in this order: unsubscribe, then subscribe.

    `handed_over` are those that another replica carries now: no longer this one's, and not over. `taken_over` were
    subscribed before this replica had them, so frames may be missing: they are among `subscribe`, or have expired
    meanwhile. `expired` are those whose null is to be written.
    """

    subscribe: dict[str, Subscription] = field(default_factory=dict)
    unsubscribe: list[str] = field(default_factory=list)
    handed_over: list[str] = field(default_factory=list)
    taken_over: list[str] = field(default_factory=list)
    expired: list[str] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class _Entry:
    subscription: Subscription
    expires_at_ms: int
    is_taken_over: bool
    is_finished: bool = False
    is_started: bool = False
    request_id: str | None = None


@dataclass(slots=True, kw_only=True)
class _Partition:
    gained_at_ms: int
    is_loaded: bool = False
    entries: dict[str, _Entry] = field(default_factory=dict)
    faults: dict[bytes | None, Fault] = field(default_factory=dict)


class Subscriptions:
    """The table of the partitions that this replica owns.

    A gained partition is subscribed once it is loaded, so that only its last word counts. A record in it that is older
    than the gain is a takeover, unless this process wrote it itself when it started (`fresh`): once, because after
    another replica has had it, it is taken over like all others.

    A malformed record is set aside when it is read live. When it was there already, as the last of its key, it is set
    aside only while it is younger than a subscription lives by default: it was perhaps written while no replica ran,
    but the topic is read from its start at every gain, so an old one would come back for ever. (At least once: a
    restart within that time sets it aside again.) It changes nothing about the subscription that stands before it.

    Times are epoch milliseconds.
    """

    def __init__(self, *, partitions: int, ttl_s: float, fresh: Collection[str] = ()) -> None:
        self._partitions = partitions
        self._ttl_ms = int(ttl_s * 1000)
        self._fresh = set(fresh)
        self._owned: dict[int, _Partition] = {}
        self._next_expiry_ms: int | None = None

    @property
    def is_loaded(self) -> bool:
        """Every partition that this replica owns has been read to its end."""
        return all(partition.is_loaded for partition in self._owned.values())

    def __len__(self) -> int:
        return sum(len(partition.entries) for partition in self._owned.values())

    def apply(
        self, *, owned: Collection[int], records: Sequence[Record], loaded: Collection[int], at_ms: int
    ) -> Changes:
        """Takes what the topic said, and which partitions are owned now; returns what follows from it."""
        changes = Changes()
        for number in [number for number in self._owned if number not in owned]:
            self._lose(number, changes)
        for number in owned:
            self._owned.setdefault(number, _Partition(gained_at_ms=at_ms))
        for record in records:
            partition = self._owned.get(record.partition)
            if partition is not None:
                self._read(record, partition, changes, at_ms)
        for number in loaded:
            partition = self._owned.get(number)
            if partition is not None and not partition.is_loaded:
                self._load(partition, changes, at_ms)
        return changes

    def started(self, interaction_id: str, *, request_id: str) -> str | None:
        """The subscription was sent: `written` or `takeover` at first, `again` later; None if it is not wanted."""
        entry = self._find(interaction_id)
        if entry is None or entry.is_finished:
            return None
        entry.request_id = request_id
        if entry.is_started:
            return "again"
        entry.is_started = True
        return "takeover" if entry.is_taken_over else "written"

    def finished(self, interaction_id: str, *, reason: str) -> Ended | None:
        """Genesys ended it: it is not wanted until it is written again. None where it was not wanted anyway."""
        entry = self._find(interaction_id)
        if entry is None or entry.is_finished:
            return None
        entry.is_finished = True
        return Ended(interaction_id=interaction_id, request_id=entry.request_id, reason=reason)

    def expire(self, *, at_ms: int) -> Changes | None:
        """Takes out what has expired; None where nothing has."""
        if self._next_expiry_ms is None or at_ms < self._next_expiry_ms:
            return None
        changes = Changes()
        left: list[int] = []
        for partition in self._owned.values():
            if partition.is_loaded:
                due = [name for name, entry in partition.entries.items() if entry.expires_at_ms <= at_ms]
                changes.expired += due
                for name in due:
                    _end(name, partition.entries.pop(name), "expired", changes)
                left += [entry.expires_at_ms for entry in partition.entries.values()]
        self._next_expiry_ms = min(left, default=None)
        return changes

    def _lose(self, number: int, changes: Changes) -> None:
        partition = self._owned.pop(number)
        if partition.is_loaded:
            changes.handed_over += [name for name, entry in partition.entries.items() if not entry.is_finished]

    def _read(self, record: Record, partition: _Partition, changes: Changes, at_ms: int) -> None:
        # A new record of a key takes the place of a malformed one, as compaction will have it.
        partition.faults.pop(record.key, None)
        try:
            name = self._name(record)
            subscription = None if record.value is None else decode_subscription(record)
        except MalformedError as error:
            fault = Fault(record=record, dlq_class=error.dlq_class, reason=error.reason)
            if partition.is_loaded:
                changes.faults.append(fault)
            else:
                partition.faults[record.key] = fault
            return
        if subscription is None:
            entry = partition.entries.pop(name, None)
            if entry is not None and partition.is_loaded:
                _end(name, entry, "unsubscribed", changes)
        else:
            self._write(subscription, record, partition, changes, at_ms)

    def _name(self, record: Record) -> str:
        name = id_in_key(record.key)
        if record.key is None or not name:
            raise MalformedError("key-mismatch", "the key spells no interactionId")
        if partition_of(record.key, self._partitions) != record.partition:
            raise MalformedError("misplaced", "the record is not on the partition that its key belongs to")
        return name

    def _write(
        self, subscription: Subscription, record: Record, partition: _Partition, changes: Changes, at_ms: int
    ) -> None:
        name = subscription.interaction_id
        entry = _Entry(
            subscription=subscription,
            expires_at_ms=_lives_until_ms(subscription, record, self._ttl_ms),
            is_taken_over=not partition.is_loaded
            and record.timestamp < partition.gained_at_ms
            and name not in self._fresh,
        )
        if partition.is_loaded:
            self._expires(entry)
        former = partition.entries.get(name)
        partition.entries[name] = entry
        if former is not None and not former.is_finished:
            entry.is_started, entry.request_id = former.is_started, former.request_id
            entry.is_taken_over |= former.is_taken_over
            # One that has expired may never have been subscribed, if that was so when it was read.
            if _asks(former.subscription) == _asks(subscription) and former.expires_at_ms > at_ms:
                return  # Only its expiry has moved.
        if partition.is_loaded and entry.expires_at_ms > at_ms:
            changes.subscribe[name] = subscription

    def _load(self, partition: _Partition, changes: Changes, at_ms: int) -> None:
        partition.is_loaded = True
        # Fresh at their first load only: after another replica has had them, they are taken over like all others.
        self._fresh -= partition.entries.keys()
        for name, entry in partition.entries.items():
            self._expires(entry)
            if entry.is_taken_over:
                changes.taken_over.append(name)
            # One that has expired is still an entry: `expire` takes it out, and its null is written.
            if entry.expires_at_ms > at_ms:
                changes.subscribe[name] = entry.subscription
        young = [fault for fault in partition.faults.values() if fault.record.timestamp + self._ttl_ms > at_ms]
        changes.faults += young
        partition.faults.clear()

    def _find(self, interaction_id: str) -> _Entry | None:
        partition = self._owned.get(partition_of(interaction_id.encode(), self._partitions))
        return partition.entries.get(interaction_id) if partition is not None and partition.is_loaded else None

    def _expires(self, entry: _Entry) -> None:
        # Too early where that entry is gone or was renewed since: `expire` then finds nothing and looks again.
        if self._next_expiry_ms is None or entry.expires_at_ms < self._next_expiry_ms:
            self._next_expiry_ms = entry.expires_at_ms


def is_alive(record: Record | None, *, ttl_s: float, at_ms: int) -> bool:
    """Whether this is a subscription that has not expired; None and null are none."""
    if record is None or record.value is None:
        return False
    try:
        subscription = decode_subscription(record)
    except MalformedError:
        return False
    return _lives_until_ms(subscription, record, int(ttl_s * 1000)) > at_ms


def subscription_record(
    topic: str, interaction_id: str, *, value: bytes | None, at_ms: int, partition: int | None = None
) -> NewRecord:
    """A record of the subscription topic that is written at `at_ms`; a null value ends the subscription.

    `partition` None is for a writer that finds the key's own.
    """
    key = interaction_id.encode()
    ce_id = digest(Kind.SUBSCRIPTION.encode(), key, b"%d" % at_ms)
    headers = made_here(kind=Kind.SUBSCRIPTION, subject=interaction_id, at_ms=at_ms, ce_id=ce_id)
    return NewRecord(topic=topic, key=key, value=value, headers=headers, partition=partition)


def _lives_until_ms(subscription: Subscription, record: Record, ttl_ms: int) -> int:
    expires_at_ms = subscription.expires_at_ms
    return record.timestamp + ttl_ms if expires_at_ms is None else expires_at_ms


def _end(name: str, entry: _Entry, reason: str, changes: Changes) -> None:
    changes.subscribe.pop(name, None)
    changes.unsubscribe.append(name)
    if not entry.is_finished:
        changes.ended.append(Ended(interaction_id=name, request_id=entry.request_id, reason=reason))


def _asks(subscription: Subscription) -> Subscription:
    return msgspec.structs.replace(subscription, expires_at=None)
