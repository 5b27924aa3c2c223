"""interaction-subscriptions -> what the sockets carry, and what the audit is told of it."""

from collections import Counter
from collections.abc import Callable, Sequence

from bridge.core.events.subscriptions import (
    GapsTold,
    PartitionsAssigned,
    SubscriptionsEnded,
    SubscriptionSetAside,
    SubscriptionsStarted,
)
from bridge.core.gaps import Backlogs, GapLedger
from bridge.core.partitions import partition_of
from bridge.core.records import NewRecord
from bridge.core.subscriptions import Changes, Ended, Subscriptions
from bridge.ports import Clock, Emit, Sockets, SubscriptionTable, TableChange, Tails
from bridge.workers.intake import SideRecords

# Another replica reads a partition that it has gained before it subscribes: until then this one listens on. What both
# bring has the same ids; and a socket that gives up all it has is not closed before it has got something else.
_LEAVE_AFTER_MS = 1_000


class Subscriber:
    """Follows the subscription table, and keeps the ledger of what each subscription may have missed.

    `write` takes a record that is to be written; `may_tell` is False while Kafka takes nothing: gaps then wait, summed
    up, until it does again.
    """

    def __init__(
        self,
        subscriptions: Subscriptions,
        *,
        partitions: int,
        table: SubscriptionTable,
        tails: Tails,
        sockets: Sockets,
        side: SideRecords,
        backlogs: Backlogs,
        write: Callable[[NewRecord], None],
        may_tell: Callable[[], bool],
        emit: Emit,
        clock: Clock,
    ) -> None:
        self._subscriptions = subscriptions
        self._partitions = partitions
        self._table = table
        self._tails = tails
        self._sockets = sockets
        self._side = side
        self._write = write
        self._may_tell = may_tell
        self._emit = emit
        self._clock = clock
        self._gaps = GapLedger(backlogs)
        self._received_to: dict[int, int] = {}
        self._suppressed: Counter[str] = Counter()
        self._leaving: dict[str, int] = {}
        self._owned: frozenset[int] | None = None

    def received(self, interaction_id: str, *, partition: int, at_ms: int) -> None:
        """Notes that a frame of an interaction was read."""
        self._received_to[partition] = at_ms
        self._gaps.received(interaction_id, at_ms=at_ms)

    def __len__(self) -> int:
        return len(self._subscriptions)

    def fault(self) -> str:
        """Why the table is not ready; empty where it is."""
        if fault := self._table.fault():
            return fault
        if self._owned is None:
            return "no partitions are assigned yet"
        return "" if self._subscriptions.is_loaded else "its partitions are being read"

    async def follow(self) -> None:
        """Does what the table says until the table is stopped."""
        while (change := await self._table.changes()) is not None:
            # Before anything of what was gained is subscribed: from then on the last records are our own.
            tails_ms = await self._tails.last_ms(change.loaded) if change.loaded else {}
            at_ms = self._clock()
            self._notice_partitions(change)
            changes = self._subscriptions.apply(
                owned=change.owned, records=change.records, loaded=change.loaded, at_ms=at_ms
            )
            for interaction_id in changes.taken_over:
                self._gaps.taken_over(interaction_id, from_ms=tails_ms.get(self._partition(interaction_id)))
            self._do(changes, at_ms)

    def tend(self, *, at_ms: int) -> None:
        """Ends what has expired, leaves what went to another replica a while ago, and tells what can be told."""
        expired = self._subscriptions.expire(at_ms=at_ms)
        if expired is not None:
            self._do(expired, at_ms)
        self._leave(at_ms)
        self.tell(at_ms=at_ms)

    def subscribed(self, interaction_ids: Sequence[str], *, request_ids: Sequence[str], at_ms: int) -> None:
        """The subscriptions were sent: open gaps end, first subscriptions are told."""
        reasons: Counter[str] = Counter()
        for interaction_id, request_id in zip(interaction_ids, request_ids, strict=True):
            reason = self._subscriptions.started(interaction_id, request_id=request_id)
            if reason is None:
                continue  # It ended or went to another replica while the sockets were about to send it.
            self._gaps.subscribed(interaction_id, at_ms=at_ms)
            if reason != "again":
                reasons[reason] += 1
                self._write(self._side.started(interaction_id, request_id=request_id, reason=reason, at_ms=at_ms))
        for reason, interactions in reasons.items():
            self._emit(SubscriptionsStarted(reason=reason, interactions=interactions))
        self.tell(at_ms=at_ms)

    def disconnected(self, interaction_ids: Sequence[str], *, cause: str, read_to_ms: int) -> None:
        """The connection that carried these is gone: a gap opens for each, from the last frame known."""
        for interaction_id in interaction_ids:
            self._gaps.disconnected(interaction_id, cause=cause, read_to_ms=read_to_ms)

    def finished(self, interaction_ids: Sequence[str], *, reason: str, at_ms: int) -> None:
        """Genesys ended these: they are told, and not wanted until they are written again."""
        ended = (self._subscriptions.finished(interaction_id, reason=reason) for interaction_id in interaction_ids)
        self._end([one for one in ended if one is not None], at_ms)

    def suppressed(self, interaction_id: str, *, frames: int) -> None:
        """So many frames of an interaction were copies: they are told with the gaps."""
        self._suppressed[interaction_id] += frames

    def stopped(self, *, at_ms: int) -> None:
        """The sockets were closed on purpose: tells the gap of each subscription."""
        self._gaps.stopped(at_ms=at_ms)
        self.tell(at_ms=at_ms)

    def tell(self, *, at_ms: int) -> None:
        """Tells the gaps that have closed and the copies, if anything can be told now."""
        if not self._may_tell():
            return
        for interaction_id, frames in self._suppressed.items():
            self._write(self._side.suppressed(interaction_id, frames=frames, at_ms=at_ms))
        self._suppressed.clear()
        gaps = self._gaps.tell()
        for gap in gaps:
            self._write(self._side.gap(gap, at_ms=at_ms))
        for cause, interactions in Counter(gap.cause for gap in gaps).items():
            self._emit(GapsTold(cause=cause, interactions=interactions))

    def _notice_partitions(self, change: TableChange) -> None:
        former = self._owned or frozenset()
        if change.owned != self._owned:
            gained, lost = len(change.owned - former), len(former - change.owned)
            self._emit(PartitionsAssigned(owned=len(change.owned), gained=gained, lost=lost))
        self._owned = change.owned

    def _do(self, changes: Changes, at_ms: int) -> None:
        self._set_aside(changes)
        for interaction_id in changes.handed_over:
            known_to_ms = self._received_to.get(self._partition(interaction_id))
            self._gaps.handed_over(interaction_id, known_to_ms=known_to_ms)
            self._leaving[interaction_id] = at_ms + _LEAVE_AFTER_MS
        for interaction_id in changes.expired:
            self._write(self._side.null(interaction_id, at_ms=at_ms))
        self._end(changes.ended, at_ms)
        if changes.unsubscribe:
            self._sockets.unsubscribe(changes.unsubscribe)
        if changes.subscribe:
            for interaction_id in changes.subscribe:
                self._leaving.pop(interaction_id, None)
            self._sockets.subscribe(list(changes.subscribe.values()))

    def _leave(self, at_ms: int) -> None:
        due = [name for name, due_ms in self._leaving.items() if due_ms <= at_ms]
        for interaction_id in due:
            del self._leaving[interaction_id]
        if due:
            self._sockets.unsubscribe(due)

    def _partition(self, interaction_id: str) -> int:
        return partition_of(interaction_id.encode(), self._partitions)

    def _set_aside(self, changes: Changes) -> None:
        for fault in changes.faults:
            self._write(self._side.dead_subscription(fault))
            self._emit(
                SubscriptionSetAside(
                    partition=fault.record.partition,
                    offset=fault.record.offset,
                    dlq_class=fault.dlq_class,
                    reason=fault.reason,
                )
            )

    def _end(self, ended: Sequence[Ended], at_ms: int) -> None:
        for one in ended:
            self._gaps.ended(one.interaction_id, at_ms=at_ms)
            self._write(self._side.ended(one, at_ms=at_ms))
        for reason, interactions in Counter(one.reason for one in ended).items():
            self._emit(SubscriptionsEnded(reason=reason, interactions=interactions))
        self.tell(at_ms=at_ms)
