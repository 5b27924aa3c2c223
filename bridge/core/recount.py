"""The acceptances counted again for the demo's books, from lists and clicks alone: what the tally must come to."""

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bridge.core.acceptance import CLICKS_KEPT, LISTS_KEPT, REPEAT_WITHIN_MS, identity_of_click
from bridge.core.errors import MalformedError
from bridge.core.partitions import partition_of
from bridge.core.ranking import decode_ranked
from bridge.core.records import X_SOURCE, Record, header_of, identity_of, source_of
from bridge.core.topics import Topics
from bridge.core.values import Click, decode_click


@dataclass(frozen=True, slots=True)
class CountedClick:
    """A click that counts: where it stands, and the acceptance rate of its interaction with it."""

    position: str
    interaction_id: str
    rate: float


@dataclass(frozen=True, slots=True)
class Recount:
    """A recount, from the lists and the clicks alone."""

    retrieved: Mapping[str, int]
    accepted: Mapping[str, int]
    clicks: Sequence[CountedClick]
    moved_from: Mapping[str, str]

    def as_sent(self, position: str) -> str:
        """Where a click that was moved to its own partition had been sent to."""
        return self.moved_from.get(position, position)

    def acceptances(self) -> Iterator[str]:
        for interaction_id in self.retrieved.keys() | self.accepted.keys():
            retrieved, accepted = self.retrieved.get(interaction_id, 0), self.accepted.get(interaction_id, 0)
            yield spell(interaction_id, retrieved, accepted, _rate(accepted, retrieved))

    def rates(self) -> Iterator[str]:
        for click in self.clicks:
            yield f"{click.position}: {click.interaction_id} at {click.rate!r}"


def recount(lists: Sequence[Record], clicks: Sequence[Record], *, topics: Topics) -> Recount:
    """Counts again by the rule: in the order of log-append time, a list before a click of the same time.

    What makes a list or a click a repeat is remembered for as many of an interaction as the contract says.
    """
    retrieved, accepted = Counter[str](), Counter[str]()
    counted: list[CountedClick] = []
    seen_lists: dict[str, OrderedDict[bytes, int]] = {}
    seen_clicks: dict[str, deque[str]] = {}
    for record in sorted([*lists, *clicks], key=_by_time(topics.suggestion_clicks)):
        if record.topic == topics.ranked_suggestions:
            interaction_id = _interaction_of_list(record)
            if interaction_id is not None and _is_new_list(
                record, seen_lists.setdefault(interaction_id, OrderedDict())
            ):
                retrieved[interaction_id] += 1
            continue
        click = _click(record, partitions=topics.partitions)
        if click is None:
            continue
        seen, identity = seen_clicks.setdefault(click.interaction_id, deque()), identity_of_click(click, record)
        if identity in seen:
            continue
        seen.append(identity)
        if len(seen) > CLICKS_KEPT:
            seen.popleft()
        accepted[click.interaction_id] += 1
        rate = _rate(accepted[click.interaction_id], retrieved[click.interaction_id])
        counted.append(CountedClick(source_of(record), click.interaction_id, rate))
    moved_from = {source_of(click): x_source for click in clicks if (x_source := _moved_from(click)) is not None}
    return Recount(retrieved, accepted, counted, moved_from)


def _interaction_of_list(record: Record) -> str | None:
    try:
        return decode_ranked(record).interaction_id
    except MalformedError:  # The tally set it aside.
        return None


def _is_new_list(record: Record, seen: OrderedDict[bytes, int]) -> bool:
    """Whether no list of that identity was counted in the last 30 s, among the last ones that were; notes it then."""
    identity = identity_of(record)
    counted_at_ms = seen.get(identity)
    if counted_at_ms is not None and record.timestamp - counted_at_ms <= REPEAT_WITHIN_MS:
        return False
    seen[identity] = record.timestamp
    seen.move_to_end(identity)
    if len(seen) > LISTS_KEPT:
        seen.popitem(last=False)
    return True


def _by_time(clicks_topic: str) -> Callable[[Record], tuple[int, int, bool, int]]:
    return lambda record: (record.partition, record.timestamp, record.topic == clicks_topic, record.offset)


def _click(record: Record, *, partitions: int) -> Click | None:
    try:
        click = decode_click(record)
    except MalformedError:
        return None
    return click if partition_of(record.key or b"", partitions) == record.partition else None


def _moved_from(click: Record) -> str | None:
    source = header_of(click, X_SOURCE)
    return None if source is None else source.decode()


def _rate(accepted: int, retrieved: int) -> float:
    return accepted / retrieved if retrieved else 0.0


def spell(interaction_id: str, retrieved: int, accepted: int, rate: float) -> str:
    return f"{interaction_id}: {accepted} of {retrieved}, {rate!r}"
