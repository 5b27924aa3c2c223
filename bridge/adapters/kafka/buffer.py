"""What was read of one topic of a number and is not yet taken."""

from collections import deque
from collections.abc import Sequence

from bridge.core.records import Record

# How much is read ahead of the hop of each topic, give or take what one poll brings.
_MAX_BUFFERED_RECORDS = 1_000
_MAX_BUFFERED_BYTES = 8 * 1024 * 1024


class Buffer:
    """The records that wait, and how far was read.

    Where a hop reads several topics, no record may be taken before the topics' ends have been sampled, after it was
    fetched: until then it is arriving.
    """

    def __init__(self, position: int) -> None:
        self.read_to = position
        self.told = position
        self.records = 0
        self._bytes = 0
        self._arriving: deque[Record] = deque()
        self._waiting: deque[Record] = deque()

    def put(self, records: Sequence[Record]) -> None:
        if not records:
            return
        self._arriving.extend(records)
        # Not left to whoever asks for the position next: until then these records could be taken, but not committed.
        self.read_to = records[-1].offset + 1
        self.records += len(records)
        self._bytes += sum(len(record.value or b"") for record in records)

    def release(self) -> None:
        """What has arrived may be taken now."""
        self._waiting.extend(self._arriving)
        self._arriving.clear()

    def take(self, max_records: int) -> list[Record]:
        taken = [self._waiting.popleft() for _ in range(min(max_records, len(self._waiting)))]
        self.records -= len(taken)
        self._bytes -= sum(len(record.value or b"") for record in taken)
        self.told = self.position
        return taken

    @property
    def position(self) -> int:
        """The next offset to read, once everything that was taken is done."""
        for records in (self._waiting, self._arriving):
            if records:
                return records[0].offset
        return self.read_to

    @property
    def has_news(self) -> bool:
        return bool(self._waiting) or self.position != self.told

    @property
    def has_arriving(self) -> bool:
        return bool(self._arriving)

    @property
    def is_full(self) -> bool:
        return self.records > _MAX_BUFFERED_RECORDS or self._bytes > _MAX_BUFFERED_BYTES
