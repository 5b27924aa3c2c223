"""Lists and clicks, and what the tally made of each of them on one number."""

from collections.abc import Sequence

import msgspec

from bridge.core import acceptance
from bridge.core.acceptance import REPEAT_WITHIN_MS
from bridge.core.records import X_SOURCE, Record
from bridge.core.verify_findings import (
    ACCEPTED,
    CLICKS,
    EXPORTS,
    EXPORTS_ORDER,
    IDENTITY,
    LISTS,
    RATES,
    REFUSED,
    Findings,
    Once,
)
from bridge.core.verify_ledger import SOURCE, Equation, Rules
from bridge.core.verify_recount import Recounting, Verdict
from bridge.core.verify_scope import Scope
from bridge.core.verify_sources import Order, Pairs, Sources, letters_in

COUNTED, JUDGED, UNSURE = 2, 4, 8
TOLD, EXPORT, REPEATED, MOVED, DEAD, REFUSED_TOLD = 16, 32, 64, 128, 256, 512


def _counted(seen: int) -> int:
    # Of an interaction whose beginning is gone nobody can say whether a click counts: what the tally said is taken.
    if not seen & UNSURE:
        return seen
    return seen | COUNTED if seen & EXPORT else seen


_RULES = Rules(
    equations=(
        Equation(line=CLICKS, left=SOURCE, right=COUNTED | REPEATED | MOVED | DEAD),
        Equation(line=REFUSED, left=DEAD, right=REFUSED_TOLD),
        Equation(line=EXPORTS, left=COUNTED, right=EXPORT),
        Equation(line=ACCEPTED, left=EXPORT, right=TOLD),
    ),
    names=(
        "the record",
        "count in a recount",
        "",
        "",
        "suggestion_accepted",
        "export",
        "click_repeated",
        "click_moved",
        "dead letter",
        "click_refused",
    ),
    needed=SOURCE | JUDGED,
    read=_counted,
)
_DEAD_LISTS = Rules(
    equations=(Equation(line=LISTS, left=SOURCE, right=2),), names=("a fault of it", "dead letter"), needed=SOURCE
)
_DEAD_LIST = 2


class TallyBooks:
    """Lists and clicks, and what the tally made of them."""

    def __init__(self, scope: Scope, options: acceptance.Options, findings: Findings) -> None:
        topics = scope.topics
        verdicts = COUNTED | JUDGED | UNSURE
        self.clicks = Sources(scope, topics.suggestion_clicks, _RULES, findings, verdicts=verdicts)
        self.lists = Sources(scope, topics.ranked_suggestions, _DEAD_LISTS, findings)
        self.recounting = Recounting(scope, options, findings, judge=self._judge, unreadable=self.lists.ledger.source)
        self._findings = findings
        self._order = Order(EXPORTS_ORDER, findings)
        self._once = Once(REPEAT_WITHIN_MS)
        self._compared = 0
        self._exports: Pairs[Verdict, tuple[bytes, Record]] = Pairs(self._compare)
        self._lists_place = f"{topics.ranked_suggestions}/".encode()

    def click(self, records: Sequence[Record]) -> None:
        """Clicks."""
        self.clicks.take(records)
        self.recounting.clicks(records)

    def export(self, record: Record, headers: dict[str, bytes]) -> None:
        """An export; not one that was sent back from the dead letters, which was counted before."""
        offset = self.clicks.note(record, headers.get(X_SOURCE), EXPORT)
        if offset is None:
            return
        ce_id = headers.get("ce_id", b"")
        self._order.check(record, offset)
        if self._once.is_repeat(ce_id, at_ms=record.timestamp):
            self._findings.tell(IDENTITY, record, "another export within 30 s has its ce_id")
        seen = self.clicks.ledger.seen(offset)
        if self._exports.has_left(offset) or (seen and not seen & JUDGED):
            self._exports.right(offset, (ce_id, record))

    def dead(self, records: Sequence[Record]) -> None:
        """Dead letters, of clicks and of lists."""
        for record, _, origin in letters_in(records):
            if origin.startswith(self._lists_place):
                self.lists.note(record, origin, _DEAD_LIST)
            else:
                self.clicks.note(record, origin, DEAD)

    def finish(self, scope: Scope) -> None:
        """Tells what is not even."""
        self.recounting.finish(scope.due_before)
        self.clicks.finish()
        self.lists.finish()
        self._order.finish()
        for line in (RATES, IDENTITY):
            self._findings.count(line, left=self._compared, right=self._compared)

    def _judge(self, verdict: Verdict) -> None:
        offset = verdict.offset
        if offset < self.clicks.ledger.begin:
            return
        if verdict.is_counted:
            self.clicks.ledger.note(offset, JUDGED | COUNTED)
            self._exports.left(offset, verdict)
        else:
            self.clicks.ledger.note(offset, JUDGED if verdict.is_counted is False else JUDGED | UNSURE)
            self._exports.drop(offset)

    def _compare(self, offset: int, verdict: Verdict, export: tuple[bytes, Record]) -> None:
        ce_id, record = export
        self._compared += 1
        if record.value != verdict.body:
            self._findings.tell(RATES, record, _difference(record.value, verdict.body))
        if ce_id != verdict.export_id:
            self._findings.tell(IDENTITY, record, f"its ce_id does not follow from the click at {offset}")


class _Body(msgspec.Struct, frozen=True, rename="camel"):
    acceptance_rate: float


def _difference(found: bytes | None, expected: bytes) -> str:
    try:
        rate = msgspec.json.decode(found or b"", type=_Body).acceptance_rate
    except msgspec.MsgspecError:
        return "it is no export"
    mine = msgspec.json.decode(expected, type=_Body).acceptance_rate
    if rate != mine:
        return f"acceptanceRate is {rate!r}, a recount comes to {mine!r}"
    return "its body is not what its click says"
