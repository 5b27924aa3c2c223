"""What a status comes to."""

from bridge.core.status import GroupStatus, PartitionStatus, inputs_of
from bridge.core.topics import Options, topics_of

_TOPICS = topics_of(Options(), prefix="p-")


def _partition(
    *, lag: int | None = 0, oldest_s: float | None = None, owner: str = "me", hidden: int = 0
) -> PartitionStatus:
    return PartitionStatus(
        topic="t", partition=0, owner=owner, position=0, end=0, lag=lag, oldest_s=oldest_s, hidden=hidden
    )


def _group(*partitions: PartitionStatus) -> GroupStatus:
    return GroupStatus(worker="ranker", group="ranker", state="Stable", members=1, partitions=list(partitions))


def test_the_lag_of_a_group_is_that_of_all_its_partitions_or_unknown() -> None:
    assert _group(_partition(lag=2), _partition(lag=3)).lag == 5
    assert _group(_partition(lag=2), _partition(lag=None)).lag is None
    assert _group().lag is None


def test_the_oldest_record_of_a_group_is_the_oldest_of_any_partition() -> None:
    assert _group(_partition(oldest_s=2.0), _partition(oldest_s=3.0), _partition()).oldest_s == 3.0
    assert _group(_partition()).oldest_s is None


def test_what_open_transactions_hide_of_a_group_is_the_sum_of_its_partitions() -> None:
    assert _group(_partition(hidden=2), _partition(), _partition(hidden=3)).hidden == 5


def test_partitions_that_nobody_owns_are_counted() -> None:
    assert _group(_partition(), _partition(owner="")).unowned == 1


def test_every_worker_has_its_inputs() -> None:
    assert list(inputs_of(_TOPICS)) == ["ingress", "ranker", "tally", "exporter"]
    assert inputs_of(_TOPICS)["tally"] == ["p-ranked-suggestions", "p-suggestion-clicks"]
