"""What a check of the books has found: lines with both sides, and the first offenders by name."""

from collections import Counter

import msgspec

from bridge.core.records import Record

RAW = "raw = ranked + withheld + superseded + dead letters"
RETRIEVED = "ranked = suggestions_retrieved"
RANKED_ORDER = "ranked lists of an interaction stand in the order of raw"
LISTS = "unreadable lists = dead letters of tally"
CLICKS = "clicks = counted + repeated + moved + dead letters"
REFUSED = "clicks in dead letters = click_refused"
MOVED = "click_moved = clicks that came by moving"
EXPORTS = "counted = exports"
ACCEPTED = "exports = suggestion_accepted"
EXPORTS_ORDER = "exports of an interaction stand in the order of clicks"
ACCEPTANCE = "acceptance = a recount"
RATES = "every exported body and rate = a recount"
EXPORTED = "exports = acceptance_exported + unusable"
DELIVERED = "exports refused or expired = dead letters of exporter"
IDENTITY = "every ce_id follows from its source, no export's comes twice"

LINES = (
    RAW,
    RETRIEVED,
    RANKED_ORDER,
    LISTS,
    CLICKS,
    REFUSED,
    MOVED,
    EXPORTS,
    ACCEPTED,
    EXPORTS_ORDER,
    ACCEPTANCE,
    RATES,
    EXPORTED,
    DELIVERED,
    IDENTITY,
)
"""The lines of the books, in the order of the data."""


class Offender(msgspec.Struct, frozen=True, kw_only=True):
    """A record that breaks a line of the books, or that is missing something; never its text."""

    topic: str
    partition: int
    offset: int
    line: str
    what: str


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the books: both sides, how many are not worked yet (`open`), how many break it (`wrong`).

    `unproven` are those of which the beginning, or what was made of them, is no longer on the topics.
    """

    line: str
    left: int
    right: int
    open: int
    unproven: int
    wrong: int
    ok: bool


class Report(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What `bridge verify` says: the lines, the first offenders, how much was read, and what is worth knowing."""

    balanced: bool
    lines: list[Line]
    offenders: list[Offender]
    records: int
    interactions: int
    repeats: int
    lost_offsets: int
    notes: list[str]


class Findings:
    """Gathers what is found, number after number. The first `max_offenders` are named, all are counted."""

    def __init__(self, *, max_offenders: int) -> None:
        self.offenders: list[Offender] = []
        self.repeats = 0
        self.lost_offsets = 0
        self.interactions = 0
        self.notes: list[str] = []
        self._max_offenders = max_offenders
        self._counts: Counter[tuple[str, str]] = Counter()

    def offend(self, *lines: str, topic: str, partition: int, offset: int, what: str, is_named: bool = True) -> None:
        """A record breaks these lines; it is named under the first of them."""
        for line in lines:
            self.count(line, wrong=1)
        if is_named and len(self.offenders) < self._max_offenders:
            self.offenders.append(Offender(topic=topic, partition=partition, offset=offset, line=lines[0], what=what))

    def tell(self, line: str, record: Record, what: str) -> None:
        """The record breaks this line."""
        self.offend(line, topic=record.topic, partition=record.partition, offset=record.offset, what=what)

    def count(self, line: str, **more: int) -> None:
        """Adds to what a line counts: left, right, open, unproven, wrong."""
        for field, count in more.items():
            self._counts[line, field] += count

    def report(self, *, records: int) -> Report:
        """All that was found so far."""
        lines = [self._line(line) for line in LINES]
        return Report(
            balanced=all(line.ok for line in lines),
            lines=lines,
            offenders=list(self.offenders),
            records=records,
            interactions=self.interactions,
            repeats=self.repeats,
            lost_offsets=self.lost_offsets,
            notes=self.notes,
        )

    def _line(self, line: str) -> Line:
        wrong = self._counts[line, "wrong"]
        return Line(
            line=line,
            left=self._counts[line, "left"],
            right=self._counts[line, "right"],
            open=self._counts[line, "open"],
            unproven=self._counts[line, "unproven"],
            wrong=wrong,
            ok=wrong == 0,
        )


class Once:
    """Knows the identities of the last 30 s, in the records' own time: a reader may drop a record that repeats one."""

    def __init__(self, within_ms: int) -> None:
        self._within_ms = within_ms
        self._seen: dict[bytes, int] = {}

    def is_repeat(self, identity: bytes, *, at_ms: int) -> bool:
        """Whether this identity was there within the time before `at_ms`; from now on it is."""
        seen = self._seen
        before_ms = seen.pop(identity, None)
        seen[identity] = at_ms
        while at_ms - next(iter(seen.values())) > self._within_ms:
            del seen[next(iter(seen))]
        return before_ms is not None and at_ms - before_ms <= self._within_ms
