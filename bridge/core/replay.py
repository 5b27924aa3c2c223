"""Dead letters back to where they came from: what is sent for each, and the notes that keep it from being sent twice.

A note is a record on the dead-letter topic itself, in the partition of the letters that it names, written in the
transaction that sends them. It is younger than they are, so it is kept for as long as any of them.
"""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from bridge.core.dead_letters import DLQ_CLASS, REPLAY_COUNT
from bridge.core.dialects.agentassist import Session, Suggestions, Unreadable
from bridge.core.letters import UNKNOWN, Letter, Place, letter_of
from bridge.core.partitions import partition_of
from bridge.core.records import X_SOURCE, Header, Kind, NewRecord, Record, digest, header_of, made_here, source_of
from bridge.core.topics import MAX_RECORD_BYTES, Topics
from bridge.core.values import encode

REPLAY_GROUP = "dlq-replay"
"""The consumer group of replays, without `kafka.prefix`; its position is the first letter that was not sent back."""

REPLAYED = "agentassist.dead-letters.replayed"
"""The `ce_type` of a note."""


def left_from(*, begin: int, passed: int, end: int) -> int:
    """The first offset of a dead-letter topic that may hold a letter which was not sent back.

    `passed` is the position of the group. A topic that was made anew may have less than was passed on the former one.
    """
    return max(begin, passed if passed <= end else 0)


Span = tuple[int, int]
"""The first and the last of offsets that follow one another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """A letter that stays where it is, and why."""

    reason: str


class LastWords:
    """When the last word on each interaction was written to `interaction-subscriptions`.

    The topic is a table: an older record that is written again would stand for the newer one, and a conversation that
    is over would be subscribed once more. Of two that were both misplaced, the younger one is the last word, too.
    """

    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        self._last: dict[bytes, Record] = {}
        self._last_misplaced_ms: dict[bytes, int] = {}

    def take(self, record: Record) -> None:
        """Takes a record of the topic, each partition's in their order; what is misplaced is no word."""
        if record.key is not None and partition_of(record.key, self._topics.partitions) == record.partition:
            self._last[record.key] = record

    def take_letter(self, record: Record) -> None:
        """Takes a record of `dlq.ingress`, in any order."""
        letter, key = letter_of(record), record.key
        if letter.dlq_class == "misplaced" and key is not None and self._is_of_subscription(letter):
            self._last_misplaced_ms[key] = max(letter.first_at_ms, self._last_misplaced_ms.get(key, 0))

    def is_after(self, letter: Letter) -> bool:
        """True for the letter of a subscription about whose interaction something newer was written."""
        if not self._is_of_subscription(letter):
            return False
        key = letter.record.key or b""
        if self._last_misplaced_ms.get(key, 0) > letter.first_at_ms:
            return True
        origin, last = letter.origin, self._last.get(key)
        if last is None or origin is None:
            return False
        if last.partition == origin.partition:
            # The topic may have been made anew since: then it is younger than the letter, at a lower offset.
            is_newer = last.offset > origin.offset or last.timestamp > letter.record.timestamp
            return is_newer and last.offset != origin.offset
        # It was misplaced: only the writers' clocks tell.
        return last.timestamp > letter.first_at_ms

    def _is_of_subscription(self, letter: Letter) -> bool:
        return letter.origin is not None and letter.origin.topic == self._topics.interaction_subscriptions


def fate_of(
    letter: Letter, *, topics: Topics, last_words: LastWords, max_replays: int, max_frame_bytes: int
) -> NewRecord | Left:
    """What is to be written for a letter: the original, byte for byte, with one replay more in its headers.

    A frame goes through the decoder again, and becomes a raw record where it can be read now.
    """
    if letter.dlq_class == UNKNOWN:
        return Left(reason="it was not written by the bridge")
    if letter.is_cut:
        return Left(reason="it was cut, because it had no room on the topic")
    if letter.replays >= max_replays:
        return Left(reason=f"it has been replayed {letter.replays} times already")
    if last_words.is_after(letter):
        return Left(reason="its interaction was subscribed or ended again since")
    if letter.origin is None:
        record = _decoded(letter, topics=topics, max_frame_bytes=max_frame_bytes)
    else:
        record = _as_it_was(letter, letter.origin, topics=topics)
    if isinstance(record, NewRecord) and record.size > MAX_RECORD_BYTES:
        return Left(reason="it is too large for its topic unless it is compressed")
    return record


def _as_it_was(letter: Letter, origin: Place, *, topics: Topics) -> NewRecord | Left:
    if origin.topic not in _inputs(topics) or origin.partition >= topics.partitions:
        return Left(reason="the place that it came from is none of the bridge's")
    source = letter.record
    is_misplaced = letter.dlq_class == "misplaced" and source.key is not None
    return NewRecord(
        topic=origin.topic,
        key=source.key,
        value=source.value,
        headers=_once_more(letter, letter.headers),
        partition=partition_of(source.key or b"", topics.partitions) if is_misplaced else origin.partition,
        timestamp=_own_time(letter) if origin.topic == topics.interaction_subscriptions else None,
    )


def _own_time(letter: Letter) -> int:
    """A subscription lives for a while from its own time on: sent back, it must not begin a second life."""
    # Brokers refuse a time that is an hour ahead; it cannot be younger than its letter.
    return min(letter.first_at_ms, letter.record.timestamp)


def _inputs(topics: Topics) -> Collection[str]:
    return (
        topics.interaction_subscriptions,
        topics.raw_suggestions,
        topics.ranked_suggestions,
        topics.suggestion_clicks,
        topics.acceptance_exports,
    )


def _decoded(letter: Letter, *, topics: Topics, max_frame_bytes: int) -> NewRecord | Left:
    # Whatever socket a frame came from, its first one has occurrence 0.
    frame = Session(max_frame_bytes=max_frame_bytes).receive(letter.record.value or b"")
    if isinstance(frame, Unreadable):
        return Left(reason=f"the frame still cannot be read: {frame.reason}")
    if not isinstance(frame, Suggestions):
        return Left(reason="the frame holds no suggestions: there is nothing to write for it")
    key = frame.interaction_id.encode()
    ce_id = digest(key, frame.value, b"%d" % frame.occurrence)
    headers = made_here(kind=Kind.RECEIVED, subject=frame.interaction_id, at_ms=letter.first_at_ms, ce_id=ce_id)
    source = (X_SOURCE, source_of(letter.record).encode())
    return NewRecord(
        topic=topics.raw_suggestions,
        key=key,
        value=frame.value,
        headers=_once_more(letter, (*headers, source)),
        partition=partition_of(key, topics.partitions),
    )


def _once_more(letter: Letter, headers: Iterable[Header]) -> tuple[Header, ...]:
    others = (header for header in headers if header[0] != REPLAY_COUNT)
    return (*others, (REPLAY_COUNT, b"%d" % (letter.replays + 1)))


# -- notes -------------------------------------------------------------------------------------------------------------


class _Note(msgspec.Struct, frozen=True):
    offsets: list[Span]


_notes = msgspec.json.Decoder(_Note)


def note_of(topic: str, partition: int, offsets: Sequence[int], *, at_ms: int) -> NewRecord:
    """The note that the letters at these offsets (in their order, at least one) have been sent back."""
    subject = f"{topic}/{partition}"
    ce_id = digest(REPLAYED.encode(), subject.encode(), b"%d" % offsets[0], b"%d" % at_ms)
    return NewRecord(
        topic=topic,
        key=None,
        value=encode(_Note(offsets=list(_merged((offset, offset) for offset in offsets)))),
        headers=made_here(kind=REPLAYED, subject=subject, at_ms=at_ms, ce_id=ce_id),
        partition=partition,
    )


def replayed_in(record: Record) -> list[Span] | None:
    """The offsets that a note names, ends included; None for a record that is no note."""
    if header_of(record, "ce_type") != REPLAYED.encode() or header_of(record, DLQ_CLASS) is not None:
        return None
    try:
        return _notes.decode(record.value or b"").offsets
    except msgspec.DecodeError:
        return []


class Offsets:
    """A set of offsets that takes little memory where they follow one another."""

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        self._spans = list(_merged(sorted(spans)))
        self._firsts = [first for first, _ in self._spans]

    def __contains__(self, offset: int) -> bool:
        at = bisect_right(self._firsts, offset) - 1
        return at >= 0 and offset <= self._spans[at][1]


def _merged(spans: Iterable[Span]) -> Iterator[Span]:
    """The same offsets in as few spans as can be; they come in the order of their first offsets."""
    last: Span | None = None
    for first, end in spans:
        if last is not None and first <= last[1] + 1:
            last = (last[0], max(last[1], end))
            continue
        if last is not None:
            yield last
        last = (first, end)
    if last is not None:
        yield last
