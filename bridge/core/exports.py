"""An export as it is posted, and the records that tell what became of it."""

import re
from dataclasses import dataclass

import msgspec

from bridge.core.dead_letters import dead_letter
from bridge.core.errors import MalformedError
from bridge.core.records import NewRecord, Record, header_of
from bridge.core.topics import Topics
from bridge.core.values import audit_from, decode
from bridge.core.verdict import Delivered, Refused

MAX_EXPORT_BYTES = 64 * 1024

# What can stand in an HTTP header, plain or quoted (RFC 9651, section 3.3.3), without escapes.
_EXPORT_ID = re.compile(rb"[!#-\[\]-~]{1,256}")
_objects = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """A record of `acceptance-exports` that can be posted; `export_id` is its `Idempotency-Key`."""

    record: Record
    body: bytes
    export_id: str
    interaction_id: str

    @property
    def sequence(self) -> str:
        """Where it stands in its interaction's order: `<partition>/<offset>`."""
        return f"{self.record.partition}/{self.record.offset}"


def export_of(record: Record) -> Export:
    """The export that a record holds; its body is the value, byte for byte.

    Raises MalformedError: `oversize` over 64 KiB, `decode` for a value that is no JSON, `schema` for one that is null
    or no object, and for a record without a key or without a `ce_id` that can stand in an HTTP header.
    """
    size = len(record.value or b"")
    if size > MAX_EXPORT_BYTES:
        raise MalformedError("oversize", f"the export has {size} bytes, at most {MAX_EXPORT_BYTES} are taken")
    decode(record.value, _objects)
    export_id = header_of(record, "ce_id")
    if export_id is None or not _EXPORT_ID.fullmatch(export_id):
        raise MalformedError("schema", "the header ce_id is missing, or can't stand in an HTTP header")
    return Export(
        record=record,
        body=record.value or b"",
        export_id=export_id.decode(),
        interaction_id=_interaction_id(record.key),
    )


def _interaction_id(key: bytes | None) -> str:
    try:
        interaction_id = (key or b"").decode()
    except UnicodeDecodeError:
        interaction_id = ""
    if not interaction_id:
        raise MalformedError("schema", "the key is no interactionId")
    return interaction_id


def told(export: Export, verdict: Delivered | Refused, *, attempts: int, topics: Topics) -> tuple[NewRecord, ...]:
    """The records that tell what became of an export: its audit, and a dead letter where it was refused."""
    audit = audit_from(
        export.record,
        topics.suggestion_audit,
        "acceptance_exported",
        export.interaction_id,
        exportId=export.export_id,
        outcome="refused" if isinstance(verdict, Refused) else "delivered",
        status=verdict.status,
        attempts=attempts,
    )
    if isinstance(verdict, Delivered):
        return (audit,)
    letter = dead_letter(
        export.record,
        topic=topics.dlq_exports,
        worker="exporter",
        dlq_class="http-refused",
        reason=verdict.reason,
        stage="post",
        attempts=attempts,
        http_status=verdict.status,
    )
    return audit, letter


def set_aside(record: Record, error: MalformedError, *, topics: Topics) -> tuple[NewRecord, ...]:
    """The dead letter of a record that holds no export. There is no audit: nothing was exported."""
    return (
        dead_letter(
            record,
            topic=topics.dlq_exports,
            worker="exporter",
            dlq_class=error.dlq_class,
            reason=error.reason,
            stage="decode",
        ),
    )
