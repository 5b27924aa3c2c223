"""Which frame the simulated Genesys sends next, and to whom: at a pace, and more where faults ask for it."""

from collections import deque
from collections.abc import Iterator
from random import Random

from bridge.simulator.faults import FaultsInForce
from bridge.simulator.frames import garbage_frame, suggestions_frame
from bridge.simulator.outlet import Frame, Outlet
from bridge.simulator.script import SendFrame
from bridge.simulator.times import Changes, Elapsed, now_ms

# A client that was slow is not sent all at once what it could not take meanwhile.
_MAX_BEHIND_S = 0.1
# Only a guard: whatever gives the feed something to do tells it.
_LOOK_AGAIN_S = 60.0


class Pace:
    """Tells when the next of `per_s` things a second is due; 0 is never. What was missed is not made up for."""

    def __init__(self, per_s: float) -> None:
        self._interval_s = 1 / per_s if per_s > 0 else float("inf")
        self._next_s = 0.0 if per_s > 0 else float("inf")

    def wait_s(self, now_s: float) -> float:
        """Seconds until the next one is due; 0 when it is."""
        return max(0.0, self._next_s - now_s)

    def take(self, now_s: float) -> None:
        """Counts one."""
        self._next_s = max(self._next_s, now_s - _MAX_BEHIND_S) + self._interval_s


class Feed:
    """Makes frames and puts them into the sockets' outlets; a socket that is full holds up no other.

    An interaction that two sockets have subscribed to sends the same frame to both.
    """

    def __init__(
        self, *, frames_per_s: float, in_force: FaultsInForce, chance: Random, elapsed: Elapsed, changes: Changes
    ) -> None:
        self.outlets: dict[int, Outlet] = {}
        self.is_paused = False
        self._pace = Pace(frames_per_s)
        self._in_force = in_force
        self._chance = chance
        self._elapsed = elapsed
        self._changes = changes
        self._turns: deque[str] = deque()
        self._serial = 0
        self._burst = 0
        self._strange: deque[SendFrame | None] = deque()  # None is garbage.

    # -- who wants what ------------------------------------------------------------------------------------------------

    def subscribe(self, outlet: Outlet, interaction_id: str) -> None:
        """From now on the socket gets this interaction's frames."""
        outlet.interactions.add(interaction_id)
        if interaction_id not in self._turns:
            self._turns.append(interaction_id)
        self._changes.tell()

    def unsubscribe(self, outlet: Outlet, interaction_id: str) -> None:
        """From now on it does not, not even those that are waiting for it."""
        outlet.drop(interaction_id)
        self._forget_unwanted()

    def add(self, outlet: Outlet) -> None:
        """A socket was opened."""
        self.outlets[outlet.number] = outlet
        self._changes.tell()

    def remove(self, outlet: Outlet) -> None:
        """A socket is gone, with what waited for it."""
        del self.outlets[outlet.number]
        outlet.end()
        self._forget_unwanted()

    def _forget_unwanted(self) -> None:
        wanted = {one for outlet in self.outlets.values() for one in outlet.interactions}
        self._turns = deque(one for one in self._turns if one in wanted)
        self._changes.tell()

    # -- what is to be sent --------------------------------------------------------------------------------------------

    def burst(self, frames: int) -> None:
        """Sends this many suggestions as fast as the sockets take them."""
        self._burst += frames
        self._changes.tell()

    def garbage(self, count: int) -> None:
        """Sends this many unreadable frames."""
        self._strange.extend([None] * count)
        self._changes.tell()

    def verbatim(self, fault: SendFrame) -> None:
        """Sends a frame as it is given."""
        self._strange.extend([fault] * fault.times)
        self._changes.tell()

    def pause(self) -> None:
        """Makes no new frames; what is made already is still sent."""
        self.is_paused = True

    def resume(self) -> None:
        """Makes frames again."""
        self.is_paused = False
        self._changes.tell()

    @property
    def is_quiet(self) -> bool:
        """True when no frame is made and none waits to be sent."""
        return self.is_paused and all(outlet.is_empty for outlet in self.outlets.values())

    async def run(self) -> None:
        """Makes frames until cancelled."""
        while True:
            wait_s = self._make_what_is_due()
            await self._changes.next(timeout_s=wait_s)

    def _make_what_is_due(self) -> float:
        """Returns the seconds until more is due, if no change comes earlier."""
        while not self.is_paused:
            if self._strange:
                is_made = self._make_strange()
            elif self._burst:
                is_made = self._make_suggestions()
                self._burst -= is_made
            else:
                wait_s = self._pace.wait_s(self._elapsed())
                if wait_s > 0:
                    return min(wait_s, _LOOK_AGAIN_S)
                is_made = self._make_suggestions()
                if is_made:
                    self._pace.take(self._elapsed())
            if not is_made:
                break
        return _LOOK_AGAIN_S

    def _make_suggestions(self) -> bool:
        for interaction_id in self._next_turns():
            takers = [one for one in self.outlets.values() if interaction_id in one.interactions and one.has_room]
            if takers:
                frame = self._suggestions(interaction_id)
                for outlet in takers:
                    outlet.put(frame)
                return True
        return False

    def _next_turns(self) -> Iterator[str]:
        for _ in range(len(self._turns)):
            self._turns.rotate(-1)
            yield self._turns[-1]

    def _suggestions(self, interaction_id: str) -> Frame:
        serial = self._next_serial()
        return Frame(
            serial=serial,
            kind="suggestions",
            interaction_id=interaction_id,
            plain=suggestions_frame(interaction_id=interaction_id, serial=serial, at_ms=now_ms(), chance=self._chance),
            is_gzip=self._in_force.take_gzip(now_s=self._elapsed()),
        )

    def _make_strange(self) -> bool:
        # To one socket only: nothing tells a second copy of garbage from a duplicate.
        outlet = next((one for one in self.outlets.values() if one.has_room), None)
        if outlet is not None:
            outlet.put(self._strange_frame(self._strange.popleft()))
        return outlet is not None

    def _strange_frame(self, fault: SendFrame | None) -> Frame:
        serial = self._next_serial()
        if fault is None:
            body, is_text = garbage_frame(serial=serial, chance=self._chance)
            return Frame(serial=serial, kind="garbage", plain=body, is_text=is_text)
        is_text = fault.body_binary is None
        return Frame(serial=serial, kind="verbatim", plain=fault.body_binary or fault.body.encode(), is_text=is_text)

    def _next_serial(self) -> int:
        self._serial += 1
        return self._serial
