"""The lag of numbers that are not running, with clients that say what the test wants."""

from collections.abc import Iterable
from typing import Any, cast

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError

from bridge.adapters.kafka import idle
from bridge.adapters.kafka.idle import IdleLag
from bridge.core.errors import UnavailableError

FIRST, SECOND = TopicPartition("lists", 0), TopicPartition("lists", 1)


class Kafka:
    """Two partitions that begin at 2 and end at 10; what the group has committed of them, None where nobody answers."""

    def __init__(self) -> None:
        self.committed: dict[TopicPartition, int] | None = {}
        self.is_there = True
        self.asked: list[TopicPartition] = []

    async def end_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        if not self.is_there:
            raise KafkaConnectionError
        return dict.fromkeys(partitions, 10)

    async def beginning_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 2)

    async def committed_positions(
        self, _: object, group: str, partitions: Iterable[TopicPartition], *, timeout_s: float
    ) -> dict[TopicPartition, int]:
        assert (group, timeout_s) == ("ranker", 2)
        if self.committed is None:
            raise UnavailableError("Kafka", "no coordinator")
        self.asked += (asked := list(partitions))
        return {partition: self.committed[partition] for partition in asked if partition in self.committed}


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> Kafka:
    kafka = Kafka()
    monkeypatch.setattr(idle, "committed_positions", kafka.committed_positions)
    return kafka


@pytest.fixture
def lag(kafka: Kafka) -> IdleLag:
    return IdleLag("ranker", probe=kafka, admin=cast("Any", None))


async def test_where_there_is_no_such_number_nobody_is_asked(lag: IdleLag, kafka: Kafka) -> None:
    kafka.is_there, kafka.committed = False, None
    assert await lag.records({}) == 0


async def test_a_number_that_has_run_counts_from_its_last_position(lag: IdleLag, kafka: Kafka) -> None:
    assert await lag.records({FIRST: 4, SECOND: 9}) == 6 + 1
    assert kafka.asked == []


async def test_a_number_that_has_not_counts_from_what_its_group_has_committed(lag: IdleLag, kafka: Kafka) -> None:
    kafka.committed = {FIRST: 3, SECOND: 7}
    assert await lag.records({FIRST: 4, SECOND: None}) == 6 + 3
    assert kafka.asked == [SECOND]


async def test_where_nothing_was_ever_committed_everything_counts(lag: IdleLag) -> None:
    assert await lag.records({FIRST: None, SECOND: 10}) == 8


async def test_a_position_behind_the_end_does_not_make_the_others_less(lag: IdleLag) -> None:
    """The end may move back when another replica becomes the leader."""
    assert await lag.records({FIRST: 4, SECOND: 11}) == 6


@pytest.mark.parametrize("is_there", [False, True])
async def test_where_kafka_gives_no_answer_nobody_knows(lag: IdleLag, kafka: Kafka, *, is_there: bool) -> None:
    kafka.is_there, kafka.committed = is_there, None
    assert await lag.records({FIRST: 4, SECOND: None}) is None
