"""Where a number starts to read a topic."""

from dataclasses import dataclass


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


def start_of(*, committed: int | None, in_state: int | None, beginning: int, end: int, start_from: str) -> Start:
    """Where to start: at the higher of the committed position and the one that the hop's state carries.

    The state's own position makes up for group offsets that were lost or have expired, so that nothing is counted
    twice. Without any position, `start_from` decides: `earliest`, `latest`, or `fail` (NoPositionError). A position
    that the topic no longer has (retention has passed it, or the topic was made anew) becomes the topic's beginning.
    """
    known = [position for position in (committed, in_state) if position is not None]
    if not known:
        if start_from == "fail":
            raise NoPositionError
        return Start(position=beginning if start_from == "earliest" else end, is_first=True)
    position = max(known)
    if beginning <= position <= end:
        return Start(position=position)
    return Start(position=beginning, lost_from=min(position, beginning))
