"""What the tally makes of clicks that came in strange ways, on a real broker."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from bridge.core.events.engine import NumberRestored
from bridge.core.partitions import partition_of
from bridge.core.records import Record, header_of, source_of
from tests.kafka.cluster import Cluster
from tests.kafka.working import working

pytestmark = [pytest.mark.broker, pytest.mark.faults]


def click(interaction_id: str, *, click_id: str | None = None) -> bytes:
    body = {"interactionId": interaction_id, "suggestionId": "s-1", "articleId": "a-1"}
    return msgspec.json.encode(body if click_id is None else body | {"clickId": click_id})


def home_of(cluster: Cluster, interaction_id: str) -> int:
    return partition_of(interaction_id.encode(), cluster.topics.partitions)


async def until_counted(cluster: Cluster) -> None:
    topics = cluster.topics
    await cluster.until_at_rest(("tally", topics.ranked_suggestions), ("tally", topics.suggestion_clicks))


async def audited(cluster: Cluster, event: str) -> list[dict[str, Any]]:
    values = [
        msgspec.json.decode(record.value or b"") for record in await cluster.read(cluster.topics.suggestion_audit)
    ]
    return [value for value in values if value["event"] == event]


def accepted_of(acceptances: Sequence[Record]) -> dict[str, int]:
    latest = {(record.key or b"").decode(): record.value for record in acceptances}
    return {key: msgspec.json.decode(value or b"")["accepted"] for key, value in latest.items()}


async def test_a_click_on_the_wrong_partition_is_moved_and_counted_once(cluster: Cluster) -> None:
    topics, home = cluster.topics, home_of(cluster, "i-1")
    async with working(cluster, "tally"):
        await cluster.send(topics.suggestion_clicks, click("i-1", click_id="c-1"), number=1 - home)
        await cluster.send(topics.suggestion_clicks, click("i-1"), number=1 - home)
        await until_counted(cluster)
    first, second, *moved = await cluster.read(topics.suggestion_clicks)
    stray, copies = ([first, second], moved) if first.partition != home else (moved, [first, second])
    assert [(one.partition, one.key, one.value) for one in copies] == [(home, b"i-1", one.value) for one in stray]
    assert [header_of(one, "x-source") for one in copies] == [source_of(one).encode() for one in stray]
    exports = await cluster.read(topics.acceptance_exports)
    assert [(one.partition, one.key) for one in exports] == [(home, b"i-1")] * 2
    assert len({header_of(one, "ce_id") for one in exports}) == 2
    assert accepted_of(await cluster.read(topics.interaction_acceptance)) == {"i-1": 2}
    assert len(await audited(cluster, "click_moved")) == len(await audited(cluster, "suggestion_accepted")) == 2


async def test_a_click_that_was_sent_to_both_partitions_is_counted_once(cluster: Cluster) -> None:
    topics = cluster.topics
    async with working(cluster, "tally"):
        for number in range(2):
            await cluster.send(topics.suggestion_clicks, click("i-1", click_id="c-1"), number=number)
        await until_counted(cluster)
    assert accepted_of(await cluster.read(topics.interaction_acceptance)) == {"i-1": 1}
    assert len(await cluster.read(topics.acceptance_exports)) == 1
    assert [value["clickId"] for value in await audited(cluster, "click_repeated")] == ["c-1"]


async def test_the_same_click_id_counts_once_in_each_interaction(cluster: Cluster) -> None:
    topics = cluster.topics
    interactions = ["i-1", "i-2", "i-3"]
    async with working(cluster, "tally"):
        for interaction_id in interactions * 2:
            value, key = click(interaction_id, click_id="c-1"), interaction_id.encode()
            await cluster.send(topics.suggestion_clicks, value, key=key, number=home_of(cluster, interaction_id))
        await until_counted(cluster)
    exports = await cluster.read(topics.acceptance_exports)
    assert sorted(one.key or b"" for one in exports) == [b"i-1", b"i-2", b"i-3"]
    assert len({header_of(one, "ce_id") for one in exports}) == 3
    assert accepted_of(await cluster.read(topics.interaction_acceptance)) == dict.fromkeys(interactions, 1)
    assert len(await audited(cluster, "click_repeated")) == 3


async def test_lost_group_positions_count_and_export_nothing_twice(cluster: Cluster) -> None:
    """D6: the acceptances carry the positions up to which they count."""
    topics, home = cluster.topics, home_of(cluster, "i-1")
    ranked = msgspec.json.encode({"interactionId": "i-1", "rankedSuggestions": [{"id": "s-1"}]})
    async with working(cluster, "tally"):
        await cluster.send(topics.ranked_suggestions, ranked, ranked, number=home)
        # Each click of an identity of its own: a click counted twice would not be taken for a repeat.
        await cluster.send(
            topics.suggestion_clicks, *(click("i-1", click_id=f"c-{at}") for at in range(100)), number=home
        )
        await until_counted(cluster)
    before = accepted_of(await cluster.read(topics.interaction_acceptance))
    await cluster.delete_group("tally")
    assert await cluster.committed("tally", topics.suggestion_clicks) == {}
    async with working(cluster, "tally") as tally:
        await tally.until(NumberRestored, lambda event: event.number == home)
        await cluster.send(topics.suggestion_clicks, click("i-1", click_id="c-100"), number=home)
        await until_counted(cluster)
    assert before == {"i-1": 100}
    assert accepted_of(await cluster.read(topics.interaction_acceptance)) == {"i-1": 101}
    assert len(await cluster.read(topics.acceptance_exports)) == 101
    assert await audited(cluster, "click_repeated") == []
