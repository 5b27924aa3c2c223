"""Topics in step: the order of the records' own time, exact where it counts."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.records import Record, StoredRecord
from bridge.core.verify_in_step import InStep

_TIMES = st.lists(st.integers(min_value=0, max_value=5_000), max_size=12)


def _topic(name: str, times: Sequence[int]) -> list[Record]:
    return [StoredRecord(topic=name, offset=at, timestamp=at_ms) for at, at_ms in enumerate(times)]


def _whole(in_step: InStep, **topics: Sequence[int]) -> None:
    for name, times in topics.items():
        in_step.feed(name, _topic(name, times), position=len(times), is_over=True)


def _order(in_step: InStep) -> list[tuple[str, int]]:
    order = []
    while (run := in_step.next_run()) is not None:
        topic, records = run
        assert {record.topic for record in records} == {topic}
        order += [(topic, record.timestamp) for record in records]
    return order


def _two(*, exact: bool = True) -> InStep:
    return InStep({"lists": 0, "clicks": 0}, exact=["lists", "clicks"] if exact else [])


def test_records_come_in_the_order_of_their_time() -> None:
    in_step = _two()
    _whole(in_step, lists=[1, 5, 6], clicks=[2, 3, 7])
    assert _order(in_step) == [
        ("lists", 1),
        ("clicks", 2),
        ("clicks", 3),
        ("lists", 5),
        ("lists", 6),
        ("clicks", 7),
    ]


def test_of_records_of_one_time_those_of_the_topic_that_is_named_first_come_first() -> None:
    in_step = _two()
    _whole(in_step, clicks=[5, 5], lists=[5, 5, 6])
    assert _order(in_step) == [("lists", 5), ("lists", 5), ("clicks", 5), ("clicks", 5), ("lists", 6)]


def test_other_topics_may_be_a_second_ahead_and_no_more() -> None:
    in_step = _two(exact=False)
    _whole(in_step, lists=[0, 900, 1_500], clicks=[200])
    assert _order(in_step) == [("lists", 0), ("lists", 900), ("clicks", 200), ("lists", 1_500)]


@given(lists=_TIMES, clicks=_TIMES)
def test_exact_topics_are_merged_by_their_heads(lists: list[int], clicks: list[int]) -> None:
    """Also where a clock was set back: the older of the two that stand first is taken, as the tally does."""
    in_step = _two()
    _whole(in_step, lists=lists, clicks=clicks)
    expected, left, right = [], list(lists), list(clicks)
    while left or right:
        is_list = bool(left) and (not right or left[0] <= right[0])
        expected.append(("lists", left.pop(0)) if is_list else ("clicks", right.pop(0)))
    assert _order(in_step) == expected


@given(lists=_TIMES, clicks=_TIMES, audit=_TIMES, at_a_time=st.integers(min_value=1, max_value=4))
def test_in_what_portions_they_are_fed_makes_no_difference_to_exact_topics(
    lists: list[int], clicks: list[int], audit: list[int], at_a_time: int
) -> None:
    def fed(at_a_time: int) -> list[tuple[str, int]]:
        topics = {"lists": _topic("lists", lists), "clicks": _topic("clicks", clicks), "audit": _topic("audit", audit)}
        in_step = InStep(dict.fromkeys(topics, 0), exact=["lists", "clicks"])
        fed_to, order = dict.fromkeys(topics, 0), []
        while True:
            order += [one for one in _order(in_step) if one[0] != "audit"]
            if not (wanting := in_step.wanting()):
                return order
            for topic in wanting:
                start, records = fed_to[topic], topics[topic]
                end = fed_to[topic] = min(start + at_a_time, len(records))
                in_step.feed(topic, records[start:end], position=end, is_over=end == len(records))

    assert fed(at_a_time) == fed(100)


def test_nothing_comes_while_a_topic_is_wanting() -> None:
    in_step = _two()
    in_step.feed("lists", _topic("lists", [1]), position=1, is_over=False)
    assert in_step.wanting() == ["clicks"]
    assert in_step.next_run() is None
    in_step.feed("clicks", [], position=0, is_over=False)
    assert in_step.wanting() == ["clicks"]
    in_step.feed("clicks", [], position=4, is_over=True)
    assert _order(in_step) == [("lists", 1)]
    assert in_step.wanting() == ["lists"]
    in_step.feed("lists", [], position=7, is_over=True)
    assert (in_step.wanting(), in_step.next_run()) == ([], None)


def test_a_position_is_the_next_record_that_was_not_handed_out() -> None:
    in_step = InStep({"lists": 3, "clicks": 0}, exact=["lists", "clicks"])
    assert in_step.position("lists") == 3
    records = [StoredRecord(topic="lists", offset=offset, timestamp=offset) for offset in (4, 9)]
    in_step.feed("lists", records, position=12, is_over=False)
    in_step.feed("clicks", [StoredRecord(topic="clicks", offset=0, timestamp=5)], position=1, is_over=False)
    assert in_step.position("lists") == 4
    assert in_step.heads_ms() == {"lists": 4, "clicks": 5}
    in_step.next_run()
    assert (in_step.position("lists"), in_step.position("clicks")) == (9, 0)
    in_step.next_run()
    assert in_step.position("clicks") == 1
    in_step.feed("clicks", [], position=8, is_over=True)
    in_step.next_run()
    assert (in_step.position("lists"), in_step.position("clicks")) == (12, 8)


@pytest.mark.parametrize("exact", [True, False])
def test_a_topic_alone_comes_in_one_run(exact: bool) -> None:
    in_step = _two(exact=exact)
    _whole(in_step, lists=[1, 100_000, 2], clicks=[])
    run = in_step.next_run()
    assert run is not None
    assert [record.timestamp for record in run[1]] == [1, 100_000, 2]
