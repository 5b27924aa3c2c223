"""Names and set-up of the topics."""

import pytest

from bridge.core.topics import MAX_RECORD_BYTES, Options, plans_of, topics_of


def test_the_prefix_stands_before_every_name() -> None:
    topics = topics_of(Options(raw_suggestions="raw", partitions=3), prefix="eu.")
    assert topics.raw_suggestions == "eu.raw"
    assert topics.partitions == 3
    assert all(name.startswith("eu.") for name in topics.names())


def test_names_are_the_promised_ones() -> None:
    assert list(topics_of(Options()).names()) == [
        "interaction-subscriptions",
        "raw-suggestions",
        "ranked-suggestions",
        "suggestion-clicks",
        "interaction-acceptance",
        "acceptance-exports",
        "suggestion-audit",
        "dlq.ingress",
        "dlq.ranker",
        "dlq.clicks",
        "dlq.exports",
    ]


def test_every_topic_has_a_plan() -> None:
    topics = topics_of(Options(), prefix="eu.")
    assert [plan.name for plan in plans_of(topics)] == list(topics.names())


def test_lists_and_clicks_are_ordered_by_the_brokers_clock() -> None:
    by_append_time = {plan.name for plan in plans_of(topics_of(Options())) if "message.timestamp.type" in plan.configs}
    assert by_append_time == {"ranked-suggestions", "suggestion-clicks"}


def test_tables_are_compacted_and_streams_kept_for_days() -> None:
    plans = {plan.name: plan.configs for plan in plans_of(topics_of(Options()))}
    day_ms = 86_400_000
    assert {name for name, configs in plans.items() if configs["cleanup.policy"] == "compact"} == {
        "interaction-subscriptions",
        "interaction-acceptance",
    }
    kept = {
        name: int(configs["retention.ms"]) // day_ms for name, configs in plans.items() if "retention.ms" in configs
    }
    assert kept == {
        "raw-suggestions": 7,
        "ranked-suggestions": 7,
        "suggestion-clicks": 30,
        "acceptance-exports": 30,
        "suggestion-audit": 90,
        "dlq.ingress": 30,
        "dlq.ranker": 30,
        "dlq.clicks": 30,
        "dlq.exports": 30,
    }


def test_a_dead_letter_has_room_for_the_largest_record() -> None:
    limits = {plan.name: int(plan.configs["max.message.bytes"]) for plan in plans_of(topics_of(Options()))}
    assert MAX_RECORD_BYTES < limits.pop("raw-suggestions") == 1024**2
    assert all(limit == (2 * 1024**2 if name.startswith("dlq.") else 1024**2) for name, limit in limits.items())


@pytest.mark.parametrize(("replication_factor", "is_set"), [(1, False), (2, False), (3, True), (5, True)])
def test_from_three_replicas_on_what_is_acknowledged_is_on_two(replication_factor: int, is_set: bool) -> None:
    plans = plans_of(topics_of(Options()), replication_factor=replication_factor)
    told = {plan.configs.get("min.insync.replicas") for plan in plans}
    assert told == ({"2"} if is_set else {None})
