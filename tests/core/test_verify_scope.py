"""What must hold on a number, and what retention has made unprovable."""

import pytest

from bridge.core.topics import Options, topics_of
from bridge.core.verify_scope import MARGIN_MS, Scope, scope_of, topics_exact, topics_read

_TOPICS = topics_of(Options(), prefix="p-")


def _scope(*shortened: str, kept_from_ms: int | None = None, read_from_ms: int | None = None, **heads_ms: int) -> Scope:
    return scope_of(
        3,
        _TOPICS,
        reads_from={},
        begins={},
        due_before={},
        shortened=[getattr(_TOPICS, name) for name in shortened],
        heads_ms={getattr(_TOPICS, name): at_ms for name, at_ms in heads_ms.items()},
        letters_kept_from_ms={} if kept_from_ms is None else {_TOPICS.dlq_ranker: kept_from_ms},
        read_from_ms=read_from_ms,
        dead={},
    )


def test_where_nothing_is_gone_everything_can_be_proven() -> None:
    scope = _scope(ranked_suggestions=5)
    assert set(scope.proven_from_ms.values()) == {0}
    assert scope.counted_from_ms is None


def test_a_record_can_be_proven_from_when_on_all_that_was_made_of_it_is_there() -> None:
    scope = _scope("ranked_suggestions", "suggestion_audit", ranked_suggestions=500, suggestion_audit=300)
    assert scope.proven_from_ms[_TOPICS.raw_suggestions] == 500 + MARGIN_MS
    assert scope.proven_from_ms[_TOPICS.suggestion_clicks] == 300 + MARGIN_MS
    assert scope.proven_from_ms[_TOPICS.acceptance_exports] == 300 + MARGIN_MS


def test_of_a_topic_of_which_all_is_gone_nobody_knows_from_when_on() -> None:
    assert _scope("acceptance_exports").proven_from_ms[_TOPICS.suggestion_clicks] == float("inf")


@pytest.mark.parametrize(
    ("head_ms", "kept_from_ms", "gone_ms"),
    [(None, None, None), (9, None, 9), (900, 7, 7), (None, 7, 7), (5, 7, 5)],
)
def test_dead_letters_that_are_gone_were_older_than_those_that_are_left_and_than_kafka_keeps_them(
    head_ms: int | None, kept_from_ms: int | None, gone_ms: int | None
) -> None:
    """Letters are few: the first one that is left may be of a minute ago, and hides no loss of an hour ago."""
    heads = {} if head_ms is None else {"dlq_ranker": head_ms}
    scope = _scope("dlq_ranker", kept_from_ms=kept_from_ms, **heads)
    assert scope.proven_from_ms[_TOPICS.raw_suggestions] == (0 if gone_ms is None else gone_ms + MARGIN_MS)


@pytest.mark.parametrize(
    ("shortened", "heads_ms", "read_from_ms", "expected"),
    [
        (("ranked_suggestions",), {"ranked_suggestions": 7}, None, 7),
        (("ranked_suggestions", "suggestion_clicks"), {"ranked_suggestions": 7, "suggestion_clicks": 9}, None, 9),
        (("suggestion_clicks",), {}, None, float("inf")),
        ((), {"ranked_suggestions": 7}, 5, 5),
        (("acceptance_exports",), {}, None, None),
    ],
)
def test_counts_are_known_from_when_on_both_lists_and_clicks_are(
    shortened: tuple[str, ...], heads_ms: dict[str, int], read_from_ms: int | None, expected: float | None
) -> None:
    assert _scope(*shortened, read_from_ms=read_from_ms, **heads_ms).counted_from_ms == expected


def test_lists_stand_before_clicks() -> None:
    assert topics_exact(_TOPICS) == ["p-ranked-suggestions", "p-suggestion-clicks"]
    assert [topic for topic in topics_read(_TOPICS) if topic in topics_exact(_TOPICS)] == topics_exact(_TOPICS)
