"""A worker that would set too much aside parks the partition instead, on a real broker."""

import msgspec
import pytest

from bridge.adapters.kafka import lifecycle
from bridge.core.budget import Options
from bridge.core.events.dead_letters import BudgetSpent, DeadLettersWritten
from bridge.core.events.engine import LagMeasured, NumberParked
from bridge.core.partitions import partition_of
from bridge.simulator.kmp import KmpSimulator
from bridge.simulator.script import Answer
from tests.kafka.cluster import Cluster
from tests.kafka.working import kmp_options, working

pytestmark = [pytest.mark.broker, pytest.mark.faults]

HOME = partition_of(b"i-1", 2)


def raw(serial: int) -> bytes:
    suggestions = [{"id": f"s-{serial}", "confidence": 0.9, "relevanceScore": 0.5}]
    return msgspec.json.encode({"interactionId": "i-1", "suggestions": suggestions})


def click(serial: int) -> bytes:
    body = {"interactionId": "i-1", "suggestionId": "s-1", "articleId": "a-1", "clickId": f"c-{serial}"}
    return msgspec.json.encode(body)


async def test_a_stream_that_cannot_be_read_is_parked_told_and_goes_on_once_a_restart_can_read_it(
    cluster: Cluster,
) -> None:
    """The release that can read it is one with a larger budget here: what was refused is worked then, all of it."""
    topics, group = cluster.topics, f"{cluster.options.prefix}ranker"
    async with working(cluster, "ranker", dlq=Options(max_consecutive=5)) as ranker:
        await cluster.send(topics.raw_suggestions, b"{", b"{", number=HOME)
        await ranker.until(DeadLettersWritten)
        await cluster.send(topics.raw_suggestions, *(raw(serial) for serial in range(3)), *[b"{"] * 20, number=HOME)
        spent = await ranker.until(BudgetSpent)
        condition = await ranker.until_condition(group, lambda condition: not condition.is_ready)
        await cluster.send(topics.raw_suggestions, raw(9), number=1 - HOME)
        # The other number goes on, and so does what comes before the record that was too much.
        await cluster.read(topics.ranked_suggestions, until=lambda read: len(read) == 4)
        await ranker.until(BudgetSpent, after=ranker.events.index(spent) + 1)
        assert not ranker.conditions()[group].is_ready
    assert (spent.number, spent.topic, spent.offset, spent.rule) == (HOME, topics.raw_suggestions, 10, "consecutive")
    assert f"more than 5 records of {topics.raw_suggestions} in a row cannot be used" in condition.reason
    assert len(await cluster.read(topics.dlq_ranker)) == 7
    async with working(cluster, "ranker", dlq=Options(max_consecutive=50)) as ranker:
        await cluster.send(topics.raw_suggestions, raw(4), number=HOME)
        await cluster.until_at_rest(("ranker", topics.raw_suggestions))
        assert ranker.conditions()[group].is_ready
    assert len(await cluster.read(topics.dlq_ranker)) == 22
    assert len(await cluster.read(topics.ranked_suggestions)) == 5


async def test_what_a_parked_partition_has_left_is_still_behind(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An alert on the lag must not end because nothing is worked any more."""
    monkeypatch.setattr(lifecycle, "full_jitter_s", lambda *_, **__: 600.0)
    topics = cluster.topics
    async with working(cluster, "ranker", dlq=Options(max_consecutive=5)) as ranker:
        await cluster.send(topics.raw_suggestions, *[b"{"] * 20, number=HOME)
        await ranker.until(NumberParked)
        await ranker.until(LagMeasured, after=len(ranker.events))  # That look may have begun before.
        measured = await ranker.until(LagMeasured, after=len(ranker.events))
    committed = (await cluster.committed("ranker", topics.raw_suggestions))[HOME]
    assert measured.lag_records == 20 - committed > 0


async def test_a_kmp_that_refuses_everything_parks_the_exports_until_it_is_mended(cluster: Cluster) -> None:
    topics, group = cluster.topics, f"{cluster.options.prefix}exporter"
    options = Options(max_consecutive=2)
    async with KmpSimulator() as kmp, working(cluster, "tally", "exporter", kmp=kmp_options(kmp), dlq=options) as both:
        for worker in ("tally", "exporter"):  # On a busy machine the bad release would be over before they are there.
            await both.until_condition(cluster.options.prefix + worker, lambda condition: condition.is_ready)
        kmp.post(Answer(name="a bad release", status=404, for_s=3))
        await cluster.send(topics.suggestion_clicks, *(click(serial) for serial in range(30)), number=HOME)
        await both.until(BudgetSpent)
        await both.until_condition(group, lambda condition: "2 records" in condition.reason)
        await cluster.until_at_rest(("tally", topics.suggestion_clicks), ("exporter", topics.acceptance_exports))
        await both.until_condition(group, lambda condition: condition.is_ready)
        delivered = {post.key for post in kmp.posts if post.status == 200}
        refused = len(await cluster.read(topics.dlq_exports))
    assert refused <= 2
    assert len(delivered) == 30 - refused


async def test_lists_that_are_fine_do_not_hide_clicks_that_are_not(cluster: Cluster) -> None:
    """A tally reads two topics; each has its own budget, and with a spent one it takes one record of each at a time."""
    topics = cluster.topics
    ranked = msgspec.json.encode({"interactionId": "i-1", "rankedSuggestions": [{"id": "s-1"}]})
    async with working(cluster, "tally", dlq=Options(max_consecutive=3)) as tally:
        for _ in range(8):
            await cluster.send(topics.ranked_suggestions, ranked, number=HOME)
            await cluster.send(topics.suggestion_clicks, b"{", number=HOME)
        spent = await tally.until(BudgetSpent)
        again = await tally.until(BudgetSpent, after=tally.events.index(spent) + 1)
    assert (spent.topic, spent.offset) == (again.topic, again.offset) == (topics.suggestion_clicks, 3)
    assert len(await cluster.read(topics.dlq_clicks)) == 3
    async with working(cluster, "tally", dlq=Options(max_consecutive=100)):
        await cluster.until_at_rest(("tally", topics.ranked_suggestions), ("tally", topics.suggestion_clicks))
    assert len(await cluster.read(topics.dlq_clicks)) == 8
    (*_, last) = await cluster.read(topics.interaction_acceptance)
    assert msgspec.json.decode(last.value or b"")["retrieved"] == 8
