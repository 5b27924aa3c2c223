"""`bridge` with a ranker that is wrong on purpose: of all it ranks, it loses one list and writes one twice."""

from collections.abc import Iterable
from typing import Any

from bridge.cli.main import main
from bridge.core.records import NewRecord, Record
from bridge.workers import ranker

_rank_batch = ranker.rank_batch
_still_to_do = [True]


def _wrong(records: Iterable[Record], **options: Any) -> list[NewRecord]:
    made = [_rank_batch([record], **options) for record in records]
    lists = [at for at, one in enumerate(made) if len(one) == 2]  # A ranked list and its audit event.
    # Both at once: with one of them alone, what a batch says that it has withheld would be less than nothing.
    if len(lists) > 1 and _still_to_do:
        _still_to_do.clear()
        lost, doubled = lists[:2]
        made[lost], made[doubled] = [], made[doubled] * 2
    return [record for one in made for record in one]


if __name__ == "__main__":
    ranker.rank_batch = _wrong
    main()
