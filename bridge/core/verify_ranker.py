"""raw-suggestions, and what the ranker made of each of its records on one number."""

from collections.abc import Sequence

from bridge.core.acceptance import REPEAT_WITHIN_MS
from bridge.core.dead_letters import REPLAY_COUNT
from bridge.core.records import X_SOURCE, Kind, Record, digest, source_of
from bridge.core.verify_findings import IDENTITY, RANKED_ORDER, RAW, RETRIEVED, Findings, Once
from bridge.core.verify_ledger import SOURCE, Equation, Rules
from bridge.core.verify_scope import Scope
from bridge.core.verify_sources import Order, Pairs, Sources, letters_in

RANKED, RETRIEVED_TOLD, WITHHELD, SUPERSEDED, DEAD = 2, 4, 8, 16, 32

_RANKED = Kind.RANKED.encode()
_RULES = Rules(
    equations=(
        Equation(line=RAW, left=SOURCE, right=RANKED | WITHHELD | SUPERSEDED | DEAD),
        Equation(line=RETRIEVED, left=RANKED, right=RETRIEVED_TOLD),
    ),
    names=(
        "the record",
        "ranked list",
        "suggestions_retrieved",
        "suggestions_withheld",
        "suggestions_superseded",
        "dead letter",
    ),
    needed=SOURCE,
)


class RankerBooks:
    """raw-suggestions, and what the ranker made of them."""

    def __init__(self, scope: Scope, findings: Findings) -> None:
        self.sources = Sources(scope, scope.topics.raw_suggestions, _RULES, findings)
        self._order = Order(RANKED_ORDER, findings)
        self._findings = findings
        self._once = Once(REPEAT_WITHIN_MS)
        self._compared = 0
        self._identities: Pairs[bytes, tuple[bytes, Record]] = Pairs(self._compare)

    def raw(self, records: Sequence[Record]) -> None:
        """Frames, as ingress wrote them."""
        self.sources.take(records)
        for record in records:
            ce_id = dict(record.headers).get("ce_id") or source_of(record).encode()
            self._identities.left(record.offset, ce_id)
            if self._once.is_repeat(ce_id, at_ms=record.timestamp):
                self._findings.repeats += 1

    def ranked(self, records: Sequence[Record]) -> None:
        """Ranked lists; one that was sent back from the dead letters was looked at where it had stood."""
        for record in records:
            headers = dict(record.headers)
            if REPLAY_COUNT in headers:
                continue
            offset = self.sources.note(record, headers.get(X_SOURCE), RANKED)
            if offset is None:
                continue
            self._identities.right(offset, (headers.get("ce_id", b""), record))
            self._order.check(record, offset)

    def told(self, record: Record, source: bytes | None, bits: int) -> None:
        """An audit event of the ranker."""
        offset = self.sources.note(record, source, bits)
        if offset is not None and bits != RETRIEVED_TOLD:
            self._identities.drop(offset)

    def dead(self, records: Sequence[Record]) -> None:
        """Dead letters."""
        for record, _, origin in letters_in(records):
            offset = self.sources.note(record, origin, DEAD)
            if offset is not None:
                self._identities.drop(offset)

    def finish(self) -> None:
        """Tells what is not even."""
        self.sources.finish()
        self._order.finish()
        self._findings.count(IDENTITY, left=self._compared, right=self._compared)
        self._findings.interactions += len(self._order)

    def _compare(self, offset: int, identity: bytes, ranked: tuple[bytes, Record]) -> None:
        ce_id, record = ranked
        self._compared += 1
        if digest(identity, _RANKED, b"").encode() != ce_id:
            self._findings.tell(IDENTITY, record, f"its ce_id does not follow from that of the raw record at {offset}")
