"""The bounded buffer: order, counts, bounds, and what goes first."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import count

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from bridge.core.holding import Holding
from bridge.core.records import NewRecord

RAW = ("raw", 0)


def frame(interaction: str, text: str = "", *, partition: int = 0) -> NewRecord:
    return NewRecord(topic="raw", key=interaction.encode(), value=text.encode(), partition=partition)


def audit(text: str = "") -> NewRecord:
    return NewRecord(topic="audit", key=b"i", value=text.encode(), partition=0)


def holding(*, max_frames: int = 100, max_bytes: int = 1_000) -> Holding:
    return Holding(sheds="raw", max_frames=max_frames, max_bytes=max_bytes, record_bytes=0)


def put(held: Holding, *records: NewRecord, size: int = 10) -> list[str]:
    """Puts the records; returns what was shed, by text."""
    return texts([shed for record in records for shed in held.put(record, size=size)])


def texts(records: Sequence[NewRecord]) -> list[str]:
    return [(record.value or b"").decode() for record in records]


def test_a_lane_is_first_in_first_out() -> None:
    held = holding()
    put(held, frame("a", "1"), frame("b", "2"), frame("a", "3"), frame("c", "other lane", partition=1))
    assert texts(held.take(RAW, max_bytes=1_000)) == ["1", "2", "3"]


def test_takes_what_fits_but_at_least_one() -> None:
    held = holding()
    put(held, frame("a", "1"), frame("a", "2"), frame("a", "3"))
    assert texts(held.take(RAW, max_bytes=5)) == ["1"]
    assert texts(held.take(RAW, max_bytes=25)) == ["1", "2"]


def test_what_is_not_done_comes_first_again() -> None:
    held = holding()
    put(held, frame("a", "1"), frame("a", "2"), frame("a", "3"))
    held.take(RAW, max_bytes=20)
    held.done(RAW, 1)
    assert texts(held.take(RAW, max_bytes=1_000)) == ["2", "3"]


def test_what_a_record_keeps_beside_its_bytes_counts_too() -> None:
    held = Holding(sheds="raw", max_frames=100, max_bytes=1_000, record_bytes=400)
    assert held.put(audit("0"), size=10) == ()
    assert held.put(frame("a", "1"), size=100) == ()
    assert (held.bytes, held.kept_bytes) == (910, 410)
    assert texts(held.put(frame("a", "2"), size=100)) == ["1"]
    assert held.bytes == 910
    held.take(RAW, max_bytes=1_000)
    held.done(RAW, 1)
    assert (held.bytes, held.kept_bytes) == (410, 410)


def test_what_is_being_written_counts_until_it_is_acknowledged() -> None:
    held = holding()
    put(held, frame("a", "1"), frame("a", "2"), audit("3"))
    held.take(RAW, max_bytes=1_000)
    assert (held.frames, held.records, held.bytes, held.kept_bytes) == (2, 3, 30, 10)
    held.done(RAW, 2)
    assert (held.frames, held.records, held.bytes, held.kept_bytes) == (0, 1, 10, 10)
    assert held.left() == {("audit", 0): 1}
    held.take(("audit", 0), max_bytes=1)
    held.done(("audit", 0), 1)
    assert (held.records, held.bytes, held.kept_bytes) == (0, 0, 0)
    assert held.left() == {}


def test_the_oldest_list_that_has_a_newer_one_goes_first() -> None:
    held = holding(max_frames=4)
    put(held, frame("lone", "1"), frame("a", "2"), frame("b", "3"), frame("b", "4"))
    assert put(held, frame("a", "5")) == ["2"]
    assert put(held, frame("c", "6")) == ["3"]
    assert put(held, frame("lone", "7")) == ["1"]


def test_then_the_oldest() -> None:
    held = holding(max_frames=2)
    assert put(held, frame("a", "1"), frame("b", "2"), frame("c", "3"), frame("d", "4")) == ["1", "2"]
    assert texts(held.take(RAW, max_bytes=1_000)) == ["3", "4"]


def test_one_that_stayed_as_the_only_one_goes_once_a_newer_one_comes() -> None:
    held = holding(max_frames=2)
    put(held, frame("a", "1"), frame("b", "2"))
    assert put(held, frame("b", "3")) == ["2"]  # "1" was passed over.
    assert put(held, frame("a", "4")) == ["1"]


def test_bytes_are_a_bound_too() -> None:
    held = holding(max_bytes=30)
    assert put(held, frame("a", "1"), frame("b", "2"), frame("b", "3")) == []
    assert held.put(frame("c", "4"), size=25) == [
        frame("b", "2"),
        frame("a", "1"),
        frame("b", "3"),
    ]


def test_a_frame_larger_than_the_buffer_goes_at_once() -> None:
    held = holding(max_bytes=30)
    assert texts(held.put(frame("a", "1"), size=31)) == ["1"]
    assert (held.frames, held.bytes) == (0, 0)


def test_what_is_being_written_is_never_shed() -> None:
    held = holding(max_frames=2)
    put(held, frame("a", "1"), frame("a", "2"))
    held.take(RAW, max_bytes=1_000)
    assert put(held, frame("a", "3")) == ["3"]
    assert texts(held.take(RAW, max_bytes=1_000)) == ["1", "2"]


def test_frames_make_room_for_what_is_never_shed() -> None:
    held = holding(max_bytes=30)
    put(held, frame("a", "1"), frame("b", "2"))
    assert put(held, audit(), audit()) == ["1"]
    assert put(held, audit(), audit()) == ["2"]
    assert (held.frames, held.bytes, held.kept_bytes) == (0, 40, 40)


def test_what_was_written_meanwhile_is_not_taken_for_the_older_one() -> None:
    held = holding(max_frames=4)
    put(held, frame("a", "1"), frame("b", "2"), frame("c", "3"), frame("d", "4"))
    assert put(held, frame("e", "5")) == ["1"]
    held.take(RAW, max_bytes=20)  # "2" and "3" go to be written.
    assert put(held, frame("b", "6")) == ["4"]  # "2" is out of reach, so nothing is superseded.
    held.done(RAW, 2)
    assert put(held, frame("b", "7"), frame("f", "8"), frame("g", "9")) == ["6"]


def test_half_empty_it_forgets_the_order_and_makes_it_anew() -> None:
    held = holding(max_frames=2)
    put(held, frame("a", "1"), frame("b", "2"), frame("c", "3"))
    held.take(RAW, max_bytes=1_000)
    held.done(RAW, 2)
    assert put(held, frame("a", "4"), frame("a", "5"), frame("b", "6")) == ["4"]


def test_the_order_does_not_grow_with_what_passes_through() -> None:
    held = holding(max_frames=10)
    put(held, *(frame(f"{number}") for number in range(11)))
    for number in range(5_000):
        held.take(RAW, max_bytes=10)
        held.done(RAW, 1)
        put(held, frame(f"i{number % 50}"))
    assert held._order is None or len(held._order) < 1_100
    assert held.frames == 10


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 40)), max_size=80), st.integers(1, 12), st.integers(1, 200))
def test_keeps_the_newest_of_each_interaction_before_anything_older(
    puts: list[tuple[int, int]], max_frames: int, max_bytes: int
) -> None:
    held = holding(max_frames=max_frames, max_bytes=max_bytes)
    alive = dict[str, int]()  # The frames held by text, and their interactions, in order.
    for number, (interaction, size) in enumerate(puts):
        alive[str(number)] = interaction
        for shed in texts(held.put(frame(f"{interaction}", f"{number}"), size=size)):
            counts = Counter(alive.values())
            superseded = [text for text, one in alive.items() if counts[one] > 1 and _has_newer(text, alive)]
            assert shed == (superseded[0] if superseded else next(iter(alive)))
            del alive[shed]
    assert texts(held.take(RAW, max_bytes=10_000) if puts else []) == list(alive)


def _has_newer(text: str, alive: dict[str, int]) -> bool:
    return any(int(other) > int(text) and alive[other] == alive[text] for other in alive)


class AnyUse(RuleBasedStateMachine):
    """Any order of calls: the bounds hold, counts are right, every lane keeps its order, nothing is lost untold."""

    def __init__(self) -> None:
        super().__init__()
        self.held = holding(max_frames=8, max_bytes=120)
        self.numbers = count()
        self.put_in: dict[tuple[str, int], list[str]] = defaultdict(list)
        self.flying: dict[tuple[str, int], list[str]] = defaultdict(list)
        self.out: dict[tuple[str, int], list[str]] = defaultdict(list)
        self.sizes: dict[str, int] = {}

    @rule(interaction=st.integers(0, 3), partition=st.integers(0, 1), size=st.integers(1, 60))
    def put_frame(self, interaction: int, partition: int, size: int) -> None:
        self._put(frame(f"{interaction}", f"{next(self.numbers)}", partition=partition), size)

    @rule(size=st.integers(1, 20))
    def put_audit(self, size: int) -> None:
        self._put(audit(f"{next(self.numbers)}"), size)

    def _put(self, record: NewRecord, size: int) -> None:
        text = texts([record])[0]
        self.put_in[record.topic, record.partition or 0].append(text)
        self.sizes[text] = size
        for shed in self.held.put(record, size=size):
            assert shed.topic == "raw"
            (shed_text,) = texts([shed])
            assert shed_text not in self.flying["raw", shed.partition or 0]
            self.put_in["raw", shed.partition or 0].remove(shed_text)
            del self.sizes[shed_text]

    @rule(lane=st.sampled_from([("raw", 0), ("raw", 1), ("audit", 0)]), max_bytes=st.integers(1, 200))
    def take(self, lane: tuple[str, int], max_bytes: int) -> None:
        if self.put_in[lane] or self.out[lane]:
            taken = texts(self.held.take(lane, max_bytes=max_bytes))
            assert taken == self.put_in[lane][: len(taken)]
            assert taken or not self.put_in[lane]
            self.flying[lane] = taken

    @rule(lane=st.sampled_from([("raw", 0), ("raw", 1), ("audit", 0)]), share=st.floats(0, 1))
    def done(self, lane: tuple[str, int], share: float) -> None:
        acknowledged = round(len(self.flying[lane]) * share)
        if acknowledged:
            self.held.done(lane, acknowledged)
            for text in self.flying[lane][:acknowledged]:
                self.put_in[lane].remove(text)
                self.out[lane].append(text)
                del self.sizes[text]
            self.flying[lane] = self.flying[lane][acknowledged:]

    @invariant()
    def counts_are_right(self) -> None:
        frames = [text for lane, held in self.put_in.items() if lane[0] == "raw" for text in held]
        assert self.held.frames == len(frames)
        assert self.held.records == len(self.sizes)
        assert self.held.bytes == sum(self.sizes.values())
        assert self.held.kept_bytes == sum(self.sizes[text] for text in self.put_in["audit", 0])

    @invariant()
    def bounds_hold(self) -> None:
        unsheddable = [*self.flying["raw", 0], *self.flying["raw", 1]]
        assert self.held.frames <= max(8, len(unsheddable))
        kept = self.held.kept_bytes + sum(self.sizes[text] for text in unsheddable)
        assert self.held.bytes <= max(120, kept)


TestAnyUse = AnyUse.TestCase
