"""A release that sets good records aside, the one after it, and a replay: when all is done, nothing is missing."""

from collections.abc import Callable
from itertools import count, cycle
from typing import Any

import pytest

from bridge.adapters.kafka.replay import Order, Replay
from bridge.core import budget, exports, ranking, values
from bridge.core.dialects.agentassist import MAX_FRAME_BYTES
from bridge.core.errors import MalformedError
from bridge.core.events.dead_letters import DeadLettersWritten
from bridge.core.records import header_of, source_of
from bridge.demo.accounts import is_delivered
from bridge.simulator.clicks import ClickMix
from bridge.simulator.script import Answer
from bridge.simulator.times import now_ms
from tests.kafka.cluster import Cluster
from tests.kafka.stream import assert_verified, until_all_is_done
from tests.kafka.traffic import Traffic, hops_at_work, traffic_on

pytestmark = pytest.mark.broker

_CLASSES = ("decode", "schema", "oversize", "key-mismatch")
# The bad release may go on for as long as the test wants.
_NO_LIMIT = budget.Options(max_ratio=1, max_consecutive=1_000_000)
# What is not clicked on well is set aside by any release.
_GOOD_CLICKS = ClickMix(click_share=0.5, malformed_share=0, misplaced_share=0)


def refusing(read: Callable[..., Any]) -> Callable[..., Any]:
    """Reads two of three; the third one is of each class in turn."""
    numbers, classes = count(), cycle(_CLASSES)

    def read_or_refuse(*arguments: Any, **options: Any) -> Any:
        if next(numbers) % 3 == 0:
            raise MalformedError(next(classes), "a bad release")
        return read(*arguments, **options)

    return read_or_refuse


async def test_what_a_bad_release_has_set_aside_is_sent_back_and_the_books_balance(
    bootstrap_servers: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Raw records, lists, clicks and exports, set aside by real workers in the middle of their work."""
    cluster = Cluster(bootstrap_servers, prefix, partitions=4)
    topics = cluster.topics
    letters = [topics.dlq_ranker, topics.dlq_clicks, topics.dlq_exports]
    expected = [(topic, dlq_class) for topic in letters for dlq_class in _CLASSES]
    async with traffic_on(cluster, mix=_GOOD_CLICKS, per_s=100) as traffic:
        traffic.kmp.post(Answer(name="refuses", status=422, count=3))
        with monkeypatch.context() as release:
            release.setattr("bridge.core.ranking.rank", refusing(ranking.rank))
            release.setattr("bridge.workers.tally.decode_ranked", refusing(ranking.decode_ranked))
            release.setattr("bridge.workers.tally.decode_click", refusing(values.decode_click))
            release.setattr("bridge.workers.exporter.export_of", refusing(exports.export_of))
            async with hops_at_work(traffic, dlq=_NO_LIMIT) as bad:
                for topic, dlq_class in [*expected, (topics.dlq_exports, "http-refused")]:
                    await bad.until(DeadLettersWritten, _is_of(topic, dlq_class))
        async with hops_at_work(traffic):
            await traffic.end()
            replay = Replay(cluster.clients, topics, max_frame_bytes=MAX_FRAME_BYTES, clock=now_ms)
            outcome = await replay.run(Order(topics=letters))
            await until_all_is_done(cluster)
    assert outcome.left == {}
    assert {(topic, dlq_class) for topic, dlq_class, _ in outcome.sent} >= set(expected)
    await assert_verified(cluster)
    await assert_that_nothing_is_missing(traffic)


def _is_of(topic: str, dlq_class: str) -> Callable[[DeadLettersWritten], bool]:
    return lambda event: (event.topic, event.class_) == (topic, dlq_class)


async def assert_that_nothing_is_missing(traffic: Traffic) -> None:
    """Each frame was ranked, or told why not; of each click the KMP has the export."""
    cluster, topics = traffic.cluster, traffic.cluster.topics
    frames = {source_of(raw): header_of(raw, "ce_id") for raw in await cluster.read(topics.raw_suggestions)}
    told = await _sources_on(cluster, topics.suggestion_audit)
    assert {frames[one] for one in told & frames.keys()} == {one.digest.encode() for one in traffic.stream.frames}
    clicks = {source_of(click): click.value for click in await cluster.read(topics.suggestion_clicks)}
    counted = {clicks[one] for one in await _sources_on(cluster, topics.acceptance_exports)}
    assert counted == set(clicks.values()), "one that was sent twice is the same bytes"
    delivered = {post.key for post in traffic.kmp.posts if is_delivered(post)}
    written = {header_of(one, "ce_id") or b"" for one in await cluster.read(topics.acceptance_exports)}
    assert delivered == {one.decode() for one in written}


async def _sources_on(cluster: Cluster, topic: str) -> set[str]:
    return {(header_of(one, "x-source") or b"").decode() for one in await cluster.read(topic)}
