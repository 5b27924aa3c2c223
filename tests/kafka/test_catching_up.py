"""A ranker that comes back to a backlog: agents see the newest lists at once, and the books say what was skipped."""

import pytest

from bridge.core.books import FrameSent
from bridge.core.events.hops import BatchRanked
from bridge.core.partitions import partition_of
from bridge.core.ranking import Options as RankingOptions
from bridge.core.records import digest
from bridge.simulator.times import now_ms
from tests.kafka.cluster import Cluster
from tests.kafka.stream import assert_verified, books_of
from tests.kafka.working import working

pytestmark = pytest.mark.broker

_INTERACTIONS = 10
_LISTS_EACH = 300
_OLD_MS = 120_000


def _frame(name: str, number: int) -> bytes:
    suggestions = b'[{"id":"s-%d","confidence":0.9}]' % number
    return b'{"interactionId":"%b","suggestions":%b,"serial":%d}' % (name.encode(), suggestions, number)


async def _backlog(cluster: Cluster) -> list[FrameSent]:
    """Lists that were received from two minutes ago up to a minute ago."""
    frames, began_ms = list[FrameSent](), now_ms() - _OLD_MS
    async with cluster.producer() as producer:
        for number in range(_INTERACTIONS * _LISTS_EACH):
            name, at_ms = f"i-{number % _INTERACTIONS}", began_ms + number * 20
            value, key = _frame(name, number), name.encode()
            await producer.send(
                cluster.topics.raw_suggestions,
                value,
                key=key,
                partition=partition_of(key, cluster.topics.partitions),
                timestamp_ms=at_ms,
            )
            frames.append(FrameSent(serial=number, digest=digest(value), interaction_id=name, at_ms=at_ms))
        await producer.flush()
    return frames


@pytest.mark.parametrize("fresh_for_s", [30.0, 0.0])
async def test_a_backlog_is_caught_up_with_the_newest_lists(
    bootstrap_servers: str, prefix: str, fresh_for_s: float
) -> None:
    cluster = Cluster(bootstrap_servers, prefix)
    await cluster.create_topics()
    frames = await _backlog(cluster)
    async with working(cluster, "ranker", ranking=RankingOptions(fresh_for_s=fresh_for_s)) as ranker:
        await cluster.until_at_rest(("ranker", cluster.topics.raw_suggestions))
    batches = ranker.all(BatchRanked)
    assert sum(batch.records for batch in batches) == len(frames)
    superseded = sum(batch.superseded for batch in batches)
    lists = await cluster.read(cluster.topics.ranked_suggestions)
    assert len(lists) + superseded == len(frames)
    if fresh_for_s:
        # One for each interaction that a batch had something of.
        assert len(lists) <= len(batches) * _INTERACTIONS
    else:
        assert superseded == 0
    last = {record.key: record.value or b"" for record in lists}
    assert all(b'"s-%d"' % (len(frames) - _INTERACTIONS + at) in last[b"i-%d" % at] for at in range(_INTERACTIONS))
    await assert_verified(cluster, is_done=False)  # Nobody counts.
    books = await books_of(cluster, frames=frames, clicks=[], posts=[])
    assert [line for line in books[:3] if not line.ok] == [], "frames, raw and ranked; nobody counts"
