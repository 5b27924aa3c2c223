"""OffsetLedger: what is finished out of order is released in order, so that no position passes unfinished work."""

from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Generic[_Result]):
    """What is finished with everything before it: the results in the order of their offsets, and the position after."""

    results: tuple[_Result, ...]
    position: int


class OffsetLedger(Generic[_Result]):
    """The records of one partition from the moment they are taken until they may be committed."""

    def __init__(self) -> None:
        # In the order of their offsets: everything taken that was not released, finished or not.
        self._taken: deque[int] = deque()
        self._unfinished: set[int] = set()
        self._results: dict[int, _Result] = {}
        self._read_to: int | None = None
        self._released_to: int | None = None

    def __len__(self) -> int:
        """How many records are taken and not yet released."""
        return len(self._taken)

    def take(self, offset: int) -> None:
        """Notes a record that is to be worked. Offsets only grow; they may have holes. Raises ValueError if not."""
        if self._read_to is not None and offset < self._read_to:
            raise ValueError(f"offset {offset} after position {self._read_to}")
        self._taken.append(offset)
        self._unfinished.add(offset)
        self._read_to = offset + 1

    def read_to(self, position: int) -> None:
        """Notes that everything before `position` has been taken: what was not is a hole (a transaction marker)."""
        self._read_to = max(position, self._read_to or 0)

    def finish(self, offset: int, result: _Result) -> None:
        """Notes that the record is done. Raises ValueError if it was not taken, or is finished already."""
        if offset not in self._unfinished:
            raise ValueError(f"offset {offset} is not open")
        self._unfinished.remove(offset)
        self._results[offset] = result

    def release(self) -> Run[_Result] | None:
        """Takes the unbroken run off the ledger; None where nothing is new since the last one.

        Its position is the first record that is not finished; where all are, it is how far was read, so that a
        partition at rest has no lag in spite of the holes at its end.
        """
        results = []
        while self._taken and self._taken[0] in self._results:
            results.append(self._results.pop(self._taken.popleft()))
        position = self._taken[0] if self._taken else self._read_to
        if position is None or not (results or self._has_moved_at_rest(position)):
            return None
        self._released_to = position
        return Run(results=tuple(results), position=position)

    def _has_moved_at_rest(self, position: int) -> bool:
        # While something is open, a hole before it alone is not worth a transaction.
        return not self._taken and position != self._released_to
