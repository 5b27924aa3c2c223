"""What must hold on one number: which records count, which must have been worked, what can no longer be proven."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from bridge.core.replay import Offsets
from bridge.core.topics import Topics

# Clocks of brokers and workers may be so far apart; and what is made of a record is written after it.
MARGIN_MS = 60_000
_NEVER_MS = float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """One number, and what must hold on it; all but the number is by topic.

    Topics are read from `reads_from` on. A record from `begins` on must have been worked if it is before `due_before`
    (where its group stands, or less). What was made of records older than `proven_from_ms` may have been deleted since.
    `counted_from_ms` is from when on lists and clicks are known, None where nothing of them is gone. `dead` are the
    offsets of lists and clicks that the tally has set aside: they count nothing, whether or not they can be read now.
    """

    number: int
    topics: Topics
    reads_from: Mapping[str, int]
    begins: Mapping[str, int]
    due_before: Mapping[str, int]
    proven_from_ms: Mapping[str, float]
    counted_from_ms: float | None
    dead: Mapping[str, Offsets]


def topics_read(topics: Topics) -> list[str]:
    """The topics of which the books are kept, in the order of the data: so are records of one time."""
    return [
        topics.raw_suggestions,
        topics.ranked_suggestions,
        topics.suggestion_clicks,
        topics.interaction_acceptance,
        topics.acceptance_exports,
        topics.suggestion_audit,
        topics.dlq_ranker,
        topics.dlq_clicks,
        topics.dlq_exports,
    ]


def topics_exact(topics: Topics) -> list[str]:
    """The topics whose records are counted in the order of their time."""
    return [topics.ranked_suggestions, topics.suggestion_clicks]


def scope_of(
    number: int,
    topics: Topics,
    *,
    reads_from: Mapping[str, int],
    begins: Mapping[str, int],
    due_before: Mapping[str, int],
    shortened: Collection[str],
    heads_ms: Mapping[str, int],
    letters_kept_from_ms: Mapping[str, int],
    read_from_ms: int | None,
    dead: Mapping[str, Offsets],
) -> Scope:
    """The scope of a number.

    `shortened` are the topics whose beginning retention has deleted, `heads_ms` when the first record that is left of
    each was written. `letters_kept_from_ms` is from when on Kafka keeps the records of a topic of dead letters, where
    that is known. `read_from_ms` is the time from which all of them were read, None if from the start.
    """
    made_of = {
        topics.raw_suggestions: ([topics.ranked_suggestions, topics.suggestion_audit], topics.dlq_ranker),
        topics.ranked_suggestions: ([], topics.dlq_clicks),
        topics.suggestion_clicks: ([topics.acceptance_exports, topics.suggestion_audit], topics.dlq_clicks),
        topics.acceptance_exports: ([topics.suggestion_audit], topics.dlq_exports),
    }
    return Scope(
        number=number,
        topics=topics,
        reads_from=reads_from,
        begins=begins,
        due_before=due_before,
        proven_from_ms={
            source: max(
                _results_from_ms(results, shortened, heads_ms),
                _letters_from_ms(letters, shortened, heads_ms, letters_kept_from_ms),
            )
            for source, (results, letters) in made_of.items()
        },
        counted_from_ms=_counted_from_ms(topics_exact(topics), shortened, heads_ms, read_from_ms),
        dead=dead,
    )


def _results_from_ms(results: Collection[str], shortened: Collection[str], heads_ms: Mapping[str, int]) -> float:
    """From when on all results of a record are still there, as far as can be known."""
    return max((heads_ms.get(topic, _NEVER_MS) + MARGIN_MS for topic in results if topic in shortened), default=0)


def _letters_from_ms(
    letters: str, shortened: Collection[str], heads_ms: Mapping[str, int], kept_from_ms: Mapping[str, int]
) -> float:
    """From when on all dead letters are still there.

    They are few: the first one that is left may be of an hour ago, and says nothing of what was written before it.
    What retention took was older than it keeps them.
    """
    if letters not in shortened:
        return 0
    known = [at_ms[letters] + MARGIN_MS for at_ms in (heads_ms, kept_from_ms) if letters in at_ms]
    return min(known, default=0)


def _counted_from_ms(
    inputs: Collection[str], shortened: Collection[str], heads_ms: Mapping[str, int], read_from_ms: int | None
) -> float | None:
    gone: list[float] = [heads_ms.get(topic, _NEVER_MS) for topic in inputs if topic in shortened]
    if read_from_ms is not None:
        gone.append(read_from_ms)
    return max(gone, default=None)
