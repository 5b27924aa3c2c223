"""Numbers that were made in memory, put on a broker as they are: records with their times, and where the groups are."""

from collections.abc import Sequence

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.producer.message_accumulator import BatchBuilder

from bridge.adapters.kafka.topics import apply
from bridge.core.records import Record
from bridge.core.topics import TopicPlan, plans_of
from bridge.core.verify_scope import topics_exact, topics_read
from tests.fakes.world import World
from tests.kafka.cluster import Cluster


async def create_topics(cluster: Cluster, **settings: str) -> None:
    """Makes all topics of the bridge, and returns once the brokers know them; an underscore stands for a dot."""
    more = {name.replace("_", "."): value for name, value in settings.items()}
    plans = [TopicPlan(name=plan.name, configs=plan.configs | more) for plan in plans_of(cluster.topics)]
    count = cluster.topics.partitions
    await apply(cluster.clients, plans, partitions=count, replication_factor=1, dry_run=False)


async def load(cluster: Cluster, *worlds: World) -> None:
    """Writes all records of these numbers, and what their hops have worked."""
    async with cluster.producer() as producer:
        for world in worlds:
            for topic in topics_read(cluster.topics):
                await _write(producer, topic, world.number, world.records[topic])
    await commit(cluster, *worlds)


async def _write(producer: AIOKafkaProducer, topic: str, number: int, records: Sequence[Record]) -> None:
    batch = producer.create_batch()
    for record in records:
        if not _append(batch, record):
            await (await producer.send_batch(batch, topic, partition=number))
            batch = producer.create_batch()
            assert _append(batch, record)
    if records:
        await (await producer.send_batch(batch, topic, partition=number))


def _append(batch: BatchBuilder, record: Record) -> bool:
    appended = batch.append(
        key=record.key, value=record.value, timestamp=record.timestamp, headers=list(record.headers)
    )
    return appended is not None


async def commit(cluster: Cluster, *worlds: World) -> None:
    """The groups stand where the hops of these numbers do."""
    topics = cluster.topics
    groups = {
        "ranker": [topics.raw_suggestions],
        "tally": topics_exact(topics),
        "exporter": [topics.acceptance_exports],
    }
    for group, inputs in groups.items():
        positions = {TopicPartition(topic, world.number): world.worked[topic] for topic in inputs for world in worlds}
        await cluster.commit(group, positions)
