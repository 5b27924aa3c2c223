"""Dead letters by topic, class and reason: how many, from when to when, and how many of them were sent back."""

import re
from array import array
from collections import defaultdict
from dataclasses import dataclass, field

from bridge.core.letters import Selection, letter_of
from bridge.core.records import Record
from bridge.core.replay import Offsets, Span, replayed_in

# Sizes, offsets and places in a list: with them, there would be as many reasons as letters. Statuses have three digits.
_NUMBER_OF_ONE = re.compile(r"\d{4,}|(?<=\[)\d+(?=\])")


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterGroup:
    """The letters of one topic that failed in the same way; times are epoch milliseconds, of setting aside."""

    topic: str
    dlq_class: str
    reason: str
    count: int
    replayed: int
    first_ms: int
    last_ms: int


@dataclass(slots=True, kw_only=True)
class _Found:
    first_ms: int
    last_ms: int
    count: int = 0
    # By partition; 8 bytes a letter.
    offsets: dict[int, "array[int]"] = field(default_factory=dict)


class LetterGroups:
    """Takes the records of dead-letter topics, in any order of partitions."""

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._found: dict[tuple[str, str, str], _Found] = {}
        self._replayed: dict[tuple[str, int], list[Span]] = defaultdict(list)

    def take(self, record: Record) -> None:
        """Takes a letter, or the note that letters were sent back."""
        spans = replayed_in(record)
        if spans is not None:
            self._replayed[record.topic, record.partition] += spans
            return
        letter = letter_of(record)
        if not self._selection.includes(letter):
            return
        reason = _NUMBER_OF_ONE.sub("…", letter.reason)
        at_ms = record.timestamp
        found = self._found.setdefault((record.topic, letter.dlq_class, reason), _Found(first_ms=at_ms, last_ms=at_ms))
        found.count += 1
        found.first_ms, found.last_ms = min(found.first_ms, at_ms), max(found.last_ms, at_ms)
        found.offsets.setdefault(record.partition, array("q")).append(record.offset)

    def groups(self) -> list[LetterGroup]:
        """What was found, by topic, class and reason."""
        replayed = {place: Offsets(spans) for place, spans in self._replayed.items()}
        return [
            LetterGroup(
                topic=topic,
                dlq_class=dlq_class,
                reason=reason,
                count=found.count,
                replayed=sum(
                    offset in replayed.get((topic, partition), ())
                    for partition, offsets in found.offsets.items()
                    for offset in offsets
                ),
                first_ms=found.first_ms,
                last_ms=found.last_ms,
            )
            for (topic, dlq_class, reason), found in sorted(self._found.items())
        ]
