"""Topics on the cluster: what each needs, and that `apply` gives it."""

import pytest
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from bridge.adapters.kafka.clients import Clients, Options
from bridge.adapters.kafka.topics import Difference, TopicChange, TopicState, apply, change_of, check, problems_of
from bridge.core.errors import StartError, UnavailableError
from bridge.core.topics import Options as TopicOptions
from bridge.core.topics import TopicPlan, Topics, plans_of, topics_of

_PLAN = TopicPlan(name="clicks", configs={"cleanup.policy": "delete", "retention.ms": "1000"})


def _state(*, partitions: int = 3, replication_factor: int = 1, **configs: str) -> TopicState:
    in_force = {"cleanup.policy": "delete", "retention.ms": "1000", "segment.ms": "7"}
    in_force |= {name.replace("_", "."): value for name, value in configs.items()}
    return TopicState(
        partitions=partitions, replication_factor=replication_factor, configs=in_force, own_configs=in_force
    )


def _topics(prefix: str, *, partitions: int = 3) -> Topics:
    return topics_of(TopicOptions(partitions=partitions), prefix=prefix)


def _change(state: TopicState | None) -> TopicChange:
    return change_of(_PLAN, state, partitions=3, replication_factor=1)


def test_a_topic_that_is_missing_is_made() -> None:
    assert _change(None) == TopicChange(name="clicks", action="create")


def test_a_topic_as_planned_is_kept() -> None:
    assert _change(_state()) == TopicChange(name="clicks", action="keep")


def test_a_setting_that_differs_is_mended() -> None:
    differs = Difference(setting="retention.ms", actual="5", planned="1000")
    assert _change(_state(retention_ms="5")) == TopicChange(name="clicks", action="mend", differences=(differs,))


@pytest.mark.parametrize("partitions", [1, 6])
def test_other_partitions_cannot_be_mended_and_the_remedy_says_what_to_do(partitions: int) -> None:
    change = _change(_state(partitions=partitions, retention_ms="5"))
    assert change.action == "refuse"
    assert [difference.setting for difference in change.differences] == ["partitions", "retention.ms"]
    assert "topics.partitions" in change.remedy
    assert "docs/deploying.md" in change.remedy
    assert "delete" not in change.remedy, "the other topics name its offsets"


def test_another_replication_factor_is_kafkas_to_change_and_nothing_has_to_be_deleted() -> None:
    change = _change(_state(replication_factor=3))
    assert change.action == "refuse"
    assert "kafka-reassign-partitions.sh" in change.remedy
    assert "delete clicks" not in change.remedy


def test_missing_topics_and_other_partitions_are_problems() -> None:
    topics = _topics("")
    counts = dict.fromkeys(topics.names(), 3)
    assert problems_of(counts, topics) == []
    del counts["dlq.clicks"]
    counts["raw-suggestions"] = 4
    assert problems_of(counts, topics) == [
        "topic dlq.clicks does not exist",
        "topic raw-suggestions has 4 partitions, topics.partitions is 3",
    ]


async def test_a_kafka_that_is_away_is_unavailable_within_the_deadline() -> None:
    clients = Clients(Options(bootstrap_servers="127.0.0.1:1"))
    with pytest.raises(UnavailableError, match="no answer"):
        await check(clients, _topics(""), timeout_s=5)


@pytest.mark.broker
class TestOnABroker:
    async def test_topics_are_made_once_and_then_kept(self, bootstrap_servers: str, prefix: str) -> None:
        clients, topics = Clients(Options(bootstrap_servers=bootstrap_servers)), _topics(prefix)
        assert {change.action for change in await _apply(clients, topics)} == {"create"}
        assert {change.action for change in await _apply(clients, topics)} == {"keep"}
        assert await check(clients, topics) == []

    async def test_a_dry_run_makes_nothing(self, bootstrap_servers: str, prefix: str) -> None:
        clients, topics = Clients(Options(bootstrap_servers=bootstrap_servers)), _topics(prefix)
        assert {change.action for change in await _apply(clients, topics, dry_run=True)} == {"create"}
        assert len(await check(clients, topics)) == 11

    @pytest.mark.kafka
    async def test_a_setting_is_mended_and_an_operators_own_is_kept(self, bootstrap_servers: str, prefix: str) -> None:
        """AlterConfigs replaces everything that was set on a topic, unless it is sent again."""
        clients, topics = Clients(Options(bootstrap_servers=bootstrap_servers)), _topics(prefix)
        await _make(clients, topics.raw_suggestions, partitions=3, configs={"retention.ms": "5", "segment.ms": "70000"})
        changes = {change.name: change for change in await _apply(clients, topics)}
        assert "retention.ms" in {difference.setting for difference in changes[topics.raw_suggestions].differences}
        configs = await _configs(clients, topics.raw_suggestions)
        assert configs["retention.ms"] == str(7 * 24 * 60 * 60 * 1000)
        assert configs["segment.ms"] == "70000"

    async def test_other_partitions_are_refused_and_nothing_is_deleted(
        self, bootstrap_servers: str, prefix: str
    ) -> None:
        clients, topics = Clients(Options(bootstrap_servers=bootstrap_servers)), _topics(prefix)
        await _make(clients, topics.raw_suggestions, partitions=2, configs={})
        refused = [change for change in await _apply(clients, topics) if change.action == "refuse"]
        assert [change.name for change in refused] == [topics.raw_suggestions]
        assert await check(clients, topics) == [
            f"topic {topics.raw_suggestions} has 2 partitions, topics.partitions is 3"
        ]

    @pytest.mark.kafka
    async def test_more_replicas_than_brokers_is_an_error_with_a_remedy(
        self, bootstrap_servers: str, prefix: str
    ) -> None:
        clients, topics = Clients(Options(bootstrap_servers=bootstrap_servers)), _topics(prefix)
        with pytest.raises(StartError, match="InvalidReplicationFactor"):
            await apply(clients, plans_of(topics), partitions=1, replication_factor=3, dry_run=False)


async def _apply(clients: Clients, topics: Topics, *, dry_run: bool = False) -> list[TopicChange]:
    return await apply(clients, plans_of(topics), partitions=topics.partitions, replication_factor=1, dry_run=dry_run)


async def _make(clients: Clients, topic: str, *, partitions: int, configs: dict[str, str]) -> None:
    plan = TopicPlan(name=topic, configs=configs)
    await apply(clients, [plan], partitions=partitions, replication_factor=1, dry_run=False)


async def _configs(clients: Clients, topic: str) -> dict[str, str]:
    admin = clients.admin()
    await admin.start()
    try:
        (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
        return {entry[0]: entry[1] for entry in answer.resources[0][4]}
    finally:
        await admin.close()
