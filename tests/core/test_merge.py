"""The merge of lists and clicks by the brokers' time: a click sees exactly the lists appended before it."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from bridge.core.merge import Merge
from bridge.core.records import Record, StoredRecord

_LISTS, _CLICKS = "lists", "clicks"


def _merge() -> Merge:
    return Merge(first=_LISTS, second=_CLICKS)


def _record(topic: str, offset: int, at_ms: int) -> StoredRecord:
    return StoredRecord(topic=topic, offset=offset, timestamp=at_ms)


def _released(merge: Merge) -> list[tuple[str, int]]:
    released = []
    while (record := merge.pop()) is not None:
        released.append((record.topic, record.offset))
    return released


def test_a_click_waits_for_lists_that_were_appended_before_it() -> None:
    merge = _merge()
    merge.add([_record(_CLICKS, 0, 10)], positions={_LISTS: 0, _CLICKS: 1}, ends={_LISTS: 1, _CLICKS: 1})
    assert _released(merge) == []
    assert merge.positions == {_LISTS: 0, _CLICKS: 0}
    merge.add([_record(_LISTS, 0, 9)], positions={_LISTS: 1, _CLICKS: 1}, ends={_LISTS: 1, _CLICKS: 1})
    assert _released(merge) == [(_LISTS, 0), (_CLICKS, 0)]
    assert merge.positions == {_LISTS: 1, _CLICKS: 1}


def test_a_list_waits_for_clicks_that_were_appended_before_it() -> None:
    merge = _merge()
    merge.add([_record(_LISTS, 0, 10)], positions={_LISTS: 1, _CLICKS: 0}, ends={_LISTS: 1, _CLICKS: 1})
    assert _released(merge) == []
    merge.add([_record(_CLICKS, 0, 9)], positions={_LISTS: 1, _CLICKS: 1}, ends={_LISTS: 1, _CLICKS: 1})
    assert _released(merge) == [(_CLICKS, 0), (_LISTS, 0)]


def test_a_list_stands_before_a_click_of_the_same_time() -> None:
    merge = _merge()
    both = [_record(_CLICKS, 0, 10), _record(_LISTS, 0, 10)]
    merge.add(both, positions={_LISTS: 1, _CLICKS: 1}, ends={_LISTS: 9, _CLICKS: 9})
    # The list is released by the click that waits; the click itself by nothing yet: another list may be as old.
    assert _released(merge) == [(_LISTS, 0)]
    assert merge.positions == {_LISTS: 1, _CLICKS: 0}


def test_a_younger_record_of_the_other_topic_releases_all_before_it() -> None:
    merge = _merge()
    records = [_record(_CLICKS, 0, 1), _record(_CLICKS, 1, 2), _record(_LISTS, 0, 3)]
    merge.add(records, positions={_LISTS: 1, _CLICKS: 2}, ends={_LISTS: 9, _CLICKS: 9})
    assert _released(merge) == [(_CLICKS, 0), (_CLICKS, 1)]
    assert merge.waiting == 1


def test_an_open_transaction_holds_a_click_until_it_is_read_over() -> None:
    """What stands in an open transaction was appended before the click, and the end counts it."""
    merge = _merge()
    merge.add([_record(_CLICKS, 0, 10)], positions={_LISTS: 5, _CLICKS: 1}, ends={_LISTS: 7, _CLICKS: 1})
    assert _released(merge) == []
    # The transaction was aborted: only the position moves, past its records and its marker.
    merge.add([], positions={_LISTS: 7, _CLICKS: 1}, ends={_LISTS: 8, _CLICKS: 1})
    assert _released(merge) == [(_CLICKS, 0)]


def test_the_end_that_counts_is_the_one_sampled_after_the_fetch() -> None:
    merge = _merge()
    merge.add([_record(_CLICKS, 0, 10)], positions={_LISTS: 5, _CLICKS: 1}, ends={_LISTS: 6, _CLICKS: 1})
    merge.add([_record(_CLICKS, 1, 20)], positions={_LISTS: 6, _CLICKS: 2}, ends={_LISTS: 9, _CLICKS: 2})
    assert _released(merge) == [(_CLICKS, 0)]
    assert merge.positions == {_LISTS: 6, _CLICKS: 1}


def test_without_a_position_or_an_end_nothing_is_released() -> None:
    merge = _merge()
    merge.add([_record(_CLICKS, 0, 10)], positions={_CLICKS: 1}, ends={})
    merge.add([_record(_CLICKS, 1, 11)], positions={_CLICKS: 2}, ends={_LISTS: 0})
    assert _released(merge) == []
    assert merge.positions == {_CLICKS: 0}


def test_a_topic_has_no_room_while_so_many_wait() -> None:
    """D9: what waits for the other topic is bounded."""
    merge = _merge()
    assert merge.topics_with_room(2) == [_LISTS, _CLICKS]
    merge.add([_record(_CLICKS, at, at) for at in range(2)], positions={_LISTS: 0, _CLICKS: 2}, ends={_LISTS: 1})
    assert merge.pop() is None
    assert merge.topics_with_room(2) == [_LISTS]
    merge.add([], positions={_LISTS: 1}, ends={})
    assert merge.pop() is not None
    assert merge.topics_with_room(2) == [_LISTS, _CLICKS]


@dataclass(frozen=True)
class _Log:
    """One topic's partition in full; `visible` are its offsets without the holes that transactions leave."""

    records: list[StoredRecord]
    end: int


def _log(topic: str, steps: list[tuple[int, int]]) -> _Log:
    at_ms = offset = 0
    records = []
    for later_ms, hole in steps:
        at_ms += later_ms
        offset += hole
        records.append(_record(topic, offset, at_ms))
        offset += 1
    return _Log(records=records, end=offset)


_steps = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), max_size=12)


@given(lists=_steps, clicks=_steps, data=st.data())
def test_any_way_of_reading_gives_the_order_of_the_brokers_time(
    lists: list[tuple[int, int]], clicks: list[tuple[int, int]], data: st.DataObject
) -> None:
    """Whatever is fetched when, and whatever was appended by then: the order is that of the whole log."""
    logs = {_LISTS: _log(_LISTS, lists), _CLICKS: _log(_CLICKS, clicks)}
    in_order = sorted(
        [*logs[_LISTS].records, *logs[_CLICKS].records], key=lambda each: (each.timestamp, each.topic == _CLICKS)
    )
    merge, now_ms, taken = _merge(), 0, {_LISTS: 0, _CLICKS: 0}
    released: list[Record] = []
    last_ms = max((each.timestamp for each in in_order), default=0) + 1
    for _ in range(100):
        # Time goes on, some of what is there is fetched, then the ends are sampled, then some of it is released.
        now_ms = min(last_ms, now_ms + data.draw(st.integers(0, 4)))
        batch: list[StoredRecord] = []
        for topic, log in logs.items():
            there = [each for each in log.records if each.timestamp < now_ms]
            upto = data.draw(st.integers(taken[topic], len(there)))
            batch += log.records[taken[topic] : upto]
            taken[topic] = upto
        now_ms = min(last_ms, now_ms + data.draw(st.integers(0, 2)))
        merge.add(
            batch,
            positions={topic: _position(log, taken[topic]) for topic, log in logs.items()},
            ends={topic: _end(log, now_ms) for topic, log in logs.items()},
        )
        popped = (merge.pop() for _ in range(data.draw(st.integers(0, 6))))
        released += [record for record in popped if record is not None]
        assert released == in_order[: len(released)]
        assert merge.positions == _first_unreleased(logs, taken, released)
        if now_ms == last_ms and data.draw(st.booleans()):
            break
    ends = {topic: log.end for topic, log in logs.items()}
    rest = [record for topic, log in logs.items() for record in log.records[taken[topic] :]]
    merge.add(rest, positions=ends, ends=ends)
    while (record := merge.pop()) is not None:
        released.append(record)
    assert released == in_order
    assert merge.positions == ends


def _position(log: _Log, taken: int) -> int:
    return log.records[taken].offset if taken < len(log.records) else log.end


def _end(log: _Log, now_ms: int) -> int:
    return max((each.offset + 1 for each in log.records if each.timestamp < now_ms), default=0)


def _first_unreleased(logs: dict[str, _Log], taken: dict[str, int], released: list[Record]) -> dict[str, int]:
    positions = {}
    for topic, log in logs.items():
        done = sum(record.topic == topic for record in released)
        positions[topic] = _position(log, taken[topic]) if done == taken[topic] else log.records[done].offset
    return positions
