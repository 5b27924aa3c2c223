"""The breaker: a KMP that is down is asked rarely and by one export at a time, not by every export in turn."""

from bridge.core.reconnect import full_jitter_s

# So many different exports must have failed, with no good answer between: a single one may be the KMP's trouble with
# that export alone, and must not hold up the others.
_TRIPS_AT = 5


class Breaker:
    """What the exports of a process learn from one another's failures. Times are monotonic seconds.

    A failure may ask for a rest (`Retry-After`): it holds for all. From the fifth export in a row that failed, each
    failure brings a rest of its own, growing with full jitter. The breaker is tripped during a rest, and after it until
    the next good answer: only one post may then be under way.
    """

    def __init__(self, *, first_s: float, cap_s: float) -> None:
        self._first_s = first_s
        self._cap_s = cap_s
        self._failing: set[str] = set()
        self._failing_since_s: float | None = None
        self._rest_until_s = 0.0
        self._rests = 0
        self._is_doubtful = False
        self.cause = ""

    def rest_s(self, now_s: float) -> float:
        """For how long no post may go out; 0 when it may."""
        return max(0.0, self._rest_until_s - now_s)

    def is_tripped(self, now_s: float) -> bool:
        """True while posts rest, or go one at a time."""
        return self._is_doubtful or now_s < self._rest_until_s

    def failing_for_s(self, now_s: float) -> float:
        """How long there has been no good answer to anything, since the first failure; 0 while all is well."""
        return 0.0 if self._failing_since_s is None else now_s - self._failing_since_s

    def answered(self) -> None:
        """The KMP delivered or refused something. A rest that it asked for is kept to its end all the same."""
        self._failing.clear()
        self._failing_since_s = None
        self._rests = 0
        self._is_doubtful = False

    def failed(self, export_id: str, *, cause: str, asked_s: float | None, now_s: float, chance: float) -> None:
        """A post failed in a way that any other would have; `asked_s` is the delay that the KMP asked for."""
        self.cause = cause
        if self._failing_since_s is None:
            self._failing_since_s = now_s
        if len(self._failing) < _TRIPS_AT:
            self._failing.add(export_id)
        if asked_s is not None:
            self._rest(asked_s, now_s=now_s)
        elif len(self._failing) == _TRIPS_AT and self.rest_s(now_s) == 0:
            # Posts that were under way when a rest began say nothing new, hence the second condition.
            self._rests += 1
            self._rest(full_jitter_s(self._rests, first_s=self._first_s, cap_s=self._cap_s, chance=chance), now_s=now_s)

    def _rest(self, rest_s: float, *, now_s: float) -> None:
        self._is_doubtful = True
        self._rest_until_s = max(self._rest_until_s, now_s + rest_s)
