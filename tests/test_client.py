"""AgentAssistStream: what a program sees of a running bridge."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

import bridge
from bridge import AgentAssistStream, KafkaOptions, RankedBatch, StartError, Suggestion, TopicOptions, UnavailableError
from bridge.adapters.kafka.live import Publisher
from bridge.adapters.kafka.topics import apply
from bridge.core.acceptance import export_id_of
from bridge.core.partitions import partition_of
from bridge.core.records import Header, NewRecord, Record
from bridge.core.topics import plans_of
from bridge.core.values import audit_now, decode_click, decode_subscription
from tests.kafka.cluster import Cluster

_WINDOW = (datetime(2026, 1, 5, 9, 55, tzinfo=UTC), datetime(2026, 1, 5, 10, tzinfo=UTC))


def test_every_public_name_is_there() -> None:
    assert all(getattr(bridge, name).__name__ for name in bridge.__all__)
    with pytest.raises(AttributeError, match="NoSuchName"):
        _ = bridge.NoSuchName  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"bootstrap_servers": "localhost"}, "HOST:PORT"),
        ({"interaction_id": ""}, "no subscription"),
        ({"context_window": _WINDOW}, "writes none"),
        ({"interaction_id": "i", "subscribe": False, "suggestion_types": ["knowledge"]}, "writes none"),
    ],
)
def test_arguments_that_the_bridge_would_not_take_are_refused(arguments: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        AgentAssistStream(**arguments)  # type: ignore[arg-type]


async def test_a_stream_that_was_not_entered_says_so() -> None:
    with pytest.raises(RuntimeError, match="not started"):
        await anext(AgentAssistStream())


@pytest.fixture
async def cluster(bootstrap_servers: str, prefix: str) -> Cluster:
    cluster = Cluster(bootstrap_servers, prefix)
    await apply(cluster.clients, plans_of(cluster.topics), partitions=2, replication_factor=1, dry_run=False)
    return cluster


@asynccontextmanager
async def _stream(cluster: Cluster, interaction_id: str | None = None) -> AsyncIterator[AgentAssistStream]:
    options = cluster.options
    async with (
        asyncio.timeout(60),
        AgentAssistStream(options.bootstrap_servers, prefix=options.prefix, interaction_id=interaction_id) as stream,
    ):
        yield stream


async def _rank(cluster: Cluster, interaction_id: str, *suggestion_ids: str, ce_id: str | None = None) -> None:
    """Writes a ranked list as the ranker does."""
    suggestions = ",".join(
        f'{{"id":"{one}","title":"Title of {one}","type":"knowledge","confidence":0.910,"relevanceScore":0.8,'
        f'"knowledgeArticleId":"article of {one}"}}'
        for one in suggestion_ids
    )
    value = (
        f'{{"interactionId":"{interaction_id}","timestamp":"2026-01-05T10:00:00.120Z",'
        f'"rankedSuggestions":[{suggestions}],"latencyMs":42}}'
    )
    await _send(cluster, cluster.topics.ranked_suggestions, interaction_id, value.encode(), ce_id=ce_id)


async def _send(cluster: Cluster, topic: str, interaction_id: str, value: bytes, *, ce_id: str | None = None) -> None:
    headers: list[Header] = [] if ce_id is None else [("ce_id", ce_id.encode())]
    key = interaction_id.encode()
    await cluster.send(topic, value, key=key, number=partition_of(key, 2), headers=headers)


def _ids(batch: RankedBatch) -> list[str]:
    return [suggestion.id for suggestion in batch.ranked_suggestions]


async def _clicks_on(cluster: Cluster) -> list[Record]:
    return await cluster.read(cluster.topics.suggestion_clicks)


@pytest.mark.broker
class TestReading:
    async def test_the_loop_yields_each_list_of_the_interaction_as_it_comes(self, cluster: Cluster) -> None:
        """T13, D5: `async for batch in stream`."""
        await _rank(cluster, "i-1", "too early")
        async with _stream(cluster, "i-1") as stream:
            await _rank(cluster, "i-2", "of another interaction")
            await _rank(cluster, "i-1", "s-1", "s-2")
            await _rank(cluster, "i-1", "s-3")
            batches = []
            async for batch in stream:
                batches.append(batch)
                if len(batches) == 2:
                    break
        assert [_ids(batch) for batch in batches] == [["s-1", "s-2"], ["s-3"]]
        top = batches[0].ranked_suggestions[0]
        assert (top.interaction_id, top.title, top.knowledge_article_id) == ("i-1", "Title of s-1", "article of s-1")
        assert (top.type, top.confidence, top.relevance_score) == ("knowledge", 0.91, 0.8)
        assert b'"confidence":0.910' in top.raw
        assert (batches[0].timestamp, batches[0].latency_ms) == ("2026-01-05T10:00:00.120Z", 42)

    async def test_the_loop_waits_for_a_list_that_is_yet_to_come(self, cluster: Cluster) -> None:
        """T13, D5: the tutorial's loop never yields, because nothing wakes it."""
        async with _stream(cluster, "i-1") as stream, asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(_first(stream))
            done, _ = await asyncio.wait([waiting], timeout=0.2)
            assert not done
            await _rank(cluster, "i-1", "s-1")
            assert _ids(await waiting) == ["s-1"]

    async def test_without_an_interaction_it_yields_the_lists_of_all(self, cluster: Cluster) -> None:
        async with _stream(cluster) as stream:
            for number in range(4):
                await _rank(cluster, f"i-{number}", f"s-{number}")
            assert {(await anext(stream)).interaction_id for _ in range(4)} == {"i-0", "i-1", "i-2", "i-3"}

    async def test_a_list_that_is_repeated_is_yielded_once(self, cluster: Cluster) -> None:
        async with _stream(cluster, "i-1") as stream:
            for ce_id in ("a", "a", "b", "a", "c"):
                await _rank(cluster, "i-1", ce_id, ce_id=ce_id)
            assert [_ids(await anext(stream)) for _ in range(3)] == [["a"], ["b"], ["c"]]

    async def test_what_it_remembers_for_that_is_bounded(
        self, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("bridge.client._MAX_REMEMBERED", 2)
        async with _stream(cluster, "i-1") as stream:
            for ce_id in ("a", "b", "c", "c", "a"):
                await _rank(cluster, "i-1", ce_id, ce_id=ce_id)
            assert [_ids(await anext(stream)) for _ in range(4)] == [["a"], ["b"], ["c"], ["a"]]

    async def test_what_is_no_list_is_passed_over(self, cluster: Cluster) -> None:
        async with _stream(cluster, "i-1") as stream:
            await _send(cluster, cluster.topics.ranked_suggestions, "i-1", b"no list")
            await _rank(cluster, "i-1")
            await _rank(cluster, "i-1", "s-1")
            assert _ids(await anext(stream)) == ["s-1"]

    async def test_a_wait_with_a_deadline_loses_nothing(self, cluster: Cluster) -> None:
        async with _stream(cluster, "i-1") as stream:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await anext(stream)
            await _rank(cluster, "i-1", "s-1")
            assert _ids(await anext(stream)) == ["s-1"]

    async def test_closing_the_stream_ends_the_loop(self, cluster: Cluster) -> None:
        """T13, D4: `close()` is enough, from whatever task; no list has to come for it."""
        async with _stream(cluster, "i-1") as stream, asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(_all(stream))
            await _rank(cluster, "i-1", "s-1")
            done, _ = await asyncio.wait([reading], timeout=0.2)
            assert not done
            await stream.close()
            assert [_ids(batch) for batch in await reading] == [["s-1"]]
            with pytest.raises(RuntimeError, match="closed"):
                await stream.unsubscribe()

    async def test_topics_may_have_names_of_their_own(self, cluster: Cluster) -> None:
        # The prefix stands before them, and the options of the section `kafka` are taken as they are.
        named = TopicOptions(ranked_suggestions="acceptance-exports")
        kafka = KafkaOptions(bootstrap_servers=cluster.options.bootstrap_servers, prefix=cluster.options.prefix)
        async with asyncio.timeout(60), AgentAssistStream(kafka=kafka, topics=named) as stream:
            await _send(cluster, cluster.topics.acceptance_exports, "i-1", b"")
            await _send(cluster, cluster.topics.acceptance_exports, "i-1", _LIST)
            assert _ids(await anext(stream)) == ["s-1"]

    async def test_without_the_topics_it_says_what_to_run(self, bootstrap_servers: str, prefix: str) -> None:
        stream = AgentAssistStream(bootstrap_servers, prefix=prefix)
        with pytest.raises(StartError, match="bridge topics apply"):
            await stream.__aenter__()


_LIST = b'{"interactionId":"i-1","timestamp":"","rankedSuggestions":[{"id":"s-1"}],"latencyMs":0}'


@pytest.mark.broker
class TestSubscribing:
    async def test_entering_writes_the_subscription_and_unsubscribing_its_end(self, cluster: Cluster) -> None:
        """T4, T13: the tutorial's stream takes the context window and the suggestion types."""
        options = cluster.options
        async with AgentAssistStream(
            options.bootstrap_servers,
            prefix=options.prefix,
            interaction_id="i-1",
            context_window=_WINDOW,
            suggestion_types=("knowledge", "process"),
        ) as stream:
            await stream.unsubscribe()
        begin, end = await cluster.read(cluster.topics.interaction_subscriptions)
        subscription = decode_subscription(begin)
        assert subscription.context_window is not None
        assert subscription.context_window.start == "2026-01-05T09:55:00.000Z"
        assert subscription.suggestion_types == ("knowledge", "process")
        assert (end.key, end.value, end.partition) == (b"i-1", None, begin.partition)
        assert begin.partition == partition_of(b"i-1", 2)
        assert all(dict(record.headers)["ce_subject"] == b"i-1" for record in (begin, end))

    async def test_leaving_does_not_end_it(self, cluster: Cluster) -> None:
        async with _stream(cluster, "i-1"):
            pass
        (begin,) = await cluster.read(cluster.topics.interaction_subscriptions)
        assert begin.value == b'{"interactionId":"i-1"}'

    async def test_a_subscription_that_cannot_be_written_leaves_nothing_open(
        self, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def refuse(_publisher: Publisher, _record: NewRecord) -> Record:
            raise UnavailableError("Kafka", "no answer")

        monkeypatch.setattr(Publisher, "publish", refuse)
        with pytest.raises(UnavailableError):
            async with _stream(cluster, "i-1"):
                pass
        # A client that was left open says so when it is collected, and a warning is an error here.
        gc.collect()

    async def test_reading_alone_writes_none(self, cluster: Cluster) -> None:
        options = cluster.options
        async with (
            AgentAssistStream(
                options.bootstrap_servers, prefix=options.prefix, interaction_id="i-1", subscribe=False
            ) as stream,
            asyncio.timeout(60),
        ):
            await _rank(cluster, "i-1", "s-1")
            assert _ids(await anext(stream)) == ["s-1"]
        async with _stream(cluster) as stream:
            with pytest.raises(ValueError, match="all interactions"):
                await stream.unsubscribe()
        assert await cluster.read(cluster.topics.interaction_subscriptions) == []


@pytest.mark.broker
class TestClicking:
    async def test_a_click_is_on_its_topic_when_it_returns(self, cluster: Cluster) -> None:
        """T13, T11: `await stream.click(suggestion)`."""
        async with _stream(cluster) as stream:
            await _rank(cluster, "i-1", "s-1")
            batch = await anext(stream)
            click_id = await stream.click(batch.ranked_suggestions[0], agent_id="agent-7")
            (record,) = await _clicks_on(cluster)
        click = decode_click(record)
        assert (click.interaction_id, click.suggestion_id, click.article_id) == ("i-1", "s-1", "article of s-1")
        assert (click.click_id, click.agent_id) == (click_id, "agent-7")
        assert record.partition == partition_of(b"i-1", 2)
        headers = dict(record.headers)
        assert (headers["ce_id"], headers["ce_type"]) == (click_id.encode(), b"agentassist.suggestion.clicked")
        assert not any(b"agent-7" in value for value in headers.values())

    async def test_two_clicks_are_two_and_one_that_is_tried_again_is_the_same(self, cluster: Cluster) -> None:
        async with _stream(cluster) as stream:
            ids = [await stream.click(_SUGGESTION) for _ in range(2)]
            ids += [await stream.click(_SUGGESTION, click_id="mine") for _ in range(2)]
        assert [decode_click(record).click_id for record in await _clicks_on(cluster)] == ids
        assert (len(set(ids)), ids[2:]) == (3, ["mine", "mine"])

    async def test_a_suggestion_without_an_article_cannot_be_clicked(self, cluster: Cluster) -> None:
        async with _stream(cluster) as stream:
            await _send(cluster, cluster.topics.ranked_suggestions, "i-1", _LIST)
            with pytest.raises(ValueError, match="no click"):
                await stream.click((await anext(stream)).ranked_suggestions[0])
        assert await _clicks_on(cluster) == []

    async def test_a_click_can_be_followed_until_it_is_exported(self, cluster: Cluster) -> None:
        """T12, T14."""
        async with _stream(cluster) as stream, asyncio.TaskGroup() as tasks:
            clicking = tasks.create_task(stream.click_until_exported(_SUGGESTION, click_id="c"))
            await cluster.read(cluster.topics.suggestion_clicks, until=bool)
            await _audit(cluster, "suggestions_retrieved", count=1, latencyMs=1)
            await _audit(cluster, "suggestion_accepted", clickId="c", acceptanceRate=0.5)
            await _audit(
                cluster,
                "acceptance_exported",
                exportId=export_id_of("i-1", "c"),
                outcome="delivered",
                status=200,
                attempts=3,
            )
            outcome = await clicking
        assert (outcome.click_id, outcome.outcome, outcome.status) == ("c", "delivered", 200)
        assert (outcome.attempts, outcome.acceptance_rate) == (3, 0.5)

    async def test_an_export_that_does_not_come_is_told_at_the_deadline(self, cluster: Cluster) -> None:
        async with _stream(cluster) as stream:
            with pytest.raises(TimeoutError, match=r"after 0\.1 s"):
                await stream.click_until_exported(_SUGGESTION, within_s=0.1)
        assert len(await _clicks_on(cluster)) == 1


_SUGGESTION = Suggestion(
    interaction_id="i-1",
    id="s-1",
    title="",
    type="",
    confidence=None,
    relevance_score=None,
    knowledge_article_id="a-1",
    raw=b"{}",
)


async def _first(stream: AgentAssistStream) -> RankedBatch:
    async for batch in stream:
        return batch
    raise AssertionError("the stream was closed")


async def _all(stream: AgentAssistStream) -> list[RankedBatch]:
    return [batch async for batch in stream]


async def _audit(cluster: Cluster, event: str, **fields: object) -> None:
    record = audit_now(cluster.topics.suggestion_audit, event, "i-1", at_ms=0, partition=0, **fields)
    await _send(cluster, record.topic, "i-1", record.value or b"")
