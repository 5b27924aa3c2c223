"""Who owns what and how far it is: groups by partition, subscriptions, dead letters, processes, at one moment."""

from collections.abc import Mapping, Sequence

import msgspec

from bridge.core.topics import Topics


class PartitionStatus(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An input partition of a group: who owns it, where the group stands, how far that is from the end.

    `owner` is empty where nobody does. `position` is None where the group has none, `lag` too; `oldest_s` is the age of
    the oldest record that is not worked, None where nothing waits or nobody knows. The end is that of what the group
    can read: `hidden` records stand behind it (high watermark minus last stable offset) until a transaction ends.
    """

    topic: str
    partition: int
    owner: str
    position: int | None
    end: int
    lag: int | None
    oldest_s: float | None
    hidden: int


class GroupStatus(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A worker's group: Kafka's word for its state, its members, and its partitions."""

    worker: str
    group: str
    state: str
    members: int
    partitions: list[PartitionStatus]

    @property
    def lag(self) -> int | None:
        """Records that are not worked, None where any partition has no position."""
        lags = [one.lag for one in self.partitions if one.lag is not None]
        return sum(lags) if lags and len(lags) == len(self.partitions) else None

    @property
    def oldest_s(self) -> float | None:
        """The age of the oldest record that is not worked, None where nothing waits or nobody knows."""
        return max((one.oldest_s for one in self.partitions if one.oldest_s is not None), default=None)

    @property
    def hidden(self) -> int:
        """Records that nobody can read before a transaction ends; they are in no lag and have no age."""
        return sum(one.hidden for one in self.partitions)

    @property
    def unowned(self) -> int:
        """Partitions that nobody works."""
        return sum(not one.owner for one in self.partitions)


class LettersStatus(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Dead letters of one topic and class that were set aside lately."""

    topic: str
    dlq_class: str = msgspec.field(name="class")
    count: int


class ProcessStatus(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A process by its own word. `faults` is what `/readyz` says is not ready; None stands for what it did not tell."""

    url: str
    is_ready: bool
    faults: list[str]
    is_valve_closed: bool | None = None
    sockets: int | None = None
    subscriptions: int | None = None
    is_kmp_down: bool | None = None
    is_breaker_tripped: bool | None = None


class Status(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Everything there is to say. `subscriptions` are those on the topic that are alive.

    `letters_since_s` is how far back dead letters were looked for, `letters_counted` False where there were too many.
    """

    at: str
    groups: list[GroupStatus]
    subscriptions: int
    letters: list[LettersStatus]
    letters_since_s: float
    letters_counted: bool
    processes: list[ProcessStatus]


def inputs_of(topics: Topics) -> Mapping[str, Sequence[str]]:
    """The topics that each worker's group reads, in the order of the data."""
    return {
        "ingress": [topics.interaction_subscriptions],
        "ranker": [topics.raw_suggestions],
        "tally": [topics.ranked_suggestions, topics.suggestion_clicks],
        "exporter": [topics.acceptance_exports],
    }
