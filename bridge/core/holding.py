"""The bounded buffer between socket and writer: what was read and is not acknowledged yet."""

from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Mapping, Sequence
from heapq import heappop, heappush

from bridge.core.records import NewRecord

Lane = tuple[str, int]
_Sized = tuple[NewRecord, int]

# What a record takes in memory beside its own bytes: its objects, its place in a lane and in the order of shedding.
# Measured: 330 bytes, and 70 more while the buffer is full.
RECORD_BYTES = 400


class Holding:
    """Records in lanes by topic and partition, each first in, first out; counted until they are acknowledged.

    The records of the topic `sheds` are frames: beyond a bound the oldest list of an interaction that has a newer one
    goes first, then the oldest. All others (audit, dead letters) are never shed; their bytes count towards the same
    bound, so frames make room for them. What was taken for writing is never shed either, because it may be on the
    topic already. The bounds hold after each call, unless what may not be shed is more than that by itself.
    """

    def __init__(self, *, sheds: str, max_frames: int, max_bytes: int, record_bytes: int = RECORD_BYTES) -> None:
        self._sheds = sheds
        self._max_frames = max_frames
        self.max_bytes = max_bytes
        self._record_bytes = record_bytes
        self._lanes: dict[Lane, _Lane] = {}
        self._number = 0
        self._order: _Order | None = None
        self.frames = 0
        """Frames held, those being written included."""
        self.bytes = 0
        """Bytes held: as the callers of `put` counted them, and `record_bytes` for each record."""
        self.kept_bytes = 0
        """Bytes of the records that are never shed."""
        self.records = 0
        """Records held, frames and others."""

    def put(self, record: NewRecord, *, size: int) -> Sequence[NewRecord]:
        """Holds a record that takes `size` bytes; returns what had to be shed for it, oldest first, itself perhaps.

        The record names its partition; a frame has a key, its interaction.
        """
        lane = self._lane((record.topic, record.partition or 0))
        self._number += 1
        lane.waiting[self._number] = (record, size)
        lane.waiting_bytes += size
        self.bytes += size + self._record_bytes
        self.records += 1
        if not lane.may_shed:
            self.kept_bytes += size + self._record_bytes
        else:
            self.frames += 1
            if self._order is not None:
                self._order.add(self._number, lane, record.key)
        if self.bytes <= self.max_bytes and self.frames <= self._max_frames:
            return ()
        return self._shed()

    def take(self, lane_key: Lane, *, max_bytes: int) -> list[NewRecord]:
        """The oldest records of a lane that are not `done` yet, up to `max_bytes` of them but at least one."""
        lane = self._lanes[lane_key]
        taken = lane.take(max_bytes=max_bytes)
        if self._order is not None and lane.may_shed:
            for record, _ in taken:
                self._order.take(record.key)
        return [record for record, _ in lane.flying]

    def done(self, lane_key: Lane, count: int) -> None:
        """The first `count` of what was taken are acknowledged: they count no longer."""
        lane = self._lanes[lane_key]
        size = lane.done(count) + count * self._record_bytes
        self.bytes -= size
        self.records -= count
        if lane.may_shed:
            self.frames -= count
        else:
            self.kept_bytes -= size
        if self._order is not None and self._may_forget_order(self._order):
            self._order = None

    def left(self) -> Mapping[Lane, int]:
        """How many records each lane still holds; lanes without any are left out."""
        counts = {key: len(lane.waiting) + len(lane.flying) for key, lane in self._lanes.items()}
        return {key: count for key, count in counts.items() if count}

    def _lane(self, lane_key: Lane) -> "_Lane":
        lane = self._lanes.get(lane_key)
        if lane is None:
            lane = self._lanes[lane_key] = _Lane(may_shed=lane_key[0] == self._sheds)
        return lane

    def _shed(self) -> list[NewRecord]:
        if self._order is None:
            self._order = _Order(lane for lane in self._lanes.values() if lane.may_shed)
        shed = []
        while self.bytes > self.max_bytes or self.frames > self._max_frames:
            first = self._order.pop()
            if first is None:
                break
            number, lane = first
            record, size = lane.waiting.pop(number)
            lane.waiting_bytes -= size
            self.bytes -= size + self._record_bytes
            self.frames -= 1
            self.records -= 1
            shed.append(record)
        return shed

    def _may_forget_order(self, order: "_Order") -> bool:
        # It is made anew at the next shed, from everything held: so it goes only once half the room is free (that
        # many puts pay for making it), or when entries that were taken long ago make up most of it.
        is_half_free = self.frames * 2 <= self._max_frames and self.bytes * 2 <= self.max_bytes
        return is_half_free or len(order) > 2 * self.frames + 1_000


class _Lane:
    # What waits and what is flying is summed up, so that all of it is moved in one go: nearly always it fits.
    __slots__ = ("flying", "flying_bytes", "may_shed", "waiting", "waiting_bytes")

    def __init__(self, *, may_shed: bool) -> None:
        self.may_shed = may_shed
        # By number, in order: a plain dictionary slows down when it is emptied from the front.
        self.waiting: OrderedDict[int, _Sized] = OrderedDict()
        self.waiting_bytes = 0
        self.flying: list[_Sized] = []
        self.flying_bytes = 0

    def take(self, *, max_bytes: int) -> Sequence[_Sized]:
        if self.flying_bytes + self.waiting_bytes <= max_bytes:
            taken, size = list(self.waiting.values()), self.waiting_bytes
            self.waiting.clear()
        else:
            taken, size = self._take_some(max_bytes - self.flying_bytes)
        self.waiting_bytes -= size
        self.flying_bytes += size
        self.flying += taken
        return taken

    def done(self, count: int) -> int:
        size = self.flying_bytes if count == len(self.flying) else sum(size for _, size in self.flying[:count])
        del self.flying[:count]
        self.flying_bytes -= size
        return size

    def _take_some(self, room: int) -> tuple[list[_Sized], int]:
        taken: list[_Sized] = []
        total = 0
        while self.waiting:
            size = next(iter(self.waiting.values()))[1]
            if total + size > room and (taken or self.flying):
                break
            taken.append(self.waiting.popitem(last=False)[1])
            total += size
        return taken, total


_Entry = tuple[int, _Lane, bytes | None]


class _Order:
    """Which frame goes next. It is kept only while the buffer is full, so that it costs nothing otherwise.

    A frame is looked at once, from the oldest on: if its interaction has a newer one it goes, else it stays as the
    only one of its interaction until a newer one comes. Each call is O(1) amortised, O(log n) for those that wait as
    superseded.
    """

    def __init__(self, lanes: Iterable[_Lane]) -> None:
        held = [(number, lane, record.key) for lane in lanes for number, (record, _) in lane.waiting.items()]
        # Numbers are unique, so nothing else of an entry is ever compared, here and in the heap.
        self._coming = deque(sorted(held))
        self._counts = Counter(key for _, _, key in held)
        self._superseded: list[_Entry] = []
        self._only: OrderedDict[bytes | None, _Entry] = OrderedDict()

    def __len__(self) -> int:
        return len(self._coming) + len(self._superseded) + len(self._only)

    def add(self, number: int, lane: _Lane, key: bytes | None) -> None:
        self._counts[key] += 1
        self._coming.append((number, lane, key))
        only = self._only.pop(key, None)
        if only is not None:
            heappush(self._superseded, only)

    def take(self, key: bytes | None) -> None:
        self._counts[key] -= 1
        if not self._counts[key]:
            del self._counts[key]

    def pop(self) -> tuple[int, _Lane] | None:
        """The next frame to shed, by number and lane; None where no frame waits."""
        entry = self._next()
        if entry is None:
            return None
        number, lane, key = entry
        self.take(key)
        return number, lane

    def _next(self) -> _Entry | None:
        # All that wait as superseded or as the only one are older than all that are still coming.
        while self._superseded:
            entry = heappop(self._superseded)
            if _is_held(entry):
                return entry
        while self._coming:
            entry = self._coming.popleft()
            if not _is_held(entry):
                continue
            if self._counts[entry[2]] > 1:
                return entry
            self._only[entry[2]] = entry
        while self._only:
            entry = self._only.popitem(last=False)[1]
            if _is_held(entry):
                return entry
        return None


def _is_held(entry: _Entry) -> bool:
    # What was taken for writing in the meantime is still listed.
    return entry[0] in entry[1].waiting
