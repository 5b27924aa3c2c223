"""What was seen of each record of a topic: open until all that must be made of it is there, then forgotten."""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache

import msgspec

# The first bit of every ledger: the record itself is on its topic.
SOURCE = 1


class Equation(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the books, for one record: as many of the bits `left` as of the bits `right` are seen."""

    line: str
    left: int
    right: int

    def holds(self, seen: int) -> bool:
        """Whether both sides are even."""
        return (seen & self.left).bit_count() == (seen & self.right).bit_count()


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What makes a record done: all of the equations hold, and the bits `needed` are seen.

    `names` are the bits' names, in their order. `read` turns what was seen into what counts.
    """

    equations: tuple[Equation, ...]
    names: tuple[str, ...]
    needed: int
    read: Callable[[int], int] = int

    def lines_with(self, bits: int) -> list[str]:
        """The lines that any of the bits take part in."""
        return [one.line for one in self.equations if (one.left | one.right) & bits]

    def named(self, bits: int) -> str:
        """The names of the bits."""
        return ", ".join(name for at, name in enumerate(self.names) if bits >> at & 1 and name)


@cache
def complete_of(rules: Rules) -> frozenset[int]:
    """Everything that can be seen of a record that is done."""
    return frozenset(
        seen
        for seen in range(1 << len(rules.names))
        if seen & rules.needed == rules.needed and all(one.holds(rules.read(seen)) for one in rules.equations)
    )


class Ledger:
    """Keeps the records of which something is missing, by offset: a bit for each thing that was seen."""

    def __init__(self, rules: Rules, *, begin: int) -> None:
        self.begin = begin
        self._rules = rules
        self._complete = complete_of(rules)
        self._read_to = begin
        self._open: dict[int, int] = {}
        self._closed: Counter[int] = Counter()

    def __len__(self) -> int:
        return len(self._open)

    def source(self, offset: int) -> None:
        """The record itself was read; they come in the order of their offsets."""
        if offset >= self.begin:
            self._read_to = offset + 1
            self._keep(offset, self._open.get(offset, 0) | SOURCE)

    def note(self, offset: int, bits: int) -> bool:
        """Something was seen of the record at `offset`; False if that was seen before, or there is no such record."""
        seen = self._open.get(offset, 0)
        if seen & bits or not (seen or offset >= self._read_to):
            return False
        self._keep(offset, seen | bits)
        return True

    def seen(self, offset: int) -> int:
        """What was seen of a record that is not done; 0 of one that is."""
        return self._open.get(offset, 0)

    def is_open_before(self, offset: int) -> bool:
        """Whether anything below an offset is not done."""
        return any(one < offset for one in self._open)

    def left(self) -> Iterator[tuple[int, int]]:
        """The offsets that are not done, in their order, each with what was seen, as it counts."""
        return ((offset, self._rules.read(self._open[offset])) for offset in sorted(self._open))

    def sides(self, equation: Equation) -> tuple[int, int]:
        """How much was seen of both sides of an equation, of records that are done."""
        left = right = 0
        for seen, count in self._closed.items():
            counted = self._rules.read(seen)
            left += count * (counted & equation.left).bit_count()
            right += count * (counted & equation.right).bit_count()
        return left, right

    def _keep(self, offset: int, seen: int) -> None:
        if seen in self._complete:
            self._open.pop(offset, None)
            self._closed[seen] += 1
        else:
            self._open[offset] = seen
