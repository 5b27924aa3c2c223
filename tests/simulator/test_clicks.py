import json
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.errors import MalformedError
from bridge.core.records import StoredRecord
from bridge.core.values import Click, decode_click
from bridge.simulator.clicks import (
    ClickMix,
    PlannedClick,
    RankedList,
    RankedSuggestion,
    malformed,
    plan_clicks,
    plan_good_click,
)

ALWAYS = ClickMix(
    click_share=1,
    top_share=1,
    second_share=0,
    repeat_share=0,
    malformed_share=0,
    misplaced_share=0,
    without_id_share=0,
    min_delay_s=1,
    max_delay_s=2,
)
RANKED = RankedList(
    interaction_id="i-1",
    ranked_suggestions=(
        RankedSuggestion(id="s-0"),
        RankedSuggestion(id="s-1", knowledge_article_id="a-1", sent_at=77),
        RankedSuggestion(id="s-2", knowledge_article_id="a-2"),
    ),
)


def planned(mix: ClickMix, *, seed: int = 1) -> list[PlannedClick]:
    return plan_clicks(RANKED, mix=mix, at_ms=1_000_000, chance=Random(seed))


def decoded(click: PlannedClick) -> Click:
    return decode_click(StoredRecord(topic="suggestion-clicks", key=click.key, value=click.value))


def test_takes_the_top_suggestion_that_has_an_article() -> None:
    (click,) = planned(ALWAYS)

    assert (click.kind, click.suggestion_id, click.article_id) == ("good", "s-1", "a-1")
    assert 1 <= click.delay_s <= 2
    value = decoded(click)
    assert (value.interaction_id, value.suggestion_id, value.article_id) == ("i-1", "s-1", "a-1")
    assert value.click_id == click.click_id
    assert value.agent_id is not None


def test_takes_another_one_when_it_does_not_take_the_top() -> None:
    (click,) = planned(replace(ALWAYS, top_share=0))

    assert click.suggestion_id == "s-2"


def test_does_not_click_when_it_need_not_or_cannot() -> None:
    assert planned(replace(ALWAYS, click_share=0)) == []
    nothing = RankedList(interaction_id="i-1", ranked_suggestions=(RankedSuggestion(id="s-0"),))
    assert plan_clicks(nothing, mix=ALWAYS, at_ms=0, chance=Random(1)) == []


def test_a_second_click_is_on_another_suggestion() -> None:
    clicks = planned(replace(ALWAYS, second_share=1))

    assert [click.suggestion_id for click in clicks] == ["s-1", "s-2"]
    assert clicks[0].click_id != clicks[1].click_id


def test_a_repeat_has_the_same_bytes() -> None:
    first, second = planned(replace(ALWAYS, repeat_share=1))

    assert (first.kind, second.kind) == ("good", "repeat")
    assert first.value == second.value
    assert first.delay_s < second.delay_s


def test_a_click_without_an_id_is_a_good_one() -> None:
    (click,) = planned(replace(ALWAYS, without_id_share=1))

    assert click.click_id is None
    assert decoded(click).click_id is None


def test_a_misplaced_click_is_a_good_one() -> None:
    (click,) = planned(replace(ALWAYS, misplaced_share=1))

    assert (click.kind, click.is_misplaced) == ("good", True)


def test_the_same_seed_clicks_the_same() -> None:
    assert planned(ClickMix(click_share=1), seed=5) == planned(ClickMix(click_share=1), seed=5)


@given(st.integers(0, 10_000))
def test_a_malformed_click_is_one_that_the_bridge_refuses(seed: int) -> None:
    chance = Random(seed)
    click = malformed(plan_good_click(RANKED, at_ms=5, chance=chance), chance=chance)

    assert click.kind == "malformed"
    with pytest.raises(MalformedError):
        decoded(click)


def test_tells_when_the_frame_was_sent() -> None:
    assert RANKED.sent_at_ms == 77
    assert json.loads(plan_good_click(RANKED, at_ms=5, chance=Random(1)).value)["clickedAt"].endswith("00.005Z")
