"""The dead-letter budget."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.budget import Budget, Options, Overrun

_OPTIONS = Options(max_ratio=0.5, window_records=10, max_consecutive=3)


def work(budget: Budget, *offsets: int, dead: Iterable[int] = (), topic: str = "raw") -> Overrun | None:
    """What comes of one batch; it is committed where it may be."""
    charge = budget.charge({topic: offsets}, {topic: dict.fromkeys(dead, "no JSON")})
    if isinstance(charge, Overrun):
        return charge
    budget.adopt(charge, {topic: offsets[-1] + 1} if offsets else {})
    return None


def test_up_to_the_limit_in_a_row_dead_letters_are_fine() -> None:
    budget = Budget(_OPTIONS)
    assert work(budget, 0, 1, 2, dead=[0, 1, 2]) is None
    assert not budget.is_spent


def test_one_more_in_a_row_spends_the_budget_and_tells_where_and_what_helps() -> None:
    budget = Budget(_OPTIONS)
    work(budget, 0, 1, 2, dead=[0, 1, 2])
    assert work(budget, 3, dead=[3]) == Overrun(topic="raw", offset=3, rule="consecutive")
    assert budget.is_spent
    assert budget.reason == (
        "more than 3 records of raw in a row cannot be used, the last one at offset 3 (no JSON): "
        "they stay on the topic until they can be, or until dlq.max_consecutive allows more"
    )


def test_a_record_that_can_be_used_ends_a_row() -> None:
    budget = Budget(_OPTIONS)
    assert work(budget, *range(8), dead=[0, 1, 2, 4, 5]) is None
    assert work(budget, 8, 9, 10, dead=[8, 9, 10]) == Overrun(topic="raw", offset=8, rule="ratio")


def test_more_than_the_ratio_of_the_last_records_spends_the_budget() -> None:
    budget = Budget(_OPTIONS)
    assert work(budget, *range(10), dead=[0, 2, 4, 6, 8]) is None
    assert work(budget, 10, 11, dead=[11]) is None, "the first one has left the window"
    overrun = work(budget, 12, 13, dead=[12, 13])
    assert overrun == Overrun(topic="raw", offset=13, rule="ratio")
    assert "more than 50% of the last 10 records of raw" in budget.reason
    assert "dlq.max_ratio" in budget.reason


def test_a_ratio_of_1_is_no_limit() -> None:
    budget = Budget(Options(max_ratio=1, window_records=10, max_consecutive=1_000))
    assert work(budget, *range(500), dead=range(500)) is None


def test_nothing_of_a_batch_that_is_too_much_is_counted() -> None:
    budget = Budget(_OPTIONS)
    for _ in range(3):
        assert work(budget, *range(9), dead=range(5, 9)) == Overrun(topic="raw", offset=8, rule="consecutive")


def test_nothing_of_a_batch_that_was_not_committed_is_counted() -> None:
    budget = Budget(_OPTIONS)
    for _ in range(9):
        budget.charge({"raw": [0, 1]}, {"raw": {0: "no", 1: "no"}})
    assert work(budget, 0, 1, 2, dead=[0, 1, 2]) is None


def test_what_comes_before_the_record_that_was_too_much_makes_nothing_whole() -> None:
    budget = Budget(_OPTIONS)
    assert work(budget, *range(5), dead=range(1, 5)) is not None
    assert work(budget, 0) is None
    assert budget.is_spent
    assert work(budget, 1, 2, 3, dead=[1, 2, 3]) is None
    assert work(budget, 4, dead=[4]) == Overrun(topic="raw", offset=4, rule="consecutive")


def test_once_the_record_that_was_too_much_can_be_used_all_is_forgiven() -> None:
    budget = Budget(_OPTIONS)
    assert work(budget, *range(4), dead=range(4)) is not None
    assert work(budget, 0, 1, 2, dead=[0, 1, 2]) is None
    assert work(budget, 3) is None
    assert not budget.is_spent
    assert work(budget, 4, 5, 6, dead=[4, 5, 6]) is None


def test_where_what_came_before_is_mended_the_record_itself_may_be_set_aside() -> None:
    budget = Budget(_OPTIONS)
    assert work(budget, *range(4), dead=range(4)) is not None
    assert work(budget, *range(4), dead=[3]) is None
    assert not budget.is_spent


def test_a_record_that_retention_took_holds_up_nothing() -> None:
    budget = Budget(_OPTIONS)
    assert work(budget, *range(4), dead=range(4)) is not None
    assert work(budget, 9) is None
    assert not budget.is_spent


def test_what_another_process_has_used_is_forgiven() -> None:
    """A number that went to another one and came back begins behind the record that was too much."""
    budget = Budget(_OPTIONS)
    budget.begin_at({"raw": 0})
    assert work(budget, *range(4), dead=range(4)) is not None
    budget.begin_at({"raw": 3, "other": 9})
    assert budget.is_spent
    budget.begin_at({"raw": 4})
    assert not budget.is_spent
    assert work(budget, 4, 5, 6, dead=[4, 5, 6]) is None


def test_what_another_process_has_worked_meanwhile_ends_a_row() -> None:
    """It may have been a hundred thousand good ones."""
    budget = Budget(_OPTIONS)
    budget.begin_at({"raw": 0})
    assert work(budget, 0, 1, 2, dead=[0, 1, 2]) is None
    budget.begin_at({"raw": 1_000})
    assert work(budget, 1_000, 1_001, 1_002, dead=[1_000, 1_001, 1_002]) is None
    budget.begin_at({"raw": 1_003})
    assert work(budget, 1_003, dead=[1_003]) == Overrun(topic="raw", offset=1_003, rule="consecutive"), "nobody has"


def test_each_topic_has_its_own_count() -> None:
    """Lists that can be used say nothing about clicks."""
    budget = Budget(_OPTIONS)
    for offset in range(3):
        assert work(budget, offset, topic="ranked") is None
        assert work(budget, offset, dead=[offset], topic="clicks") is None
    assert work(budget, 3, dead=[3], topic="clicks") == Overrun(topic="clicks", offset=3, rule="consecutive")
    assert work(budget, 3, topic="ranked") is None
    assert budget.is_spent, "the clicks are no better for it"


def test_batches_without_a_record_of_a_topic_end_no_row_of_its_dead_letters() -> None:
    """Lists come all the time, and the position of the clicks is named with each batch of them."""
    budget = Budget(_OPTIONS)
    for offset in range(3):
        assert work(budget, offset, dead=[offset], topic="clicks") is None
        assert work(budget, topic="clicks") is None
    assert work(budget, 3, dead=[3], topic="clicks") == Overrun(topic="clicks", offset=3, rule="consecutive")


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 7))
def test_how_the_records_come_in_batches_makes_no_difference(dead: list[bool], size: int) -> None:
    whole, parts = Budget(_OPTIONS), Budget(_OPTIONS)
    at_once = work(whole, *range(len(dead)), dead=[at for at, is_dead in enumerate(dead) if is_dead])
    in_parts = None
    for start in range(0, len(dead), size):
        offsets = range(start, min(start + size, len(dead)))
        in_parts = work(parts, *offsets, dead=[at for at in offsets if dead[at]])
        if in_parts is not None:
            break
    assert at_once == in_parts


@pytest.mark.parametrize("dead", [(), (2,)])
def test_a_budget_is_not_spent_before_anything_was_too_much(dead: tuple[int, ...]) -> None:
    budget = Budget(_OPTIONS)
    work(budget, 1, 2, 3, dead=dead)
    assert (budget.is_spent, budget.reason) == (False, "")
