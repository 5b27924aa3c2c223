"""Intervals in which frames may have been missed, and lists that were shed: what `suggestion-audit` is told of both."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Frames of an interaction may have been missed from `from_ms` (None where no frame is known) to `to_ms`."""

    interaction_id: str
    from_ms: int | None
    to_ms: int
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shed:
    """So many lists of an interaction, received from `from_ms` to `to_ms`, were dropped because of `cause`."""

    interaction_id: str
    frames: int
    from_ms: int
    to_ms: int
    cause: str


class GapLedger:
    """Knows for each live subscription up to when it has been received, and which gaps are open or not told yet.

    A first subscription opens no gap. A gap that is open keeps its beginning and its cause, whatever comes on top. One
    that closes while an earlier one of the same interaction and cause is still untold is told as one with it: so what
    is kept is bounded by the number of subscriptions. Times are epoch milliseconds.
    """

    def __init__(self) -> None:
        self._received_to: dict[str, int | None] = {}
        self._open: dict[str, tuple[int | None, str]] = {}
        self._untold: dict[tuple[str, str], Gap] = {}

    def received(self, interaction_id: str, *, at_ms: int) -> None:
        """A frame of this interaction was read. Frames of others than the subscribed ones are not kept count of."""
        if interaction_id in self._received_to:
            self._received_to[interaction_id] = at_ms

    def taken_over(self, interaction_id: str) -> None:
        """The subscription was another process' before: whatever came since that one ended may be missing."""
        self._open.setdefault(interaction_id, (None, "takeover"))

    def disconnected(self, interaction_id: str, *, cause: str) -> None:
        """The socket that carried the subscription is gone."""
        if interaction_id in self._received_to:
            self._open.setdefault(interaction_id, (self._received_to[interaction_id], cause))

    def subscribed(self, interaction_id: str, *, at_ms: int) -> None:
        """The subscription was sent: an open gap ends here."""
        self._received_to.setdefault(interaction_id, None)
        if self._close(interaction_id, at_ms=at_ms):
            # Reception is accounted for up to here: the next gap must not overlap this one.
            self._received_to[interaction_id] = at_ms

    def ended(self, interaction_id: str, *, at_ms: int) -> None:
        """The subscription is over: so is a gap that is still open."""
        self._close(interaction_id, at_ms=at_ms)
        self._received_to.pop(interaction_id, None)

    def handed_over(self, interaction_id: str) -> None:
        """The subscription is another replica's now, and so is the gap: that one tells it as a takeover."""
        self._open.pop(interaction_id, None)
        self._received_to.pop(interaction_id, None)

    def stopped(self, *, at_ms: int) -> None:
        """The sockets were closed on purpose: what is live gets a gap, what is open closes under its own cause."""
        for interaction_id in self._received_to:
            self.disconnected(interaction_id, cause="stopped")
        for interaction_id in list(self._open):
            self._close(interaction_id, at_ms=at_ms)
        self._received_to.clear()

    def tell(self) -> Sequence[Gap]:
        """The gaps that have closed since the last call."""
        told = list(self._untold.values())
        self._untold.clear()
        return told

    def _close(self, interaction_id: str, *, at_ms: int) -> bool:
        opened = self._open.pop(interaction_id, None)
        if opened is None:
            return False
        from_ms, cause = opened
        earlier = self._untold.get((interaction_id, cause))
        self._untold[interaction_id, cause] = Gap(
            interaction_id=interaction_id,
            from_ms=from_ms if earlier is None else earlier.from_ms,
            to_ms=at_ms,
            cause=cause,
        )
        return True


class ShedTally:
    """Counts what was shed, by interaction and cause, until it is told."""

    def __init__(self) -> None:
        self._untold: dict[tuple[str, str], Shed] = {}

    def __len__(self) -> int:
        return len(self._untold)

    def add(self, interaction_id: str, *, at_ms: int, cause: str) -> None:
        """A list of this interaction, received at `at_ms`, was shed."""
        earlier = self._untold.get((interaction_id, cause))
        self._untold[interaction_id, cause] = Shed(
            interaction_id=interaction_id,
            frames=1 if earlier is None else earlier.frames + 1,
            from_ms=at_ms if earlier is None else min(earlier.from_ms, at_ms),
            to_ms=at_ms if earlier is None else max(earlier.to_ms, at_ms),
            cause=cause,
        )

    def tell(self) -> Sequence[Shed]:
        """What was shed since the last call, one for each interaction and cause."""
        told = list(self._untold.values())
        self._untold.clear()
        return told
