"""The dead-letter budget: how much of a topic may be set aside before it looks like our own fault."""

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from bridge.core.options import Within

Rule = Literal["consecutive", "ratio"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The section `dlq`."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    # Of two kinds of agent UI one may be broken, and the clicks of the other must go on. More than that is our fault.
    max_ratio: Annotated[float, Within(0.001, 1)] = 0.5
    # 20 seconds of a partition of a busy tenant (500 records/s on 12): one conversation is no verdict.
    window_records: Annotated[int, Within(10, 1_000_000)] = 1_000
    # With every second record dead by chance, a run of 100 comes once in 10^30 records.
    max_consecutive: Annotated[int, Within(1, 1_000_000_000)] = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrun:
    """The first record that is one dead letter too many, and the rule that says so."""

    topic: str
    offset: int
    rule: Rule


class _Count:
    """What has been made of the records of one topic so far."""

    def __init__(self) -> None:
        self.spent_at: int | None = None
        self._seen = 0
        self._run = 0
        # When each dead letter of the window came, counted in records.
        self._dead: deque[int] = deque()

    def copy(self) -> "_Count":
        other = _Count()
        other.spent_at, other._seen, other._run, other._dead = self.spent_at, self._seen, self._run, self._dead.copy()
        return other

    def add_good(self, records: int, *, window: int) -> None:
        if not records:
            return  # Nothing of this topic was worked: that makes nothing good.
        self._seen += records
        self._run = 0
        self._slide(window)

    def add_dead(self, options: Options) -> Rule | None:
        self._seen += 1
        self._run += 1
        self._dead.append(self._seen)
        self._slide(options.window_records)
        if self._run > options.max_consecutive:
            return "consecutive"
        if len(self._dead) > options.max_ratio * options.window_records:
            return "ratio"
        return None

    def pass_by(self, offset: int, *, is_dead: bool) -> None:
        """The record that was too much has been committed; one that can be used is a new beginning."""
        if self.spent_at is not None and offset >= self.spent_at:
            self.spent_at = None
            if not is_dead:
                self._forget()

    def begin_anew(self, position: int) -> None:
        """Somebody else has worked up to this position."""
        if self.spent_at is None or position > self.spent_at:
            self.spent_at = None
            self._forget()

    def _forget(self) -> None:
        self._run = 0
        self._dead.clear()

    def _slide(self, window: int) -> None:
        while self._dead and self._dead[0] <= self._seen - window:
            self._dead.popleft()


Charge = Mapping[str, _Count]
"""What a budget will be once a batch is committed."""


class Budget:
    """The dead letters of one partition number, topic by topic: of the last records, and in a row.

    A batch that would pass a limit is not to be committed. The budget is then spent, and stays so until the record at
    which it happened can be used: what came before that record never makes it whole.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._counts: dict[str, _Count] = {}
        self._positions: dict[str, int] = {}
        self.reason = ""
        """Why it is spent, in words; empty while it is not."""

    @property
    def is_spent(self) -> bool:
        """True from an overrun until its record was committed."""
        return bool(self.reason)

    def charge(self, offsets: Mapping[str, Sequence[int]], dead: Mapping[str, Mapping[int, str]]) -> Charge | Overrun:
        """What would be left after a batch with these records (in the order of their offsets), by topic.

        `dead` are those of them that became dead letters, each with its reason. Nothing is taken until `adopt`; an
        Overrun spends the budget at once.
        """
        after = {}
        for topic, ours in offsets.items():
            count = self._counts.get(topic, _Count())
            count = after[topic] = count.copy()
            reasons = dead.get(topic, {})
            found = self._count(count, ours, reasons)
            if found is not None:
                offset, rule = found
                self._counts.setdefault(topic, _Count()).spent_at = offset
                self.reason = self._told(topic, offset, rule, reasons[offset])
                return Overrun(topic=topic, offset=offset, rule=rule)
        return after

    def adopt(self, charge: Charge, positions: Mapping[str, int]) -> None:
        """The batch is committed, up to these positions."""
        self._counts |= charge
        self._positions |= positions
        self._look_whether_spent()

    def begin_at(self, positions: Mapping[str, int]) -> None:
        """Records are worked from these positions on.

        Where another process has worked since, what was in a row here is in a row no more, and it may have used the
        record that was too much.
        """
        for topic, count in self._counts.items():
            position = positions.get(topic, 0)
            if position > self._positions.get(topic, position):
                count.begin_anew(position)
        self._positions = dict(positions)
        self._look_whether_spent()

    def _look_whether_spent(self) -> None:
        if all(count.spent_at is None for count in self._counts.values()):
            self.reason = ""

    def _count(self, count: _Count, offsets: Sequence[int], dead: Collection[int]) -> tuple[int, Rule] | None:
        if not dead and count.spent_at is None:
            # Nearly all batches are of this kind.
            count.add_good(len(offsets), window=self._options.window_records)
            return None
        for offset in offsets:
            is_dead = offset in dead
            rule = count.add_dead(self._options) if is_dead else None
            if rule is not None:
                return offset, rule
            if not is_dead:
                count.add_good(1, window=self._options.window_records)
            count.pass_by(offset, is_dead=is_dead)
        return None

    def _told(self, topic: str, offset: int, rule: Rule, reason: str) -> str:
        options = self._options
        if rule == "consecutive":
            much, option = f"more than {options.max_consecutive} records of {topic} in a row", "max_consecutive"
        else:
            much = f"more than {options.max_ratio:.0%} of the last {options.window_records} records of {topic}"
            option = "max_ratio"
        return (
            f"{much} cannot be used, the last one at offset {offset} ({reason}): they stay on the topic until they can "
            f"be, or until dlq.{option} allows more"
        )
