"""The topics on the cluster: made, compared with their plan, mended; never deleted."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from bridge.adapters.kafka.clients import Clients
from bridge.adapters.kafka.start_stop import start_client, stop_client
from bridge.core.errors import StartError, UnavailableError
from bridge.core.topics import TopicPlan, Topics

_ADMIN_S = 30.0
_STOP_S = 5.0
_HEARD_S = 5.0
# DescribeConfigs: the value was set on the topic itself (`DescribeConfigsResponse.ConfigSource.TOPIC_CONFIG`).
_SET_ON_TOPIC = 1

Action = Literal["create", "mend", "keep", "refuse"]


# More partitions would send a key's next records to another partition than its former ones, and one topic that is made
# anew alone would have offsets that the others take for those of its former records.
_OTHER_PARTITIONS = (
    "set topics.partitions to what all the topics have; where one has gained some, see docs/deploying.md"
)
_OTHER_REPLICAS = (
    "set topics.replication_factor to what the topics have, or have Kafka move their replicas "
    "(kafka-reassign-partitions.sh); nothing has to stop or be deleted for that"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A setting of a topic that is not as planned; `partitions` and `replication factor` are settings here."""

    setting: str
    actual: str
    planned: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicChange:
    """What one topic needs: made, mended, kept as it is, or refused because that is not the bridge's to change."""

    name: str
    action: Action
    differences: tuple[Difference, ...] = ()
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicState:
    """How a topic is on the cluster. `configs` are the values in force, `own_configs` those set on the topic itself."""

    partitions: int
    replication_factor: int
    configs: Mapping[str, str]
    own_configs: Mapping[str, str]


async def apply(
    clients: Clients, plans: Sequence[TopicPlan], *, partitions: int, replication_factor: int, dry_run: bool
) -> list[TopicChange]:
    """Makes the topics that are missing and mends settings that differ; returns what each topic needed.

    With `dry_run` nothing is changed. Raises UnavailableError where Kafka does not answer, StartError where it refuses.
    """
    async with _admin(clients) as admin:
        states = await _states(admin, [plan.name for plan in plans])
        changes = [
            change_of(plan, states.get(plan.name), partitions=partitions, replication_factor=replication_factor)
            for plan in plans
        ]
        if not dry_run:
            await _create(admin, _planned(plans, changes, "create"), partitions, replication_factor)
            await _mend(admin, _planned(plans, changes, "mend"), states)
        return changes


async def check(clients: Clients, topics: Topics, *, timeout_s: float = _ADMIN_S) -> list[str]:
    """What keeps the workers from starting, a sentence each: topics that are missing or have other partitions.

    Raises UnavailableError where Kafka does not answer.
    """
    async with _admin(clients, timeout_s=timeout_s) as admin:
        described = await _described(admin)
    counts = {name: len(described[name]["partitions"]) for name in topics.names() if name in described}
    return problems_of(counts, topics)


async def partitions_of(clients: Clients, topic: str, *, timeout_s: float = _ADMIN_S) -> int:
    """How many partitions a topic has.

    Raises StartError where there is no such topic, UnavailableError where Kafka does not answer.
    """
    async with _admin(clients, timeout_s=timeout_s) as admin:
        described = await _described(admin)
    if topic not in described:
        raise StartError(f"topic {topic} does not exist", remedy="run `bridge topics apply`, or mend its name")
    return len(described[topic]["partitions"])


async def retention_ms(clients: Clients, names: Sequence[str], *, timeout_s: float = _ADMIN_S) -> Mapping[str, int]:
    """For how long Kafka keeps the records of these topics, of those of which that follows from their age alone.

    Raises StartError where Kafka refuses to tell, UnavailableError where it does not answer.
    """
    async with _admin(clients, timeout_s=timeout_s) as admin:
        states = await _states(admin, names)
    by_age = {name: state.configs for name, state in states.items() if state.configs.get("retention.bytes") == "-1"}
    return {name: int(configs["retention.ms"]) for name, configs in by_age.items() if configs["retention.ms"] != "-1"}


def problems_of(counts: Mapping[str, int], topics: Topics) -> list[str]:
    """What is wrong with these numbers of partitions by topic; a topic that is not named does not exist."""
    missing = [f"topic {name} does not exist" for name in topics.names() if name not in counts]
    unequal = [
        f"topic {name} has {count} partitions, topics.partitions is {topics.partitions}"
        for name, count in counts.items()
        if count != topics.partitions
    ]
    return missing + unequal


def remedy_of(problems: Sequence[str]) -> str:
    """What to do about these problems: `apply` makes what is missing, and never changes a number."""
    if any("does not exist" in problem for problem in problems):
        return "run `bridge topics apply`, or mend the section `topics`"
    return _OTHER_PARTITIONS


def change_of(plan: TopicPlan, state: TopicState | None, *, partitions: int, replication_factor: int) -> TopicChange:
    """What the topic needs to be as planned; `state` None: it does not exist."""
    if state is None:
        return TopicChange(name=plan.name, action="create")
    fixed = _differences(
        actual={"partitions": state.partitions, "replication factor": state.replication_factor},
        planned={"partitions": partitions, "replication factor": replication_factor},
    )
    settings = _differences(actual=state.configs, planned=plan.configs)
    if fixed:
        remedy = _OTHER_REPLICAS if state.partitions == partitions else _OTHER_PARTITIONS
        return TopicChange(name=plan.name, action="refuse", differences=fixed + settings, remedy=remedy)
    return TopicChange(name=plan.name, action="mend" if settings else "keep", differences=settings)


def _differences(*, actual: Mapping[str, object], planned: Mapping[str, object]) -> tuple[Difference, ...]:
    return tuple(
        Difference(setting=setting, actual=str(actual.get(setting, "")), planned=str(wanted))
        for setting, wanted in planned.items()
        if str(actual.get(setting, "")) != str(wanted)
    )


def _planned(plans: Sequence[TopicPlan], changes: Sequence[TopicChange], action: Action) -> list[TopicPlan]:
    return [plan for plan, change in zip(plans, changes, strict=True) if change.action == action]


async def _states(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, TopicState]:
    described = await _described(admin)
    present = [name for name in names if name in described]
    entries = await _config_entries(admin, present)
    return {name: _state_of(described[name]["partitions"], entries[name]) for name in present}


def _state_of(partitions: Sequence[Mapping[str, Any]], entries: Iterable[Sequence[Any]]) -> TopicState:
    values = {name: (value or "", source) for name, value, _read_only, source, *_ in entries}
    return TopicState(
        partitions=len(partitions),
        replication_factor=max(len(one["replicas"]) for one in partitions),
        configs={name: value for name, (value, _) in values.items()},
        own_configs={name: value for name, (value, source) in values.items() if source == _SET_ON_TOPIC},
    )


async def _described(admin: AIOKafkaAdminClient) -> dict[str, Mapping[str, Any]]:
    # All topics: asking for one by name would make it, where the cluster makes topics by itself.
    return {topic["topic"]: topic for topic in await admin.describe_topics() if topic["partitions"]}


async def _config_entries(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, list[Sequence[Any]]]:
    """The answers of DescribeConfigs by topic: name, value, read only, source, ..."""
    if not names:
        return {}
    found = {}
    for answer in await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names]):
        for code, message, _type, name, entries in answer.resources:
            _refuse(code, f"cannot read the settings of topic {name}: {message}")
            found[name] = entries
    return found


async def _create(
    admin: AIOKafkaAdminClient, plans: Sequence[TopicPlan], partitions: int, replication_factor: int
) -> None:
    if not plans:
        return
    wanted = [NewTopic(plan.name, partitions, replication_factor, topic_configs=dict(plan.configs)) for plan in plans]
    answer = await admin.create_topics(wanted, timeout_ms=int(_ADMIN_S * 1000))
    for name, code, message in answer.topic_errors:
        if code != TopicAlreadyExistsError.errno:  # Someone else was faster.
            _refuse(code, f"cannot make topic {name}: {message}")
    await _until_known(admin, {plan.name for plan in plans})


async def _until_known(admin: AIOKafkaAdminClient, names: set[str]) -> None:
    """Waits until the brokers know the topics, so that a worker started next finds them."""
    while not names <= set(await _described(admin)):
        await asyncio.sleep(0.1)


async def _mend(admin: AIOKafkaAdminClient, plans: Sequence[TopicPlan], states: Mapping[str, TopicState]) -> None:
    if not plans:
        return
    # AlterConfigs replaces all that was set on the topic (KIP-133), so what an operator set there is sent again.
    resources = [
        ConfigResource(ConfigResourceType.TOPIC, plan.name, {**states[plan.name].own_configs, **plan.configs})
        for plan in plans
    ]
    for answer in await admin.alter_configs(resources):
        for code, message, _type, name in answer.resources:
            _refuse(code, f"cannot change the settings of topic {name}: {message}")
    with suppress(TimeoutError):  # It is done; only the brokers have not all heard of it.
        async with asyncio.timeout(_HEARD_S):
            await _until_in_force(admin, plans)


async def _until_in_force(admin: AIOKafkaAdminClient, plans: Sequence[TopicPlan]) -> None:
    """Waits until the brokers tell the settings as planned, so that whoever looks next finds them."""
    while True:
        states = await _states(admin, [plan.name for plan in plans])
        if not any(_differences(actual=states[plan.name].configs, planned=plan.configs) for plan in plans):
            return
        await asyncio.sleep(0.1)


def _refuse(code: int, problem: str) -> None:
    if code != 0:
        reason = for_code(code).__name__
        raise StartError(f"{problem} ({reason})", remedy="ask whoever runs Kafka, or correct the section `topics`")


@asynccontextmanager
async def _admin(clients: Clients, *, timeout_s: float = _ADMIN_S) -> AsyncIterator[AIOKafkaAdminClient]:
    """A started admin client; its errors become ours, and all that is done with it ends within `timeout_s`."""
    admin = clients.admin()
    await start_client(admin, timeout_s=timeout_s)
    try:
        async with asyncio.timeout(timeout_s):
            yield admin
    except (KafkaError, OSError, TimeoutError) as error:
        raise UnavailableError("Kafka", f"no answer: {type(error).__name__}") from error
    finally:
        await stop_client(admin, timeout_s=_STOP_S)
