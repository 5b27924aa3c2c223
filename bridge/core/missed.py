"""What the audit told as missed: intervals (`reception_gap`) and dropped lists (`suggestions_shed`)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import msgspec

from bridge.core.records import Record, time_of
from bridge.core.times import from_rfc3339

GAP = "reception_gap"
SHED = "suggestions_shed"
# A frame that was lost may have been on its way when the last one before it was received.
_ON_ITS_WAY_MS = 1_000
_NEVER_MS = 2**62


class MissedTold(msgspec.Struct, frozen=True, kw_only=True):
    """All that was told under one event and cause: how often, of how many interactions, for how long at most.

    `longest_s` is None where no beginning is known. `frames_lost` are those that were sent within and did not arrive.
    """

    event: str
    cause: str
    told: int
    interactions: int
    longest_s: float | None
    frames_lost: int


class _Told(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    interaction_id: str
    cause: str = ""
    frames: int | None = None
    to: str | None = None
    from_: str | None = msgspec.field(name="from", default=None)


@dataclass(slots=True, kw_only=True)
class Excuse:
    """An interval in which frames of an interaction may be missing, and how many of them (None: any number)."""

    event: str
    cause: str
    interaction_id: str
    from_ms: int | None
    to_ms: int
    last_ms: int
    left: int | None
    used: int = 0

    def covers(self, at_ms: int) -> bool:
        """Whether this excuses that a frame that was sent at `at_ms` is missing; it is then used up by one."""
        # Without a beginning it begins with the last frame that had arrived before its end.
        since_ms = (self.last_ms if self.from_ms is None else self.from_ms) - _ON_ITS_WAY_MS
        if not since_ms <= at_ms <= self.to_ms or self.left == 0:
            return False
        if self.left is not None:
            self.left -= 1
        self.used += 1
        return True


def excuses_of(audit: Iterable[tuple[str, Record]], raw: Iterable[Record]) -> dict[str, list[Excuse]]:
    """What was told as missed, by interaction, out of audit records with their event. `raw` is what did arrive.

    A shed excuses as many frames as it tells, a gap any number.
    """
    times: dict[str, list[int]] = {}
    for record in raw:
        times.setdefault((record.key or b"").decode(errors="replace"), []).append(time_of(record))
    decoder = msgspec.json.Decoder(_Told)
    excuses: dict[str, list[Excuse]] = {}
    for event, record in audit:
        if event in {GAP, SHED}:
            told = decoder.decode(record.value or b"null")
            to_ms = _NEVER_MS if told.to is None else from_rfc3339(told.to)
            excuse = Excuse(
                event=event,
                cause=told.cause,
                interaction_id=told.interaction_id,
                from_ms=None if told.from_ is None else from_rfc3339(told.from_),
                to_ms=to_ms,
                last_ms=max((at_ms for at_ms in times.get(told.interaction_id, ()) if at_ms < to_ms), default=0),
                left=told.frames if event == SHED else None,
            )
            excuses.setdefault(told.interaction_id, []).append(excuse)
    return excuses


def summed_up(excuses: Mapping[str, Sequence[Excuse]]) -> list[MissedTold]:
    """One line for each event and cause, in alphabetical order."""
    groups: dict[tuple[str, str], list[Excuse]] = {}
    for excuse in chain.from_iterable(excuses.values()):
        groups.setdefault((excuse.event, excuse.cause), []).append(excuse)
    return [
        MissedTold(
            event=event,
            cause=cause,
            told=len(group),
            interactions=len({one.interaction_id for one in group}),
            longest_s=max(((one.to_ms - one.from_ms) / 1000 for one in group if one.from_ms is not None), default=None),
            frames_lost=sum(one.used for one in group),
        )
        for (event, cause), group in sorted(groups.items())
    ]
