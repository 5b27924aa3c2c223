"""Which partition numbers of an assignment can be worked."""

from bridge.core.assignment import workable_numbers


def test_a_number_whose_topics_all_came_is_worked() -> None:
    assigned = [("lists", 0), ("clicks", 0), ("lists", 1), ("clicks", 1)]
    assert workable_numbers(assigned, {"lists": 2, "clicks": 2}) == ({0, 1}, {})


def test_a_number_of_which_a_topic_is_elsewhere_is_parked() -> None:
    workable, parked = workable_numbers([("lists", 0), ("clicks", 0), ("lists", 1)], {"lists": 2, "clicks": 2})
    assert workable == {0}
    assert parked == {1: "another member of the group holds one of its topics"}


def test_topics_of_different_sizes_park_everything() -> None:
    """Co-partitioning is broken: a key has another number on each of them."""
    workable, parked = workable_numbers([("lists", 0), ("clicks", 0)], {"lists": 2, "clicks": 4})
    assert workable == set()
    assert parked == {0: "the topics differ in partitions (lists has 2, clicks has 4)"}


def test_a_topic_that_has_gained_partitions_parks_everything_though_it_is_the_only_one() -> None:
    """What the hop writes to has no such numbers."""
    workable, parked = workable_numbers([("lists", 0), ("lists", 2)], {"lists": 3}, expected=2)
    assert workable == set()
    told = "the topics differ in partitions (lists has 3; topics.partitions is 2)"
    assert parked == {0: told, 2: told}
    assert workable_numbers([("lists", 0)], {"lists": 2}, expected=2) == ({0}, {})


def test_nothing_assigned_is_nothing_to_work() -> None:
    assert workable_numbers([], {"lists": 2}) == (set(), {})
