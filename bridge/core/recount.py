"""The acceptances counted again, from the lists and the clicks alone: what the tally must have come to."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bridge.core.acceptance import REPEAT_WITHIN_MS, identity_of_click
from bridge.core.errors import MalformedError
from bridge.core.partitions import partition_of
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
    """Counts again by the rule: in the order of log-append time, a list before a click of the same time."""
    retrieved, accepted = Counter[str](), Counter[str]()
    counted: list[CountedClick] = []
    seen_at: dict[bytes, int] = {}
    seen_clicks: set[tuple[str, str]] = set()
    for record in sorted([*lists, *clicks], key=_by_time(topics.suggestion_clicks)):
        if record.topic == topics.ranked_suggestions:
            if record.timestamp - seen_at.get(identity_of(record), -(2**62)) > REPEAT_WITHIN_MS:
                seen_at[identity_of(record)] = record.timestamp
                retrieved[(record.key or b"").decode()] += 1
            continue
        click = _click(record, partitions=topics.partitions)
        if click is None or (identity := (click.interaction_id, identity_of_click(click, record))) in seen_clicks:
            continue
        seen_clicks.add(identity)
        accepted[click.interaction_id] += 1
        rate = _rate(accepted[click.interaction_id], retrieved[click.interaction_id])
        counted.append(CountedClick(source_of(record), click.interaction_id, rate))
    moved_from = {source_of(click): x_source for click in clicks if (x_source := _moved_from(click)) is not None}
    return Recount(retrieved, accepted, counted, moved_from)


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
