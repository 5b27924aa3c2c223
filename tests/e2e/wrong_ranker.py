"""`bridge` with a ranker that is wrong on purpose: of all it ranks, it loses one list and writes one twice."""

from collections.abc import Iterable
from typing import Any

from bridge.cli.main import main
from bridge.core.records import NewRecord, Record
from bridge.workers import ranker

_rank_batch = ranker.rank_batch
_still_to_do = ["lose", "double"]


def _wrong(records: Iterable[Record], **options: Any) -> list[NewRecord]:
    written = []
    for record in records:
        made = _rank_batch([record], **options)
        is_list = len(made) == 2  # A ranked list and its audit event.
        if is_list and _still_to_do:
            made = made * 2 if _still_to_do.pop() == "double" else []
        written += made
    return written


if __name__ == "__main__":
    ranker.rank_batch = _wrong
    main()
