"""The ends of logs as leaders tell them, with brokers that say what the test wants."""

import asyncio
from typing import Any, cast

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaConnectionError, LeaderNotAvailableError, NotLeaderForPartitionError

from bridge.adapters.kafka import log_ends as ends_of_logs
from bridge.adapters.kafka import membership
from bridge.adapters.kafka.log_ends import known_log_ends, log_ends

ZERO, ONE, TWO = (TopicPartition("clicks", number) for number in range(3))


class Answer:
    """Of a broker that was asked for the ends of partitions."""

    def __init__(self, topics: list[tuple[str, list[tuple[int, int, int, int]]]]) -> None:
        self.topics = topics


class Client:
    """Brokers by the partitions that they lead; a consumer's client and its metadata."""

    def __init__(self, **leaders: int) -> None:
        self.leaders = {TopicPartition("clicks", int(name[1:])): leader for name, leader in leaders.items()}
        self.after_update: dict[TopicPartition, int] = {}
        self.away: set[int] = set()
        self.silent: set[int] = set()
        self.errors: dict[TopicPartition, int] = {}
        self.updates = 0
        self.cluster = self
        self._conns: dict[object, object] = {}

    @property
    def consumer(self) -> AIOKafkaConsumer:
        return cast("AIOKafkaConsumer", cast("Any", self))

    @property
    def _client(self) -> "Client":
        return self

    def add_topic(self, topic: str) -> None:
        assert topic == "clicks"

    def leader_for_partition(self, partition: TopicPartition) -> int | None:
        return self.leaders.get(partition)

    async def force_metadata_update(self) -> None:
        self.updates += 1
        if self.silent:  # It may be one of those that are asked for the leaders.
            await asyncio.Event().wait()
        self.leaders |= self.after_update

    async def send(self, leader: int, request: Any) -> Answer:
        if leader in self.away:
            raise KafkaConnectionError
        if leader in self.silent:
            await asyncio.Event().wait()
        ((_, numbers),) = request._topics
        asked = [TopicPartition("clicks", number) for number, _ in numbers]
        return Answer([("clicks", [(one.partition, self.errors.get(one, 0), -1, 7 + one.partition) for one in asked])])


async def test_the_ends_come_from_each_leader() -> None:
    client = Client(p0=1, p1=2, p2=1)
    assert await log_ends(client.consumer, [ZERO, ONE, TWO]) == {ZERO: 7, ONE: 8, TWO: 9}
    assert client.updates == 0


@pytest.mark.parametrize("leader", [None, -1, 3])
async def test_a_partition_without_a_leader_that_answers_leaves_the_others_known(leader: int | None) -> None:
    client = Client(p0=1, p2=2)
    client.away = {3}
    if leader is not None:
        client.leaders[ONE] = leader
    assert await known_log_ends(client.consumer, [ZERO, ONE, TWO]) == {ZERO: 7, TWO: 9}
    assert client.updates == 1, "the leaders are looked up anew"
    with pytest.raises(LeaderNotAvailableError):
        await log_ends(client.consumer, [ZERO, ONE, TWO])


async def test_a_leader_that_is_silent_leaves_the_others_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before whoever samples gives up, and knows nothing of any."""
    assert ends_of_logs._ANSWER_S + ends_of_logs._UPDATE_S < membership._SAMPLE_S
    monkeypatch.setattr(ends_of_logs, "_UPDATE_S", 0.01)
    client = Client(p0=1, p1=2)
    client.silent = {2}
    assert await known_log_ends(client.consumer, [ZERO, ONE], within_s=0.01) == {ZERO: 7}
    assert client.updates == 1


async def test_a_broker_that_leads_it_no_more_is_no_answer() -> None:
    client = Client(p0=1, p1=1)
    client.errors = {ONE: NotLeaderForPartitionError.errno}
    assert await known_log_ends(client.consumer, [ZERO, ONE]) == {ZERO: 7}


async def test_a_new_leader_is_found() -> None:
    client = Client(p0=1)
    client.after_update = {ONE: 2}
    assert await log_ends(client.consumer, [ZERO, ONE]) == {ZERO: 7, ONE: 8}
