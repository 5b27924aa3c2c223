"""Which frames are copies: what another socket has delivered already."""

from collections.abc import Iterable
from itertools import takewhile
from typing import Protocol

from bridge.core.dialects.agentassist import Suggestions

# More subscriptions within one window are beyond what one process carries; the copies of those would be written.
_MAX_WINDOWS = 65_536


class Delivered(Protocol):
    """What one socket has delivered; its memory has a bound of its own."""

    def copies_of(self, value: bytes) -> int:
        """How many frames of this value it has delivered."""


class Duplicates:
    """Tells copies over the sockets of one process.

    The same frame on the same socket is a new one. On another socket, within `window_s` of the subscription there, it
    is a copy, once for each copy that was delivered elsewhere. So of a frame that one socket delivers twice and another
    three times, three are no copies, in whatever order they come. Outside of windows nothing is looked at.

    A socket that is gone is remembered until the next one of its number has been subscribed for `window_s`; at most one
    of each number is. Times are monotonic seconds. With `window_s` 0 there are no copies.
    """

    def __init__(self, *, window_s: float) -> None:
        self.windows: dict[str, float] = {}
        """Until when copies are looked for, by interaction; those that have passed are in it until `tidy`."""
        self._window_s = window_s
        self._open: dict[Delivered, int] = {}
        self._gone: dict[int, Delivered] = {}
        self._subscribed_at_s: dict[int, float] = {}

    def opened(self, socket: Delivered, *, number: int) -> None:
        """A socket of this number is open; there may be two, while one takes over from the other."""
        self._open[socket] = number
        self._subscribed_at_s.pop(number, None)

    def subscribing(self, interaction_ids: Iterable[str], *, now_s: float) -> None:
        """These are subscribed from now on on one more socket: it may deliver what another one has delivered."""
        if self._window_s == 0 or len(self._open) + len(self._gone) < 2:
            return
        for interaction_id in interaction_ids:
            self.windows.pop(interaction_id, None)  # So that they stand in the order in which they end.
            if len(self.windows) < _MAX_WINDOWS:
                self.windows[interaction_id] = now_s + self._window_s

    def subscribed_all(self, *, number: int, now_s: float) -> None:
        """The youngest socket of this number has subscribed everything that was wanted when it was opened."""
        self._subscribed_at_s.setdefault(number, now_s)

    def closed(self, socket: Delivered) -> None:
        """A socket is gone; its successor, if it has one, may still deliver copies."""
        number = self._open.pop(socket)
        self._gone[number] = socket
        if number not in self._open.values():
            self._subscribed_at_s.pop(number, None)

    def is_copy(self, frame: Suggestions, *, on: Delivered, now_s: float) -> bool:
        """Whether a frame that came on `on`, and is counted there, is one that another socket has delivered."""
        until_s = self.windows.get(frame.interaction_id)
        if until_s is None or now_s >= until_s:
            return False
        value, before = frame.value, frame.occurrence
        return any(other.copies_of(value) > before for other in (*self._open, *self._gone.values()) if other is not on)

    def tidy(self, *, now_s: float) -> None:
        """Forgets the windows that have passed, and sockets that are gone for long enough."""
        for interaction_id in list(takewhile(lambda one: self.windows[one] <= now_s, self.windows)):
            del self.windows[interaction_id]
        for number, at_s in self._subscribed_at_s.items():
            if now_s >= at_s + self._window_s:
                self._gone.pop(number, None)
