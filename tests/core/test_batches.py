"""Ranked lists as a program reads them, clicks and subscriptions as it writes them."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from bridge.core.batches import RankedBatch, Suggestion, batch_of, click_on, subscription_of
from bridge.core.ranking import Options, rank
from bridge.core.records import StoredRecord
from bridge.core.values import ContextWindow, decode_click, encode

_WHOLE = (
    b'{"id":"s","title":"T\xc3\xbcr","type":"knowledge","confidence":0.850,"relevanceScore":1,'
    b'"knowledgeArticleId":"a","x":12345678901234567890}'
)
_SUGGESTION = Suggestion(
    interaction_id="i",
    id="s",
    title="",
    type="",
    confidence=None,
    relevance_score=None,
    knowledge_article_id="a",
    raw=b"{}",
)


def _record(*suggestions: bytes, key: bytes = b"i", latency_ms: bytes = b"42") -> StoredRecord:
    value = b'{"interactionId":"i","timestamp":"2026-01-05T10:00:00.120Z","rankedSuggestions":[%b],"latencyMs":%b}' % (
        b",".join(suggestions),
        latency_ms,
    )
    return StoredRecord(topic="ranked", key=key, value=value)


def test_a_list_has_its_suggestions_in_order_each_with_its_bytes() -> None:
    """T13."""
    assert batch_of(_record(_WHOLE, b"{}", latency_ms=b"1.5")) == RankedBatch(
        interaction_id="i",
        timestamp="2026-01-05T10:00:00.120Z",
        latency_ms=1.5,
        ranked_suggestions=(
            Suggestion(
                interaction_id="i",
                id="s",
                title="Tür",
                type="knowledge",
                confidence=0.85,
                relevance_score=1.0,
                knowledge_article_id="a",
                raw=_WHOLE,
            ),
            replace(_SUGGESTION, id="", knowledge_article_id=""),
        ),
    )


def test_fields_of_another_type_are_as_if_left_out() -> None:
    batch = batch_of(_record(b'{"id":7,"title":null,"type":[],"knowledgeArticleId":{}}'))
    assert batch is not None
    assert replace(batch.ranked_suggestions[0], raw=b"{}") == replace(_SUGGESTION, id="", knowledge_article_id="")


@pytest.mark.parametrize(
    "record",
    [
        StoredRecord(topic="ranked", key=b"i", value=None),
        StoredRecord(topic="ranked", key=b"i", value=b"hello"),
        StoredRecord(topic="ranked", key=b"i", value=b'{"interactionId":"i"}'),
        _record(),
        _record(b'"no object"'),
        _record(b'{"confidence":"high"}'),
        _record(b'{"confidence":1' + b"0" * 400 + b"}"),
        _record(_WHOLE, key=b"another"),
    ],
)
def test_what_is_no_ranked_list_is_passed_over(record: StoredRecord) -> None:
    assert batch_of(record) is None


_anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)
_scores = st.none() | st.floats(0, 1)
_suggestions = st.fixed_dictionaries(
    {"confidence": _scores, "relevanceScore": _scores},
    optional={"id": _anything, "title": _anything, "type": _anything, "knowledgeArticleId": _anything},
)


@given(st.lists(_suggestions, max_size=5))
def test_whatever_the_ranker_writes_can_be_read(suggestions: list[dict[str, Any]]) -> None:
    frame = json.dumps({"interactionId": "i", "suggestions": suggestions}).encode()
    ranking = rank(frame, at_ms=0, options=Options())
    batch = batch_of(StoredRecord(topic="ranked", key=b"i", value=ranking.value))
    assert (0 if batch is None else len(batch.ranked_suggestions)) == ranking.ranked


def test_a_click_is_one_that_the_bridge_counts() -> None:
    click = click_on(_SUGGESTION, click_id="c", agent_id=None, at_ms=1_767_607_200_120)
    assert encode(click) == (
        b'{"interactionId":"i","suggestionId":"s","articleId":"a","clickedAt":"2026-01-05T10:00:00.120Z","clickId":"c"}'
    )
    assert decode_click(StoredRecord(topic="clicks", key=b"i", value=encode(click))) == click
    assert click_on(_SUGGESTION, click_id="c", agent_id="agent-7", at_ms=0).agent_id == "agent-7"


@pytest.mark.parametrize(
    ("suggestion", "click_id", "agent_id"),
    [
        (replace(_SUGGESTION, id=""), "c", None),
        (replace(_SUGGESTION, knowledge_article_id=""), "c", None),
        (replace(_SUGGESTION, id="s" * 257), "c", None),
        (_SUGGESTION, "", None),
        (_SUGGESTION, "c" * 257, None),
        (_SUGGESTION, "c", ""),
    ],
)
def test_a_click_that_the_bridge_would_set_aside_is_refused(
    suggestion: Suggestion, click_id: str, agent_id: str | None
) -> None:
    with pytest.raises(ValueError, match="no click that can be counted"):
        click_on(suggestion, click_id=click_id, agent_id=agent_id, at_ms=0)


def test_what_a_subscription_leaves_out_is_left_to_the_options() -> None:
    subscription = subscription_of("i", context_window=None, suggestion_types=None)
    assert encode(subscription) == b'{"interactionId":"i"}'


def test_a_subscription_carries_its_window_and_types() -> None:
    """T4: the tutorial's `contextWindow` and `suggestionTypes`."""
    end = datetime(2026, 1, 5, 11, tzinfo=timezone(timedelta(hours=1)))
    window = (datetime(2026, 1, 5, 9, 55, 0, 1999, tzinfo=UTC), end)
    subscription = subscription_of("i", context_window=window, suggestion_types=["knowledge"])
    assert subscription.context_window == ContextWindow(
        start="2026-01-05T09:55:00.001Z", end="2026-01-05T10:00:00.000Z"
    )
    assert subscription.suggestion_types == ("knowledge",)


@pytest.mark.parametrize("interaction_id", ["", "i" * 257])
def test_a_subscription_that_the_bridge_would_set_aside_is_refused(interaction_id: str) -> None:
    with pytest.raises(ValueError, match="no subscription"):
        subscription_of(interaction_id, context_window=None, suggestion_types=None)


@pytest.mark.parametrize("zones", [(None, UTC), (UTC, None)])
def test_a_window_without_a_time_zone_is_refused(zones: tuple[timezone | None, timezone | None]) -> None:
    start, end = (datetime(2026, 1, 5, 10, tzinfo=zone) for zone in zones)
    with pytest.raises(ValueError, match="time zone"):
        subscription_of("i", context_window=(start, end), suggestion_types=None)
