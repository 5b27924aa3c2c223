"""`verify` on a real broker: what workers have made balances, and faults that were put in are found."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

import msgspec
import pytest
from aiokafka import TopicPartition

from bridge.adapters.kafka.verify import Asked, Progress, verify
from bridge.core.dead_letters import REPLAY_COUNT
from bridge.core.errors import StartError, UnavailableError
from bridge.core.letters import Place
from bridge.core.partitions import partition_of
from bridge.core.records import Kind, NewRecord, made_here
from bridge.core.topics import Topics
from bridge.core.verify_findings import (
    ACCEPTANCE,
    CLICKS,
    EXPORTED,
    LISTS,
    MOVED,
    RANKED_ORDER,
    RATES,
    RAW,
    RETRIEVED,
    Report,
)
from bridge.simulator.agents import AgentsSimulator
from bridge.simulator.kmp import KmpSimulator
from tests.fakes.world import (
    World,
    changing,
    counts,
    doubling,
    losing,
    places,
    swapping_one_key,
    wrong,
)
from tests.kafka.cluster import Cluster
from tests.kafka.loading import commit, create_topics, load
from tests.kafka.stream import streaming, until_all_is_done
from tests.kafka.working import kmp_options, working

pytestmark = pytest.mark.broker

_NUMBERS = 2
_HOUR_MS = 3_600_000


@pytest.fixture
async def cluster(bootstrap_servers: str, prefix: str) -> Cluster:
    """For records that were made in memory: they keep their times."""
    cluster = Cluster(bootstrap_servers, prefix, partitions=_NUMBERS)
    await create_topics(cluster, message_timestamp_type="CreateTime")
    return cluster


@pytest.fixture
async def working_cluster(bootstrap_servers: str, prefix: str) -> Cluster:
    """For workers."""
    cluster = Cluster(bootstrap_servers, prefix, partitions=_NUMBERS)
    await create_topics(cluster)
    return cluster


async def _verified(cluster: Cluster, **asked: Any) -> Report:
    async with asyncio.timeout(60):
        return await verify(cluster.clients, cluster.topics, asked=Asked(**asked))


def _ids(number: int) -> list[str]:
    return [one for one in (f"i-{at}" for at in range(60)) if partition_of(one.encode(), _NUMBERS) == number]


def _worlds(topics: Topics, *, at_ms: int | None = None) -> list[World]:
    """Numbers of an hour ago."""
    now_ms = time.time_ns() // 1_000_000
    return [World(topics, number=number, at_ms=at_ms or now_ms - _HOUR_MS) for number in range(_NUMBERS)]


def _fill(world: World, *, ticks: int = 20, seed: int = 1) -> None:
    chance, ids = Random(seed), _ids(world.number)
    for tick in range(ticks):
        for _ in range(20):
            world.frame(chance.choice(ids), 0.9, 0.8 if chance.random() > 0.1 else 0.1)
        world.raw(b"garbage", ids[0])
        world.rank()
        for at in range(4):
            world.click(chance.choice(ids), f"s{chance.randrange(2)}", click_id=f"{tick}-{at}")
        world.append(NewRecord(topic=world.topics.suggestion_clicks, key=b"i-1", value=b"garbage"))
        world.tally()
        world.export()


async def test_an_empty_cluster_balances(cluster: Cluster) -> None:
    """Its groups have no positions yet, and that is said."""
    report = await _verified(cluster)
    assert (report.balanced, report.records) == (True, 0)
    assert report.notes[0].startswith(f"{cluster.options.prefix}ranker has no position on 2 of 2 partitions")


async def test_what_the_workers_make_balances(working_cluster: Cluster) -> None:
    """Lists and clicks of real workers, a click that moves among them; nothing is open at the end."""
    cluster = working_cluster
    async with (
        KmpSimulator() as kmp,
        AgentsSimulator(cluster.clients, cluster.topics) as agents,
        working(cluster, "ranker", "tally", "exporter", kmp=kmp_options(kmp)),
    ):
        async with streaming(cluster) as stream, asyncio.timeout(60):
            while len(agents.clicks) < 10:
                await asyncio.sleep(0.05)  # A simulated agent clicks when he likes.
            await _click_wrongly(cluster)
        await agents.stop_clicking()
        await until_all_is_done(cluster)
        report = await _verified(cluster)
    assert wrong(report) == {}
    assert [line.line for line in report.lines if line.open] == []
    assert counts(report, RAW)[0] == len(stream.frames)
    moved = counts(report, MOVED)[0]
    assert moved >= 1
    assert counts(report, CLICKS)[0] == len(agents.clicks) + 1 + moved
    assert counts(report, RATES)[0] == counts(report, EXPORTED)[0] > 10


async def _click_wrongly(cluster: Cluster) -> None:
    interaction = _ids(0)[0]
    body = {"interactionId": interaction, "suggestionId": "s", "articleId": "a"}
    value, key = msgspec.json.encode(body), interaction.encode()
    await cluster.send(cluster.topics.suggestion_clicks, value, key=key, number=1)


async def test_it_verifies_while_the_workers_work(working_cluster: Cluster) -> None:
    """What is under way is open, and nothing else is said about it."""
    cluster = working_cluster
    async with (
        KmpSimulator() as kmp,
        AgentsSimulator(cluster.clients, cluster.topics),
        working(cluster, "ranker", "tally", "exporter", kmp=kmp_options(kmp)),
        streaming(cluster),
    ):
        for _ in range(4):
            assert wrong(await _verified(cluster)) == {}


async def test_one_fault_of_each_kind_is_found(cluster: Cluster) -> None:
    topics = cluster.topics
    loss, rest = _worlds(topics)
    loss.alter = losing(topics.ranked_suggestions, which=77)
    _fill(loss)
    loss.alter = doubling(topics.suggestion_audit, which=5)
    _fill(loss, seed=2)
    rest.alter = swapping_one_key(topics.ranked_suggestions, which=99)
    _fill(rest)
    rest.alter = changing(topics.interaction_acceptance, _wrongly, which=50)
    _fill(rest, seed=2)
    await load(cluster, loss, rest)
    report = await _verified(cluster)
    assert wrong(report) == {RAW: 1, RETRIEVED: 2, RANKED_ORDER: 1, ACCEPTANCE: 1}
    for place in places(report):
        topic, number, offset = place.rsplit("/", 2)
        assert await _stands(cluster, topic, int(number), int(offset))


def _wrongly(record: NewRecord) -> NewRecord:
    value = msgspec.json.decode(record.value or b"")
    return msgspec.structs.replace(record, value=msgspec.json.encode(value | {"retrieved": value["retrieved"] + 1}))


async def _stands(cluster: Cluster, topic: str, number: int, offset: int) -> bool:
    return any((one.partition, one.offset) == (number, offset) for one in await cluster.read(topic))


async def test_what_the_groups_have_not_worked_is_open(cluster: Cluster) -> None:
    worlds = _worlds(cluster.topics)
    for world in worlds:
        _fill(world)
        world.frame(_ids(world.number)[0], 0.9)
        world.click(_ids(world.number)[0])
    await load(cluster, *worlds)
    report = await _verified(cluster)
    assert wrong(report) == {}
    assert (counts(report, RAW)[2], counts(report, CLICKS)[2]) == (2, 2)


async def test_a_record_that_a_group_has_passed_over_is_named(cluster: Cluster) -> None:
    world, other = _worlds(cluster.topics)
    _fill(world)
    passed_over = world.frame(_ids(0)[0], 0.9)
    await load(cluster, world, other)
    assert wrong(await _verified(cluster)) == {}
    world.worked[cluster.topics.raw_suggestions] += 1
    await commit(cluster, world, other)
    report = await _verified(cluster)
    assert (wrong(report), places(report)) == ({RAW: 1}, [f"{passed_over.topic}/0/{passed_over.offset}"])


async def test_retention_cuts_the_beginning_and_nothing_else(cluster: Cluster) -> None:
    """Whatever is gone of inputs and results, nobody is accused; a fault in what is left is still found."""
    topics = cluster.topics
    worlds = _worlds(topics)
    for world in worlds:
        _fill(world)
        world.at_ms += _HOUR_MS // 4
    worlds[1].alter = losing(topics.suggestion_audit, which=60)
    for world in worlds:
        _fill(world, seed=2)
    await load(cluster, *worlds)
    assert sum(wrong(await _verified(cluster)).values()) == 1
    cuts = {
        topics.raw_suggestions: 30,
        topics.ranked_suggestions: 100,
        topics.suggestion_audit: 300,
        topics.suggestion_clicks: 20,
        topics.acceptance_exports: 30,
        topics.dlq_clicks: 7,
    }
    # Letters that retention took are older than it keeps them, which holds for half an hour here.
    await cluster.set_up(topics.dlq_clicks, retention_ms=str(_HOUR_MS // 2), message_timestamp_type="CreateTime")
    for topic, before in cuts.items():
        for number in range(_NUMBERS):
            await cluster.delete_records(topic, number=number, before=before)
    report = await _verified(cluster)
    assert sum(wrong(report).values()) == 1
    assert counts(report, RAW)[3] > 0


async def test_dead_letters_that_retention_took_hide_no_loss_of_today(cluster: Cluster) -> None:
    """The first letter that is left is younger than the loss."""
    topics = cluster.topics
    world, other = _worlds(topics)
    _fill(world, ticks=1)
    gone = world.ends[topics.dlq_ranker]
    world.at_ms += _HOUR_MS * 3 // 4
    world.alter = losing(topics.ranked_suggestions)
    _fill(world, ticks=1, seed=2)
    await load(cluster, world, other)
    await cluster.set_up(topics.dlq_ranker, retention_ms=str(_HOUR_MS // 2), message_timestamp_type="CreateTime")
    await cluster.delete_records(topics.dlq_ranker, number=0, before=gone)
    assert wrong(await _verified(cluster))[RAW] == 1


async def test_a_range_of_time_is_all_that_is_looked_at(cluster: Cluster) -> None:
    """A loss in the first, the second and the third of three hours; only that of the range is told."""
    topics = cluster.topics
    world, other = _worlds(topics)
    world.at_ms -= 2 * _HOUR_MS
    begins: list[int] = []
    for hour in range(3):
        begins.append(world.at_ms)
        world.alter = losing(topics.ranked_suggestions, which=40)
        _fill(world, seed=hour)
        world.at_ms += _HOUR_MS - (world.at_ms - begins[-1])
    await load(cluster, world, other)
    found = {
        since: await _verified(cluster, since_ms=begins[since] - 1, until_ms=begins[since] + _HOUR_MS - 1)
        for since in range(3)
    }
    assert all(wrong(report) == {RAW: 1, RETRIEVED: 1} for report in found.values())
    offsets = [report.offenders[0].offset for report in found.values()]
    assert offsets == sorted(offsets)
    everything = await _verified(cluster)
    assert [one.offset for one in everything.offenders] == offsets
    assert found[0].records < everything.records
    first, last = (Place(topic=topics.raw_suggestions, partition=0, offset=offsets[1] + by) for by in (-5, 5))
    near = await _verified(cluster, first=first, last=last)
    assert ([one.offset for one in near.offenders], near.balanced) == (offsets[1:2], False)
    beside = await _verified(cluster, first=replace(first, offset=offsets[1] + 1), last=last)
    assert beside.balanced
    assert beside.records < found[1].records
    assert found[2].records < everything.records * 2 // 3


async def test_a_letter_that_is_sent_back_balances(cluster: Cluster) -> None:
    """A replay is a record of its own; it is no duplicate of the one that died."""
    world, other = _worlds(cluster.topics)
    _fill(world)
    dead = next(one for one in world.records[cluster.topics.raw_suggestions] if one.value == b"garbage")
    again = NewRecord(topic=dead.topic, key=dead.key, value=dead.value, headers=(*dead.headers, (REPLAY_COUNT, b"1")))
    world.append(again)
    world.work()
    await load(cluster, world, other)
    assert wrong(await _verified(cluster)) == {}


async def test_good_lists_that_a_bad_release_has_set_aside_balance_once_they_are_sent_back(cluster: Cluster) -> None:
    """What was set aside is known before the first list is counted."""
    world, other = _worlds(cluster.topics)
    ranked = cluster.topics.ranked_suggestions
    world.is_misread = lambda record: record.topic == ranked and record.offset % 3 == 0
    _fill(world)
    world.is_misread = lambda record: False
    for dead in world.records[ranked][::3]:
        headers = (*dead.headers, (REPLAY_COUNT, b"1"))
        world.append(NewRecord(topic=ranked, key=dead.key, value=dead.value, headers=headers))
    world.work()
    await load(cluster, world, other)
    report = await _verified(cluster)
    assert wrong(report) == {}
    assert counts(report, LISTS)[0] > 10


async def test_an_open_transaction_is_waited_for_and_an_aborted_one_is_not_there(cluster: Cluster) -> None:
    """Its records are before the end, and nobody knows yet whether they count."""
    world, other = _worlds(cluster.topics)
    _fill(world)
    await load(cluster, world, other)
    told, read_on = list[Progress](), asyncio.Event()

    def tell(progress: Progress) -> None:
        told.append(progress)
        read_on.set()

    producer = cluster.clients.transactional_producer(f"{cluster.options.prefix}someone")
    await producer.start()
    try:
        await producer.begin_transaction()
        headers = list(made_here(kind=Kind.RANKED, subject="i-1", at_ms=0, ce_id="x"))
        await producer.send_and_wait(cluster.topics.dlq_exports, b"x", partition=1, headers=headers)
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            verifying = tasks.create_task(verify(cluster.clients, cluster.topics, told=tell))
            await read_on.wait()
            assert not verifying.done()
            await producer.abort_transaction()
        assert wrong(verifying.result()) == {}
    finally:
        await producer.stop()


async def test_progress_is_told(cluster: Cluster) -> None:
    worlds = _worlds(cluster.topics)
    for world in worlds:
        _fill(world)
    await load(cluster, *worlds)
    told: list[Progress] = []
    await verify(cluster.clients, cluster.topics, told=told.append)
    assert _is_rising([one.done for one in told])
    assert told[-1].done == told[-1].total > 1_000


def _is_rising(numbers: Sequence[int]) -> bool:
    return list(numbers) == sorted(numbers)


async def test_a_place_at_which_no_record_stands_is_refused(cluster: Cluster) -> None:
    with pytest.raises(StartError, match="raw-suggestions/1/7: no record stands there"):
        await _verified(cluster, last=Place(topic=cluster.topics.raw_suggestions, partition=1, offset=7))


async def test_without_topics_it_says_so(bootstrap_servers: str, prefix: str) -> None:
    cluster = Cluster(bootstrap_servers, prefix)
    with pytest.raises(StartError, match="does not exist"):
        await verify(cluster.clients, cluster.topics)


async def test_without_kafka_it_says_so() -> None:
    cluster = Cluster("127.0.0.1:1", "nowhere-")
    with pytest.raises(UnavailableError):
        await verify(cluster.clients, cluster.topics)


async def test_a_position_that_is_not_there_any_more_is_no_loss(cluster: Cluster) -> None:
    """Nothing is read that retention has deleted, whatever the groups' positions say."""
    world, other = _worlds(cluster.topics)
    _fill(world)
    await load(cluster, world, other)
    partition = TopicPartition(cluster.topics.raw_suggestions, 0)
    await cluster.delete_records(partition.topic, number=0, before=world.ends[partition.topic])
    assert wrong(await _verified(cluster)) == {}
