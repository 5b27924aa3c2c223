"""Where a number starts to read a topic."""

from dataclasses import dataclass
from typing import NamedTuple

from bridge.core.dead_letters import REPLAY_COUNT
from bridge.core.records import X_SOURCE, Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """The first offset to read, and the offsets before it that are lost (`lost_from` to `position`), if any are.

    `is_first` says that no position was known: it is to be written down at once.
    """

    position: int
    lost_from: int | None = None
    is_first: bool = False


class NoPositionError(Exception):
    """No position is known, and `kafka.start_from` is `fail`."""


class Source(NamedTuple):
    """The record that another one was made from, in the partition of the same number."""

    topic: str
    offset: int


def source_in(record: Record, *, number: int) -> Source | None:
    """What an output names as its source; None where it names none of this number.

    A dead letter keeps the headers of the original, so its own, which say where that stood, go first. What was sent
    back from the dead letters was not written by the hop just now.
    """
    headers = dict(record.headers)
    letter = [headers.get(f"__connect.errors.{name}") for name in ("topic", "partition", "offset")]
    if all(letter):
        spelled = [one or b"" for one in letter]
    elif REPLAY_COUNT in headers:
        return None
    else:
        spelled = (headers.get(X_SOURCE) or b"").split(b"/")
    try:
        topic, partition, offset = spelled
        return Source(topic.decode(), int(offset)) if int(partition) == number else None
    except ValueError:
        return None  # It has none, or is another writer's.


def highest(*positions: int | None) -> int | None:
    """The highest of those that are known."""
    return max((position for position in positions if position is not None), default=None)


def start_of(*, committed: int | None, written: int | None, beginning: int, end: int, start_from: str) -> Start:
    """Where to start: at the higher of the committed position and the one that the hop's own records carry.

    The latter makes up for group offsets that were lost or have expired, so that nothing is worked twice. Without any
    position, `start_from` decides: `earliest`, `latest`, or `fail` (NoPositionError). A position that the topic no
    longer has (retention has passed it, or the topic was made anew) becomes the topic's beginning.
    """
    position = highest(committed, written)
    if position is None:
        if start_from == "fail":
            raise NoPositionError
        return Start(position=beginning if start_from == "earliest" else end, is_first=True)
    if beginning <= position <= end:
        return Start(position=position)
    return Start(position=beginning, lost_from=min(position, beginning))
