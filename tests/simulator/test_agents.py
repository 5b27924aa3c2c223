"""On a broker: ranked lists in, clicks out."""

import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import httpx
import pytest

from bridge.adapters.kafka.clients import Clients, Options
from bridge.adapters.kafka.live import Publisher
from bridge.adapters.kafka.reader import read
from bridge.adapters.kafka.topics import apply
from bridge.core import topics as topic_names
from bridge.core.errors import StartError
from bridge.core.partitions import partition_of
from bridge.core.records import NewRecord, Record
from bridge.core.topics import Topics, plans_of, topics_of
from bridge.simulator.agents import AgentsSimulator
from bridge.simulator.clicks import ClickMix
from bridge.simulator.script import BeSlow, Burst, Garbage, SendFrame
from bridge.simulator.times import now_ms
from tests.simulator.speaking import post

pytestmark = pytest.mark.broker

PARTITIONS = 3
# Everybody clicks once on every list, at once and without a fault.
PLAIN = ClickMix(
    click_share=1,
    second_share=0,
    repeat_share=0,
    malformed_share=0,
    misplaced_share=0,
    without_id_share=0,
    min_delay_s=0,
    max_delay_s=0,
)


@pytest.fixture
async def clients(bootstrap_servers: str) -> Clients:
    return Clients(Options(bootstrap_servers=bootstrap_servers))


@pytest.fixture
async def topics(clients: Clients, prefix: str) -> Topics:
    topics = topics_of(topic_names.Options(partitions=PARTITIONS), prefix=prefix)
    plans = [plan for plan in plans_of(topics) if plan.name in {topics.ranked_suggestions, topics.suggestion_clicks}]
    await apply(clients, plans, partitions=PARTITIONS, replication_factor=1, dry_run=False)
    return topics


def ranked(interaction_id: str, topics: Topics, *, sent_at_ms: int | None = None) -> NewRecord:
    """A ranked list with two suggestions."""
    suggestions = [
        {"id": f"s-{n}", "knowledgeArticleId": f"a-{n}", "sentAt": sent_at_ms or now_ms(), "serial": n} for n in (1, 2)
    ]
    value = {"interactionId": interaction_id, "timestamp": "", "rankedSuggestions": suggestions, "latencyMs": 1}
    return NewRecord(
        topic=topics.ranked_suggestions, key=interaction_id.encode(), value=json.dumps(value).encode(), headers=()
    )


@asynccontextmanager
async def publishing(clients: Clients) -> AsyncIterator[Publisher]:
    publisher = await Publisher(clients).start()
    try:
        yield publisher
    finally:
        await publisher.close()


async def clicks_on(clients: Clients, topics: Topics) -> list[Record]:
    async with aclosing(read(clients, topics.suggestion_clicks, from_start=True, until_end=True)) as records:
        return [record async for record in records]


async def test_clicks_on_the_lists_that_come_after_its_start(clients: Clients, topics: Topics) -> None:
    async with publishing(clients) as publisher:
        await publisher.publish(ranked("i-before", topics))
        async with AgentsSimulator(clients, topics, mix=PLAIN) as agents:
            for number in range(10):
                await publisher.publish(ranked(f"i-{number}", topics, sent_at_ms=now_ms() - 5))
            await agents.until(lambda: sum(click.offset is not None for click in agents.clicks) == 10)
            assert await agents.stop_clicking()

    written = await clicks_on(clients, topics)
    assert {json.loads(record.value or b"")["interactionId"] for record in written} == {f"i-{n}" for n in range(10)}
    assert all(record.partition == partition_of(record.key or b"", PARTITIONS) for record in written)
    assert {(click.topic, click.partition, click.offset, click.click_id) for click in agents.clicks} == {
        (record.topic, record.partition, record.offset, json.loads(record.value or b"")["clickId"])
        for record in written
    }
    assert agents.lists_seen == 10
    assert len(agents.latencies_ms) == 10
    assert min(agents.latencies_ms) >= 5


async def test_repeats_misplaces_and_breaks_clicks(clients: Clients, topics: Topics) -> None:
    mix = ClickMix(
        click_share=1, repeat_share=0.3, malformed_share=0.2, misplaced_share=0.2, min_delay_s=0, max_delay_s=0.05
    )
    async with publishing(clients) as publisher, AgentsSimulator(clients, topics, mix=mix, seed=4) as agents:
        for number in range(60):
            await publisher.publish(ranked(f"i-{number}", topics))
        await agents.until(lambda: agents.lists_seen == 60)
        await agents.until(lambda: agents.state().waiting == 0 and agents.state().on_the_way == 0)
        sent = list(agents.clicks)

    kinds = Counter(click.kind for click in sent)
    assert min(kinds["good"], kinds["repeat"], kinds["malformed"]) > 0
    assert any(click.is_misplaced for click in sent)
    written = {(record.partition, record.offset): record for record in await clicks_on(clients, topics)}
    assert set(written) == {(click.partition, click.offset) for click in sent}
    for click in sent:
        record = written[click.partition or 0, click.offset or 0]
        assert click.is_misplaced == (record.partition != partition_of(record.key or b"", PARTITIONS))
    repeated = [click.click_id for click in sent if click.kind == "repeat"]
    assert set(repeated) <= {click.click_id for click in sent if click.kind == "good"}


async def test_slow_agents_still_read(clients: Clients, topics: Topics) -> None:
    script = [BeSlow(name="lunch", delay_s=3600, for_s=60)]
    async with (
        publishing(clients) as publisher,
        AgentsSimulator(clients, topics, mix=PLAIN, script=script) as agents,
    ):
        await agents.until(lambda: len(agents.faults) == 1)
        for number in range(5):
            await publisher.publish(ranked(f"i-{number}", topics))
        await agents.until(lambda: agents.lists_seen == 5)
        assert agents.state().waiting == 5
        assert await agents.stop_clicking()
        assert agents.clicks == []


async def test_bursts_and_breaks_by_script_and_is_steered_over_http(clients: Clients, topics: Topics) -> None:
    never = ClickMix(click_share=0)
    async with publishing(clients) as publisher, AgentsSimulator(clients, topics, mix=never) as agents:
        agents.post(Burst(name="flood", frames=7), Garbage(name="broken", count=2))
        await publisher.publish(ranked("i-1", topics))
        await agents.until(lambda: sum(click.offset is not None for click in agents.clicks) == 9)
        stopped = (await post(agents.base_url, "/simulator/stop")).json()
        assert stopped["isStopped"]
        assert stopped["clicks"] == {"good": 7, "malformed": 2}
        async with httpx.AsyncClient(base_url=agents.base_url) as http:
            assert len((await http.get("/simulator/clicks")).json()) == 9
            assert len((await http.get("/simulator/latencies")).json()) == 1
            state = (await http.get("/simulator/state")).json()
        assert [fault["name"] for fault in state["faults"]] == ["flood", "broken"]
        with pytest.raises(ValueError, match="cannot do SendFrame"):
            agents.post(SendFrame(name="frame"))


async def test_says_which_topic_is_missing(clients: Clients, prefix: str) -> None:
    topics = topics_of(topic_names.Options(), prefix=prefix)
    with pytest.raises(StartError, match="ranked-suggestions does not exist"):
        async with AgentsSimulator(clients, topics):
            pass
