"""What workers need from the world, as a handful of Protocols; `adapters/` has the real ones, `tests/` the fakes."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from bridge.core.dialects.agentassist import Received
from bridge.core.events.kinds import Event
from bridge.core.records import NewRecord, Record
from bridge.core.values import Subscription
from bridge.core.valve import Lag
from bridge.core.verdict import Answer


class Emit(Protocol):
    """Tells an event: one log line, its metrics."""

    def __call__(self, event: Event, /) -> None: ...


class Clock(Protocol):
    """Epoch milliseconds, as records carry them."""

    def __call__(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One thing that `/readyz` names: whether it is as it must be, and if not, why and what helps."""

    name: str
    is_ready: bool
    reason: str = ""


# -- exactly once: ranker, tally, exporter -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Records of one number, each topic's in the order of its offsets, and how far each topic has been read.

    `positions` and `ends` are by topic. A position is the next offset to read once these records are done. An end is
    that of the leader's log as it was after these records were fetched (with what is in open transactions or not
    replicated yet); it is given only to hops that read more than one topic. A batch may have no records: then only the
    positions have moved.
    """

    records: Sequence[Record]
    positions: Mapping[str, int]
    ends: Mapping[str, int]


class Number(Protocol):
    """One partition number as a hop works it, over all its co-partitioned topics, while this process owns it."""

    @property
    def number(self) -> int: ...

    async def take(self, *, max_records: int = 1_000_000, topics: Collection[str] | None = None) -> Batch | None:
        """Waits for more and returns it; None once the number is draining: finish what was taken, commit, return.

        With `topics`, only records of these are waited for and returned: a hop that merges several topics leaves those
        alone of which it holds enough.
        """

    async def until_draining(self) -> None:
        """Waits until `take` would return None: for a hop that is full and so does not take; beside a `take` or not."""

    async def commit(self, written: Sequence[NewRecord], positions: Mapping[str, int]) -> None:
        """Writes the records and the positions (next offset to read, by topic) in one transaction.

        Returns once it is committed. Raises TransactionError or FencedError, after which nothing was written and the
        number will be restored: let it through.
        """


class Hop(Protocol):
    """What one hop does with one number. A new one is made for each number, and again after each restore."""

    def restore(self, record: Record) -> None:
        """Takes a record of the hop's state topic, in the order of that topic, before any work."""

    async def work(self, number: Number) -> None:
        """Works the number until `take` returns None. May be called again with the state that it has then.

        It forgets what it took but did not commit: those records come again.
        """


# -- the KMP -----------------------------------------------------------------------------------------------------------


class Kmp(Protocol):
    """The knowledge-management platform, one export at a time."""

    async def post(self, body: bytes, *, idempotency_key: str, sequence: str) -> Answer:
        """Posts the body as it is and returns what was answered, or that nothing was, within `kmp.timeout_s`.

        Whatever the network or the KMP does is an answer; nothing is raised for it.
        """


# -- ingress -----------------------------------------------------------------------------------------------------------


class Intake(Protocol):
    """Where the sockets put what they read: the ingress worker."""

    @property
    def may_read(self) -> bool:
        """False while the sockets must not be read; checked before each frame."""

    async def until_readable(self) -> None:
        """Waits until `may_read`."""

    def take(self, received: Received, *, at_ms: int) -> None:
        """Takes what one frame said; `at_ms` is when it was read."""

    def subscribed(self, interaction_ids: Sequence[str], *, request_ids: Sequence[str], at_ms: int) -> None:
        """The subscriptions were sent on an open socket: frames may come from now on."""

    def disconnected(self, interaction_ids: Sequence[str], *, cause: str, read_to_ms: int) -> None:
        """The connection that carried these is gone: frames may be missing that came after what was read at that time.

        Another one may have brought younger frames meanwhile.
        """

    def finished(self, interaction_ids: Sequence[str], *, reason: str, at_ms: int) -> None:
        """Genesys ended these for good; they are not subscribed again until they are written again."""

    def suppressed(self, interaction_id: str, *, frames: int, at_ms: int) -> None:
        """So many frames were not taken, because another socket had delivered them; told once a second at most."""


class Sockets(Protocol):
    """The connections to Genesys: they come back by themselves, and subscribe what is wanted."""

    def subscribe(self, subscriptions: Sequence[Subscription]) -> None:
        """Wants these from now on; one that is wanted already is replaced. Never waits."""

    def unsubscribe(self, interaction_ids: Sequence[str]) -> None:
        """Wants these no longer. Never waits."""

    async def run(self, intake: Intake) -> None:
        """Keeps the sockets until `stop`. Raises StartError for a permanent refusal before the first good start."""

    async def stop(self) -> None:
        """Closes the sockets with 1000, reading on until the close is answered (at most 2 s); `run` then returns."""

    def conditions(self) -> Sequence[Condition]:
        """What `/readyz` says of Genesys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableChange:
    """What the subscription topic said, for the partitions that this replica owns.

    `owned` is every partition that it owns now. `records` are new ones in the order of each partition, tombstones
    among them. `loaded` are partitions that were gained, with all their records up to the end as it was when they were
    gained in `records` of this change or earlier ones.
    """

    owned: frozenset[int]
    records: Sequence[Record]
    loaded: frozenset[int]


class SubscriptionTable(Protocol):
    """`interaction-subscriptions` as a table that replicas share as a consumer group."""

    async def changes(self) -> TableChange | None:
        """Waits for the next change; None once `stop` was called."""

    def fault(self) -> str:
        """Why it cannot be read, from a try that failed to the next one that does not; empty while it can."""

    async def stop(self) -> None:
        """Leaves the group."""


class Writer(Protocol):
    """Writes batches, idempotently, each partition in order."""

    async def write(self, topic: str, partition: int, records: Sequence[NewRecord]) -> int:
        """Writes a prefix of `records` (at least one) as one batch and returns how many, once the brokers have it.

        A broker that is away is waited for without end, in order and without duplicates. One call at a time for each
        topic and partition.
        """


class LagProbe(Protocol):
    """How far the ranker is behind, or whichever group counts."""

    async def sample(self) -> Lag | None:
        """What of `raw-suggestions` the group has not committed; None where nobody knows."""


class Tails(Protocol):
    """The ends of the partitions of `raw-suggestions`."""

    async def last_ms(self, partitions: Collection[int]) -> Mapping[int, int]:
        """The time of the last record of each of these partitions, epoch milliseconds.

        Those that have none, or of which nobody knows, are left out. Waits for a few seconds at most.
        """
