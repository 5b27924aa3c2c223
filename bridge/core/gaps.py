"""Intervals in which frames may have been missed, and lists that were shed: what `suggestion-audit` is told of both."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

# How long a backlog may take to be read: at least, because of what else a process that comes back has to do; at most,
# because sockets hold no more than some megabytes.
_CATCH_UP_MS = 1_000
_MAX_CATCH_UP_MS = 10_000
_MAX_BACKLOGS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Frames of an interaction may have been missed from `from_ms` (None where no frame is known) to `to_ms`."""

    interaction_id: str
    from_ms: int | None
    to_ms: int
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shed:
    """So many lists of an interaction, sent from `from_ms` and received up to `to_ms`, were dropped for `cause`."""

    interaction_id: str
    frames: int
    from_ms: int
    to_ms: int
    cause: str


class Backlogs:
    """Knows which frames may have been sent long before they were read, and since when.

    While the sockets are not read, or the process stands still, frames wait in the kernel. What is read from then on
    until the backlog is read may be as old as its beginning. That is taken to last as long as the standstill did,
    because frames are read at least twice as fast as they come; from 1 s to 10 s. Times are epoch milliseconds.
    """

    def __init__(self) -> None:
        self._began_ms: int | None = None
        self._past: deque[tuple[int, int]] = deque()

    def began(self, *, at_ms: int) -> None:
        """From now on nothing is read."""
        if self._began_ms is None:
            self._began_ms = at_ms

    def ended(self, *, at_ms: int) -> None:
        """From now on frames are read again."""
        if self._began_ms is not None:
            self.stood_still(from_ms=self._began_ms, to_ms=at_ms)
            self._began_ms = None

    def stood_still(self, *, from_ms: int, to_ms: int) -> None:
        """Nothing was read in that time."""
        until_ms = to_ms + min(max(_CATCH_UP_MS, to_ms - from_ms), _MAX_CATCH_UP_MS)
        while self._past and from_ms <= self._past[-1][1]:
            earlier_from_ms, earlier_until_ms = self._past.pop()
            from_ms, until_ms = min(from_ms, earlier_from_ms), max(until_ms, earlier_until_ms)
        self._past.append((from_ms, until_ms))
        if len(self._past) > _MAX_BACKLOGS:
            (first_ms, _), (_, second_ms) = self._past.popleft(), self._past.popleft()
            self._past.appendleft((first_ms, second_ms))

    def sent_from(self, at_ms: int) -> int:
        """The earliest time at which a frame that was read at `at_ms` may have been sent, but for its way."""
        if self._began_ms is not None and at_ms >= self._began_ms:
            at_ms = self._began_ms
        for from_ms, until_ms in reversed(self._past):
            if at_ms > until_ms:
                break
            if at_ms >= from_ms:
                return from_ms
        return at_ms


class GapLedger:
    """Knows for each live subscription up to when it has been received, and which gaps are open or not told yet.

    A first subscription opens no gap. A gap begins with the last frame known, or earlier where that one came out of a
    backlog: what was lost behind it may be as old. A gap that is open keeps its beginning and its cause, whatever comes
    on top. One that closes while an earlier one of the same interaction and cause is still untold is told as one with
    it: so what is kept is bounded by the number of subscriptions. Times are epoch milliseconds.
    """

    def __init__(self, backlogs: Backlogs) -> None:
        self._backlogs = backlogs
        self._received_to: dict[str, int | None] = {}
        self._since: dict[str, int] = {}
        self._open: dict[str, tuple[int | None, str]] = {}
        self._untold: dict[tuple[str, str], Gap] = {}

    def received(self, interaction_id: str, *, at_ms: int) -> None:
        """A frame of this interaction was read. Frames of others than the subscribed ones are not kept count of."""
        if interaction_id in self._received_to:
            self._received_to[interaction_id] = at_ms

    def taken_over(self, interaction_id: str, *, from_ms: int | None) -> None:
        """The subscription was another process': whatever came since `from_ms` (None: ever) may be missing."""
        self._open.setdefault(interaction_id, (from_ms, "takeover"))

    def disconnected(self, interaction_id: str, *, cause: str, read_to_ms: int | None = None) -> None:
        """The connection that carried the subscription is gone; the last frame was read there at `read_to_ms`.

        Where another one has brought younger frames meanwhile, the gap begins before them. None: there is no other one.
        """
        if interaction_id in self._received_to:
            self._open.setdefault(interaction_id, (self._accounted_to(interaction_id, read_to_ms), cause))

    def subscribed(self, interaction_id: str, *, at_ms: int) -> None:
        """The subscription was sent: an open gap ends here."""
        # Reception is accounted for up to here: the next gap must not overlap this one.
        is_gap = self._close(interaction_id, at_ms=at_ms)
        if interaction_id not in self._received_to or is_gap:
            self._received_to[interaction_id] = at_ms if is_gap else None
            self._since[interaction_id] = at_ms

    def ended(self, interaction_id: str, *, at_ms: int) -> None:
        """The subscription is over: so is a gap that is still open."""
        self._close(interaction_id, at_ms=at_ms)
        self._forget(interaction_id)

    def handed_over(self, interaction_id: str, *, known_to_ms: int | None) -> None:
        """The subscription is another replica's now, which tells what may be missing since `known_to_ms`.

        That is the last frame that this process has for the interaction's partition, None where it has none: it is
        where the other one's gap begins. So a gap that is open ends there, or is the other one's alone.
        """
        opened = self._open.get(interaction_id)
        if opened is not None and known_to_ms is not None and (opened[0] is None or opened[0] < known_to_ms):
            self._close(interaction_id, at_ms=known_to_ms)
        self._open.pop(interaction_id, None)
        self._forget(interaction_id)

    def stopped(self, *, at_ms: int) -> None:
        """The sockets were closed on purpose: what is live gets a gap, what is open closes under its own cause."""
        for interaction_id in self._received_to:
            self.disconnected(interaction_id, cause="stopped")
        for interaction_id in list(self._open):
            self._close(interaction_id, at_ms=at_ms)
        self._received_to.clear()
        self._since.clear()

    def tell(self) -> Sequence[Gap]:
        """The gaps that have closed since the last call."""
        told = list(self._untold.values())
        self._untold.clear()
        return told

    def _accounted_to(self, interaction_id: str, read_to_ms: int | None) -> int | None:
        received_ms = self._received_to[interaction_id]
        if received_ms is None:
            return None
        if read_to_ms is not None:
            received_ms = min(received_ms, read_to_ms)
        return max(self._since[interaction_id], self._backlogs.sent_from(received_ms))

    def _forget(self, interaction_id: str) -> None:
        self._received_to.pop(interaction_id, None)
        self._since.pop(interaction_id, None)

    def _close(self, interaction_id: str, *, at_ms: int) -> bool:
        opened = self._open.pop(interaction_id, None)
        if opened is None:
            return False
        from_ms, cause = opened
        earlier = self._untold.get((interaction_id, cause))
        self._untold[interaction_id, cause] = Gap(
            interaction_id=interaction_id,
            from_ms=_earliest(from_ms, at_ms) if earlier is None else earlier.from_ms,
            to_ms=at_ms,
            cause=cause,
        )
        return True


def _earliest(from_ms: int | None, to_ms: int) -> int | None:
    # Another process' clock may be ahead of ours.
    return None if from_ms is None else min(from_ms, to_ms)


class ShedTally:
    """Counts what was shed, by interaction and cause, until it is told.

    As with gaps, it begins earlier than the first list was read where that one came out of a backlog.
    """

    def __init__(self, backlogs: Backlogs) -> None:
        self._backlogs = backlogs
        self._untold: dict[tuple[str, str], Shed] = {}

    def __len__(self) -> int:
        return len(self._untold)

    def add(self, interaction_id: str, *, at_ms: int, cause: str) -> None:
        """A list of this interaction, received at `at_ms`, was shed."""
        earlier = self._untold.get((interaction_id, cause))
        from_ms = self._backlogs.sent_from(at_ms)
        self._untold[interaction_id, cause] = Shed(
            interaction_id=interaction_id,
            frames=1 if earlier is None else earlier.frames + 1,
            from_ms=from_ms if earlier is None else min(earlier.from_ms, from_ms),
            to_ms=at_ms if earlier is None else max(earlier.to_ms, at_ms),
            cause=cause,
        )

    def tell(self) -> Sequence[Shed]:
        """What was shed since the last call, one for each interaction and cause."""
        told = list(self._untold.values())
        self._untold.clear()
        return told
