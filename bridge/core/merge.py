"""Two topics -> one stream in the order in which the brokers took the records in."""

from collections import deque
from collections.abc import Iterable, Mapping

from bridge.core.records import Record


class Merge:
    """Merges two topics by log-append time; of records of the same time, those of the topic `first` come first.

    A record is released once no older one can come: when the other topic has a younger record waiting, or has been
    read to its end as it was when the record had been fetched. That end counts open transactions and what replicas do
    not have yet, because it was appended before. What is read from the topics alone decides the order, not when it was
    read.
    """

    def __init__(self, *, first: str, second: str) -> None:
        self._first = _Side(first)
        self._second = _Side(second)
        self._sides = {first: self._first, second: self._second}

    def add(self, records: Iterable[Record], *, positions: Mapping[str, int], ends: Mapping[str, int]) -> None:
        """Takes in what was read: each topic's records in the order of their offsets, and how far it has been read.

        `ends` are the topics' ends, sampled after these records were fetched.
        """
        for record in records:
            side = self._sides[record.topic]
            other = self._second if side is self._first else self._first
            side.waiting.append((record, ends.get(other.topic)))
        for topic, position in positions.items():
            self._sides[topic].position = position

    def pop(self) -> Record | None:
        """The next record in the order of time; None while an older one may still come."""
        first, second = self._first.waiting, self._second.waiting
        if first and second:
            is_first = first[0][0].timestamp <= second[0][0].timestamp
            return (first if is_first else second).popleft()[0]
        if first:
            return self._first.release_before(self._second)
        return self._second.release_before(self._first)

    @property
    def positions(self) -> dict[str, int]:
        """The next offset to read of each topic, once everything that was released is done."""
        positions = {}
        for topic, side in self._sides.items():
            position = side.waiting[0][0].offset if side.waiting else side.position
            if position is not None:
                positions[topic] = position
        return positions

    def topics_with_room(self, max_waiting: int) -> list[str]:
        """The topics of which fewer than `max_waiting` records wait; never none, once `pop` has returned None.

        A topic whose records come faster than the other's, in the records' own time, would else be held without bound.
        """
        return [topic for topic, side in self._sides.items() if len(side.waiting) < max_waiting]

    @property
    def waiting(self) -> int:
        """How many records wait."""
        return len(self._first.waiting) + len(self._second.waiting)


class _Side:
    """One topic: what waits, each with the other topic's end that must be read first, and how far it is read."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.waiting: deque[tuple[Record, int | None]] = deque()
        self.position: int | None = None

    def release_before(self, other: "_Side") -> Record | None:
        """The head, if `other`, of which nothing waits, has been read to the end that the head needs."""
        if not self.waiting:
            return None
        end = self.waiting[0][1]
        if end is None or other.position is None or other.position < end:
            return None
        return self.waiting.popleft()[0]
