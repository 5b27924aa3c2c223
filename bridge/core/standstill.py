"""How late the event loop is, by looks that are to come at regular times and come late where it stood still."""

# A look that is so much late says that the loop stood still: below that it is a busy machine, or a long batch.
STOOD_STILL_FROM_S = 1.0


class Looks:
    """Knows when the next look is due. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._due_s: float | None = None

    def late_s(self, now_s: float, *, again_in_s: float) -> float:
        """How late this look is; the next one is due in so many seconds. 0 for the first, or one that is early."""
        late_s = 0.0 if self._due_s is None else max(0.0, now_s - self._due_s)
        self._due_s = now_s + again_in_s
        return late_s
