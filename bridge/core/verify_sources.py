"""The records of one topic as the books see them: what was made of each, and the words for what is wrong with one."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar

from bridge.core.records import Record
from bridge.core.replay import Offsets, Span
from bridge.core.verify_findings import Findings
from bridge.core.verify_ledger import SOURCE, Ledger, Rules, complete_of
from bridge.core.verify_scope import MARGIN_MS, Scope

_L = TypeVar("_L")
_R = TypeVar("_R")


class Sources:
    """What was made of the records of one topic; a ledger that names offenders."""

    def __init__(self, scope: Scope, topic: str, rules: Rules, findings: Findings, *, verdicts: int = 0) -> None:
        """`verdicts` are the bits of the rules that are not found on a topic."""
        self.topic = topic
        self._number = scope.number
        self._rules = rules
        self._findings = findings
        self._verdicts = verdicts
        self._due_before = scope.due_before.get(topic, 0)
        self._proven_from_ms = scope.proven_from_ms.get(topic, 0)
        self._proven_from = scope.begins[topic]
        self._place = f"{topic}/{scope.number}".encode()
        self.ledger = Ledger(rules, begin=scope.begins[topic])
        self.lost: list[tuple[int, int]] = []
        self._passed_ms: int | None = None

    def take(self, records: Sequence[Record]) -> None:
        """The records themselves."""
        for record in records:
            self.ledger.source(record.offset)
        if records[0].timestamp < self._proven_from_ms:
            old = [record.offset for record in records if record.timestamp < self._proven_from_ms]
            self._proven_from = max(self._proven_from, old[-1] + 1)

    def note(self, record: Record, source: bytes | None, bits: int) -> int | None:
        """The offset of the record that `record` was made of, as `source` (topic/partition/offset) says.

        None where that is before the range, or where it names an offender: a second one, or one that stands elsewhere.
        """
        place, _, spelled = (source or b"").rpartition(b"/")
        if place != self._place or not spelled.isdigit():
            self._offend(record, bits, f"it is {self._rules.named(bits)} of a record that is not of this partition")
            return None
        offset = int(spelled)
        if offset < self.ledger.begin:
            return None
        if self._passed_ms is None and offset >= self._due_before:
            self._passed_ms = record.timestamp
        if self.ledger.note(offset, bits):
            return offset
        what = f"it is a second {self._rules.named(bits)} of {self.topic}/{self._number}/{offset}, or that is no record"
        self._offend(record, bits, what)
        return None

    def is_open(self, *, now_ms: int) -> bool:
        """Whether anything is missing that should be there and can still come, all topics being read to this time.

        A hop works in order: what was made of younger records shows that nothing more will be made of older ones.
        """
        is_passed = self._passed_ms is not None and now_ms > self._passed_ms + MARGIN_MS
        return not is_passed and self.ledger.is_open_before(self._due_before)

    def finish(self) -> None:
        """Counts both sides of each line, and names what is not even."""
        for equation in self._rules.equations:
            left, right = self.ledger.sides(equation)
            self._findings.count(equation.line, left=left, right=right)
        for offset, seen in self.ledger.left():
            for equation in self._rules.equations:
                left, right = (seen & equation.left).bit_count(), (seen & equation.right).bit_count()
                self._findings.count(equation.line, left=left, right=right)
            self._judge(offset, seen)

    def _judge(self, offset: int, seen: int) -> None:
        lines = [equation.line for equation in self._rules.equations if not equation.holds(seen)]
        if offset >= self._due_before:
            self._count(lines, "open")
        elif offset < self._proven_from or any(start <= offset < end for start, end in self.lost):
            self._count(lines, "unproven")
        else:
            self._findings.offend(
                *(lines or self._rules.lines_with(SOURCE)),
                topic=self.topic,
                partition=self._number,
                offset=offset,
                what=self._what(seen),
            )

    def _count(self, lines: Sequence[str], field: str) -> None:
        for line in lines:
            self._findings.count(line, **{field: 1})

    def _offend(self, record: Record, bits: int, what: str) -> None:
        self._findings.offend(
            *self._rules.lines_with(bits),
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            what=what,
        )

    def _what(self, seen: int) -> str:
        made = seen & ~SOURCE & ~self._verdicts
        if not seen & SOURCE:
            return f"{self._rules.names[0]} is not there, but {self._rules.named(made)} of it is"
        if not made:
            return "nothing was made of it"
        nearest = min(complete_of(self._rules), key=lambda one: (one ^ seen).bit_count())
        missing, more = self._rules.named(nearest & ~seen), self._rules.named(seen & ~nearest)
        there = f"there is {self._rules.named(made)} of it"
        return f"{there}, but no {missing}" if missing else f"{there}: {more} is too much"


class Pairs(Generic[_L, _R]):
    """Two things that are told of one record; `compare` is called with its offset once both are there."""

    def __init__(self, compare: Callable[[int, _L, _R], None]) -> None:
        self._compare = compare
        self._lefts: dict[int, _L] = {}
        self._rights: dict[int, _R] = {}

    def left(self, offset: int, left: _L) -> None:
        """The one thing."""
        right = self._rights.pop(offset, None) if self._rights else None
        if right is None:
            self._lefts[offset] = left
        else:
            self._compare(offset, left, right)

    def right(self, offset: int, right: _R) -> None:
        """The other thing."""
        left = self._lefts.pop(offset, None)
        if left is None:
            self._rights[offset] = right
        else:
            self._compare(offset, left, right)

    def has_left(self, offset: int) -> bool:
        """Whether the other thing is waited for."""
        return offset in self._lefts

    def drop(self, offset: int) -> None:
        """There is no other thing."""
        self._lefts.pop(offset, None)
        self._rights.pop(offset, None)


class Order:
    """Whether what was made for each interaction stands in the order of the records that it was made of."""

    def __init__(self, line: str, findings: Findings) -> None:
        self._line = line
        self._findings = findings
        self._last: dict[bytes | None, int] = {}
        self._count = 0
        self._wrong = 0

    def __len__(self) -> int:
        return len(self._last)

    def check(self, record: Record, offset: int) -> None:
        """Takes the next record, made of the one at `offset`; names it where one made of a younger one came before."""
        self._count += 1
        if offset > self._last.get(record.key, -1):
            self._last[record.key] = offset
            return
        self._wrong += 1
        what = f"what was made of offset {self._last[record.key]}, of the same interaction, stands before it"
        self._findings.tell(self._line, record, what)

    def finish(self) -> None:
        """Counts both sides: what was checked, and what stands in order."""
        self._findings.count(self._line, left=self._count, right=self._count - self._wrong)


def letters_in(records: Iterable[Record]) -> Iterator[tuple[Record, bytes, bytes]]:
    """The dead letters among these, each with its class and where its record had stood: topic/partition/offset.

    The notes of replays stand on the same topics.
    """
    for record in records:
        headers = dict(record.headers)
        dlq_class = headers.get("x-dlq-class")
        if dlq_class is not None:
            names = ("topic", "partition", "offset")
            yield record, dlq_class, b"/".join(headers.get(f"__connect.errors.{name}") or b"" for name in names)


class DeadInputs:
    """Where the records of a number had stood that were set aside, from their dead letters."""

    def __init__(self, *, number: int) -> None:
        self._number = b"%d" % number
        self._spans: dict[str, list[Span]] = {}

    def take(self, letters: Iterable[Record]) -> None:
        """Takes the next records of the dead-letter topic."""
        for _, _, origin in letters_in(letters):
            topic, partition, offset = origin.split(b"/", 2)
            if partition == self._number and offset.isdigit():
                self._add(self._spans.setdefault(topic.decode(errors="replace"), []), int(offset))

    def by_topic(self) -> Mapping[str, Offsets]:
        """The offsets, by the topic that they are of."""
        return {topic: Offsets(spans) for topic, spans in self._spans.items()}

    def _add(self, spans: list[Span], offset: int) -> None:
        # A bad release sets aside one after the other: these do not take a span each.
        if spans and offset == spans[-1][1] + 1:
            spans[-1] = (spans[-1][0], offset)
        else:
            spans.append((offset, offset))
