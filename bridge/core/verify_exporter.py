"""acceptance-exports, and what the exporter made of each of its records on one number."""

from collections.abc import Sequence

import msgspec

from bridge.core.records import Record
from bridge.core.verify_findings import DELIVERED, EXPORTED, Findings
from bridge.core.verify_ledger import SOURCE, Equation, Rules
from bridge.core.verify_scope import Scope
from bridge.core.verify_sources import Pairs, Sources, letters_in

TOLD, FAILED, LETTER, UNUSABLE = 2, 4, 8, 16

# Of an export that was posted there is an audit event, too; of one that never could be, only the dead letter.
_POSTED = {b"http-refused", b"expired"}
_RULES = Rules(
    equations=(
        Equation(line=EXPORTED, left=SOURCE, right=TOLD | UNUSABLE),
        Equation(line=DELIVERED, left=FAILED, right=LETTER),
    ),
    names=("the record", "acceptance_exported", "refusal", "dead letter", "dead letter of an unusable one"),
    needed=SOURCE,
)


class _Exported(msgspec.Struct, frozen=True, rename="camel"):
    export_id: str = ""
    outcome: str = ""


_exported = msgspec.json.Decoder(_Exported)


class ExporterBooks:
    """Exports, and what the exporter made of them."""

    def __init__(self, scope: Scope, findings: Findings) -> None:
        self.sources = Sources(scope, scope.topics.acceptance_exports, _RULES, findings)
        self._findings = findings
        self._ids: Pairs[bytes, tuple[str, Record]] = Pairs(self._compare)

    def export(self, record: Record, headers: dict[str, bytes]) -> None:
        """An export; `sources.take` has had it, too."""
        self._ids.left(record.offset, headers.get("ce_id", b""))

    def told(self, record: Record, source: bytes | None) -> None:
        """The audit event `acceptance_exported`."""
        try:
            told = _exported.decode(record.value or b"")
        except msgspec.MsgspecError:
            told = _Exported()
        bits = TOLD if told.outcome == "delivered" else TOLD | FAILED
        offset = self.sources.note(record, source, bits)
        if offset is not None:
            self._ids.right(offset, (told.export_id, record))

    def dead(self, records: Sequence[Record]) -> None:
        """Dead letters."""
        for record, dlq_class, origin in letters_in(records):
            is_posted = dlq_class in _POSTED
            offset = self.sources.note(record, origin, LETTER if is_posted else UNUSABLE)
            if offset is not None and not is_posted:
                self._ids.drop(offset)

    def _compare(self, _: int, ce_id: bytes, told: tuple[str, Record]) -> None:
        export_id, record = told
        if export_id.encode() != ce_id:
            self._findings.tell(EXPORTED, record, "its exportId is not the ce_id of the export that it tells of")
