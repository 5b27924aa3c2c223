"""Several topics of one partition number -> runs of records, in the order of the records' own time."""

from collections.abc import Collection, Mapping, Sequence
from operator import attrgetter

from bridge.core.records import Record

# Topics whose order among each other does not matter may be so far ahead: that makes runs longer, and costs little.
_SLACK_MS = 1_000
_NEVER_MS = 2**63


class InStep:
    """Merges topics by the time of their records, so that what was made from a record is read soon after it.

    Of the topics `exact`, records are merged exactly: the older head first, of heads of the same time that of the topic
    that is named first. All others are about in step. What is held is what was fed and not yet handed out.
    """

    def __init__(self, starts: Mapping[str, int], *, exact: Collection[str]) -> None:
        """`starts` are the topics with the first offset that is read of each."""
        self._sides = [
            _Side(topic, rank=rank, is_exact=topic in exact, position=position)
            for rank, (topic, position) in enumerate(starts.items())
        ]
        self._by_topic = {side.topic: side for side in self._sides}
        self._waiting = list(self._sides)

    def feed(self, topic: str, records: Sequence[Record], *, position: int, is_over: bool) -> None:
        """Takes records of a topic that was wanting; `position` is the next offset to read, `is_over` the last word."""
        side = self._by_topic[topic]
        side.put(records, position=position)
        if records or is_over:
            self._waiting.remove(side)
        if is_over:
            side.is_over = True
            if not records:
                self._sides.remove(side)

    def wanting(self) -> list[str]:
        """The topics that must be fed before there is another run."""
        return [side.topic for side in self._waiting]

    def heads_ms(self) -> dict[str, int]:
        """When the next record of each topic was written, for those that have one."""
        return {side.topic: side.head_ms for side in self._sides if side.has_head}

    def position(self, topic: str) -> int:
        """The offset up to which all records of the topic were handed out."""
        return self._by_topic[topic].position

    def next_run(self) -> tuple[str, Sequence[Record]] | None:
        """The next records, all of one topic; None while a topic is wanting, and when all are over."""
        if self._waiting or not self._sides:
            return None
        first = min(self._sides, key=_head_ms)  # The first of equals, in the order in which the topics were named.
        limit_ms = _NEVER_MS
        for other in self._sides:
            if other is not first:
                limit_ms = min(limit_ms, other.limit_ms(first))
        run = first.cut(limit_ms)
        if not first.has_head and first.is_over:
            self._sides.remove(first)
        elif not first.has_head:
            self._waiting.append(first)
        return first.topic, run


_head_ms = attrgetter("head_ms")


class _Side:
    """One topic: what was fed of it, and how much of that was handed out."""

    __slots__ = ("_at", "_read_to", "_records", "head_ms", "is_exact", "is_over", "position", "rank", "topic")

    def __init__(self, topic: str, *, rank: int, is_exact: bool, position: int) -> None:
        self.topic = topic
        self.rank = rank
        self.is_exact = is_exact
        self.is_over = False
        self.head_ms = _NEVER_MS
        self.position = position
        self._read_to = position
        self._records: Sequence[Record] = ()
        self._at = 0

    @property
    def has_head(self) -> bool:
        return self._at < len(self._records)

    def put(self, records: Sequence[Record], *, position: int) -> None:
        self._records, self._at, self._read_to = records, 0, position
        self._look()

    def limit_ms(self, first: "_Side") -> int:
        """How young the records of `first` may be while this head waits."""
        if not (self.is_exact and first.is_exact):
            return self.head_ms + _SLACK_MS
        return self.head_ms if first.rank < self.rank else self.head_ms - 1

    def cut(self, limit_ms: int) -> Sequence[Record]:
        """The head, and what stands after it and is not younger than the limit."""
        records, start = self._records, self._at
        end = start + 1
        while end < len(records) and records[end].timestamp <= limit_ms:
            end += 1
        self._at = end
        self._look()
        return records if start == 0 and end == len(records) else records[start:end]

    def _look(self) -> None:
        if self.has_head:
            head = self._records[self._at]
            self.head_ms, self.position = head.timestamp, head.offset
        else:
            self.head_ms, self.position = _NEVER_MS, self._read_to
