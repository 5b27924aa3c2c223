"""Topics of one number in step, on a real broker."""

import pytest

from bridge.adapters.kafka import in_step
from bridge.adapters.kafka.in_step import NumberReader, Span
from bridge.core.errors import UnavailableError
from tests.kafka.cluster import Cluster
from tests.kafka.loading import create_topics

pytestmark = pytest.mark.broker


@pytest.fixture
async def cluster(bootstrap_servers: str, prefix: str) -> Cluster:
    cluster = Cluster(bootstrap_servers, prefix)
    await create_topics(cluster)
    return cluster


async def _read(cluster: Cluster, spans: dict[str, Span], *, number: int = 0) -> list[bytes]:
    async with NumberReader(cluster.clients, spans) as reader:
        found = []
        merged = await reader.begin(number, spans, exact=spans)
        while True:
            while (run := merged.next_run()) is not None:
                found += [record.value or b"" for record in run[1]]
            if not merged.wanting():
                return found
            await reader.feed(merged)


async def test_spans_are_read_and_nothing_beside_them(cluster: Cluster) -> None:
    lists, clicks = cluster.topics.ranked_suggestions, cluster.topics.suggestion_clicks
    await cluster.send(lists, b"l0", b"l1", b"l2")
    await cluster.send(clicks, b"c0", b"c1")
    await cluster.send(lists, b"l3", b"l4")
    await cluster.send(lists, b"other", number=1)
    assert await _read(cluster, {lists: Span(1, 4), clicks: Span(0, 1)}) == [b"l1", b"l2", b"c0", b"l3"]
    assert await _read(cluster, {lists: Span(0, 1), clicks: Span(0, 0)}, number=1) == [b"other"]


async def test_one_number_comes_after_the_other(cluster: Cluster) -> None:
    lists = cluster.topics.ranked_suggestions
    for number in (0, 1):
        await cluster.send(lists, b"%d" % number, number=number)
    async with NumberReader(cluster.clients, [lists]) as reader:
        for number in (1, 0, 1):
            merged = await reader.begin(number, {lists: Span(0, 1)}, exact=[])
            run = merged.next_run()
            assert run is not None
            assert [record.value for record in run[1]] == [b"%d" % number]


async def test_retention_that_overtakes_the_reader_is_told_and_not_jumped(cluster: Cluster) -> None:
    """A jump would look like a loss."""
    raw = cluster.topics.raw_suggestions
    await cluster.send(raw, b"0", b"1", b"2")
    await cluster.delete_records(raw, number=0, before=2)
    with pytest.raises(UnavailableError, match="retention has overtaken the reader"):
        await _read(cluster, {raw: Span(0, 3)})


async def test_an_end_that_does_not_come_is_told(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here there is no such offset; else a transaction that stays open would keep it back."""
    monkeypatch.setattr(in_step, "_ANSWER_S", 1.0)
    raw = cluster.topics.raw_suggestions
    await cluster.send(raw, b"0")
    impatient = Cluster(cluster.options.bootstrap_servers, cluster.options.prefix, transaction_timeout_ms=1_000)
    with pytest.raises(UnavailableError, match="gives nothing more before 2"):
        await _read(impatient, {raw: Span(0, 2)})


async def test_without_kafka_it_is_told() -> None:
    with pytest.raises(UnavailableError):
        await _read(Cluster("127.0.0.1:1", "nowhere-"), {"t": Span(0, 1)})
