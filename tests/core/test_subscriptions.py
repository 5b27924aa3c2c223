"""The subscription table: what follows from the records of the topic and from rebalances."""

from itertools import count

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.partitions import partition_of
from bridge.core.records import StoredRecord
from bridge.core.subscriptions import Changes, Ended, Subscriptions, is_alive, subscription_record

PARTITIONS = 4
NOW_MS = 1_000_000
TTL_S = 100.0
ALL = frozenset(range(PARTITIONS))

_offsets = count()


def home(interaction_id: str) -> int:
    return partition_of(interaction_id.encode(), PARTITIONS)


def record(
    interaction_id: str,
    value: bytes | None = b"",
    *,
    at_ms: int = NOW_MS,
    partition: int | None = None,
    key: bytes | None = b"",
    **fields: object,
) -> StoredRecord:
    """A record of the topic; its value is a subscription unless another one is given."""
    if value == b"":
        value = msgspec.json.encode({"interactionId": interaction_id, **fields})
    return StoredRecord(
        topic="subscriptions",
        partition=home(interaction_id) if partition is None else partition,
        offset=next(_offsets),
        timestamp=at_ms,
        key=interaction_id.encode() if key == b"" else key,
        value=value,
    )


class Table:
    """The table under test, with everything owned and loaded unless a test says otherwise."""

    def __init__(self, *, is_loaded: bool = True, fresh: tuple[str, ...] = ()) -> None:
        self.table = Subscriptions(partitions=PARTITIONS, ttl_s=TTL_S, fresh=fresh)
        if is_loaded:
            self.says(loaded=ALL)

    def says(
        self,
        *records: StoredRecord,
        owned: frozenset[int] = ALL,
        loaded: frozenset[int] = frozenset(),
        at_ms: int = NOW_MS,
    ) -> Changes:
        return self.table.apply(owned=owned, records=records, loaded=loaded, at_ms=at_ms)


def ended(interaction_id: str, reason: str, request_id: str | None = None) -> Ended:
    return Ended(interaction_id=interaction_id, request_id=request_id, reason=reason)


def test_a_new_record_is_subscribed() -> None:
    """T4: what is asked for is subscribed, with the record's own window and types where it has them."""
    says = Table().says(record("i", suggestionTypes=["knowledge"]))
    assert list(says.subscribe) == ["i"]
    assert says.subscribe["i"].suggestion_types == ("knowledge",)
    assert not says.taken_over


def test_a_null_ends_it() -> None:
    table = Table()
    table.says(record("i"))
    table.table.started("i", request_id="r")
    says = table.says(record("i", None))
    assert says.unsubscribe == ["i"]
    assert says.ended == [ended("i", "unsubscribed", "r")]
    assert len(table.table) == 0
    assert table.says(record("i", None)) == Changes()


def test_the_same_once_more_only_renews_it() -> None:
    table = Table()
    table.says(record("i"))
    assert table.says(record("i", at_ms=NOW_MS + 50_000)) == Changes()
    assert table.table.expire(at_ms=NOW_MS + 100_000) == Changes()
    assert (expired := table.table.expire(at_ms=NOW_MS + 150_000)) is not None
    assert expired.expired == ["i"]


def test_another_content_replaces_it() -> None:
    table = Table()
    table.says(record("i"))
    table.table.started("i", request_id="r")
    says = table.says(record("i", suggestionTypes=["process"]))
    assert list(says.subscribe) == ["i"]
    assert not says.ended
    assert table.table.started("i", request_id="r2") == "again"


def test_within_one_change_the_last_word_counts() -> None:
    table = Table()
    says = table.says(record("i"), record("i", None), record("j"), record("j", None), record("j"))
    assert list(says.subscribe) == ["j"]
    assert says.unsubscribe == ["i", "j"]


def test_a_gained_partition_is_subscribed_once_it_is_loaded() -> None:
    table = Table(is_loaded=False)
    assert table.says(record("i"), record("over"), record("over", None)) == Changes()
    assert not table.table.is_loaded
    assert table.table.started("i", request_id="r") is None
    assert list(table.says(loaded=ALL).subscribe) == ["i"]
    assert table.table.is_loaded
    assert table.says(loaded=ALL) == Changes()


def test_what_stood_there_before_the_gain_is_a_takeover() -> None:
    table = Table(is_loaded=False, fresh=("fresh",))
    table.says(at_ms=NOW_MS)
    says = table.says(
        record("old", at_ms=NOW_MS - 1), record("new", at_ms=NOW_MS), record("fresh", at_ms=NOW_MS - 1), loaded=ALL
    )
    assert set(says.subscribe) == {"old", "new", "fresh"}
    assert says.taken_over == ["old"]
    assert table.table.started("old", request_id="r") == "takeover"
    assert table.table.started("new", request_id="r") == "written"
    assert table.table.started("fresh", request_id="r") == "written"


def test_a_takeover_stays_one_when_it_is_written_again_during_the_load() -> None:
    table = Table(is_loaded=False)
    says = table.says(record("i", at_ms=NOW_MS - 1), record("i", at_ms=NOW_MS + 1), loaded=ALL)
    assert says.taken_over == ["i"]


def test_a_rebalance_touches_only_what_is_lost_and_gained() -> None:
    table = Table()
    names = [f"i{number}" for number in range(20)]
    table.says(*(record(name) for name in names))
    table.table.finished(next(name for name in names if home(name) == 0), reason="refused")
    says = table.says(owned=ALL - {0})
    lost = [name for name in names if home(name) == 0][1:]
    assert says.handed_over == lost
    assert not says.unsubscribe
    assert not says.ended
    assert not says.subscribe
    assert table.says(record(lost[0]), owned=ALL - {0}) == Changes()
    back = table.says(record(lost[0], at_ms=NOW_MS - 1), loaded=frozenset({0}))
    assert back.taken_over == list(back.subscribe) == [lost[0]]


def test_a_partition_that_is_lost_while_it_loads_was_never_subscribed() -> None:
    table = Table(is_loaded=False)
    table.says(record("i"))
    assert table.says(owned=frozenset(), loaded=ALL) == Changes()


def test_one_that_genesys_ended_waits_until_it_is_written_again() -> None:
    table = Table()
    table.says(record("i"))
    table.table.started("i", request_id="r")
    assert table.table.finished("i", reason="refused: no_such") == ended("i", "refused: no_such", "r")
    assert table.table.finished("i", reason="refused: no_such") is None
    assert table.table.finished("unknown", reason="refused: no_such") is None
    assert table.table.started("i", request_id="late") is None
    assert list(table.says(record("i")).subscribe) == ["i"]
    assert table.table.started("i", request_id="r2") == "written"


def test_one_that_genesys_ended_is_not_told_twice() -> None:
    table = Table()
    table.says(record("i"), record("j"))
    table.table.finished("i", reason="closed")
    table.table.finished("j", reason="closed")
    assert not table.says(record("i", None)).ended
    expired = table.table.expire(at_ms=NOW_MS + 100_000)
    assert expired is not None
    assert expired.expired == ["j"]
    assert not expired.ended


def test_expires_at_its_time_or_after_its_ttl() -> None:
    table = Table()
    table.says(record("early", expiresAt="1970-01-01T00:16:50Z"), record("late"))
    assert table.table.expire(at_ms=1_009_999) is None
    expired = table.table.expire(at_ms=1_010_000)
    assert expired is not None
    assert expired.expired == expired.unsubscribe == ["early"]
    assert expired.ended == [ended("early", "expired")]
    assert table.table.expire(at_ms=1_099_999) is None
    assert (rest := table.table.expire(at_ms=1_100_000)) is not None
    assert rest.expired == ["late"]
    assert table.table.expire(at_ms=9_999_999) is None


def test_one_that_had_expired_before_the_gain_is_taken_over_and_ended_and_never_subscribed() -> None:
    """It was wanted until then, and perhaps nobody had it."""
    table = Table(is_loaded=False)
    says = table.says(record("i", at_ms=NOW_MS - 100_000), loaded=ALL)
    assert not says.subscribe
    assert says.taken_over == ["i"]
    expired = table.table.expire(at_ms=NOW_MS)
    assert expired is not None
    assert expired.expired == ["i"]
    assert expired.ended == [ended("i", "expired")]


def test_one_that_has_expired_when_it_is_written_is_never_subscribed() -> None:
    """As one that is sent back from the dead letters days later."""
    table = Table()
    assert not table.says(record("i", at_ms=NOW_MS - 100_000)).subscribe
    expired = table.table.expire(at_ms=NOW_MS)
    assert expired is not None
    assert expired.expired == ["i"]


def test_one_that_had_expired_before_the_gain_is_subscribed_if_it_is_renewed_before_it_is_ended() -> None:
    table = Table(is_loaded=False)
    table.says(record("i", at_ms=NOW_MS - 100_000), loaded=ALL)
    assert list(table.says(record("i")).subscribe) == ["i"]
    assert table.table.started("i", request_id="r") == "takeover"


def test_only_what_is_owned_and_loaded_expires() -> None:
    table = Table(is_loaded=False)
    home_of_i = frozenset({home("i")})
    other = next(name for name in "abcdefgh" if home(name) != home("i"))
    table.says(record("i"), record(other), loaded=home_of_i)
    expired = table.table.expire(at_ms=NOW_MS + 100_000)
    assert expired is not None
    assert expired.expired == ["i"]


@pytest.mark.parametrize(
    ("malformed", "dlq_class"),
    [
        (record("i", b"{"), "decode"),
        (record("i", b"[]"), "schema"),
        (record("i", expiresAt="tomorrow"), "schema"),
        (record("i", key=b"j", partition=home("j")), "key-mismatch"),
        (record("i", key=None), "key-mismatch"),
        (record("i", key=b"\xff"), "key-mismatch"),
        (record("i", partition=(home("i") + 1) % PARTITIONS), "misplaced"),
        (record("i", None, partition=(home("i") + 1) % PARTITIONS), "misplaced"),
    ],
)
def test_what_is_no_subscription_is_a_fault_and_changes_nothing(malformed: StoredRecord, dlq_class: str) -> None:
    table = Table()
    table.says(record("i"))
    says = table.says(malformed)
    assert [(fault.record, fault.dlq_class) for fault in says.faults] == [(malformed, dlq_class)]
    assert not says.subscribe
    assert not says.unsubscribe
    assert len(table.table) == 1


def test_a_fault_that_stood_there_is_told_while_it_is_young_and_the_last_of_its_key() -> None:
    table = Table(is_loaded=False)
    young, old = record("young", b"{", at_ms=NOW_MS - 99_999), record("old", b"{", at_ms=NOW_MS - 100_000)
    assert table.says(young, old, record("mended", b"{"), record("mended")) == Changes()
    says = table.says(loaded=ALL)
    assert [fault.record for fault in says.faults] == [young]
    assert list(says.subscribe) == ["mended"]
    assert not table.says(loaded=ALL).faults


def test_alive_is_a_subscription_that_has_not_expired() -> None:
    assert is_alive(record("i"), ttl_s=TTL_S, at_ms=NOW_MS + 99_999)
    assert not is_alive(record("i"), ttl_s=TTL_S, at_ms=NOW_MS + 100_000)
    for none in (None, record("i", None), record("i", b"{")):
        assert not is_alive(none, ttl_s=TTL_S, at_ms=NOW_MS)


def test_a_record_of_ours_carries_the_headers_of_a_subscription() -> None:
    written = subscription_record("subscriptions", "i", value=None, partition=2, at_ms=0)
    assert (written.topic, written.key, written.value, written.partition) == ("subscriptions", b"i", None, 2)
    assert dict(written.headers)["ce_type"] == b"agentassist.subscription.requested"


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("write"), st.sampled_from("abcdef")),
            st.tuples(st.just("null"), st.sampled_from("abcdef")),
            st.tuples(st.just("owned"), st.frozensets(st.integers(0, PARTITIONS - 1))),
        ),
        max_size=40,
    )
)
def test_what_the_sockets_carry_is_what_the_owned_partitions_say(steps: list[tuple[str, str | frozenset[int]]]) -> None:
    topic: dict[str, bool] = {}
    owned, carried = ALL, set[str]()
    table = Table()
    for what, argument in steps:
        if isinstance(argument, frozenset):
            gained, owned = argument - owned, argument
            stored = [record(name) for name, is_there in topic.items() if is_there and home(name) in gained]
            says = table.says(*stored, owned=owned, loaded=gained)
        else:
            topic[argument] = what == "write"
            says = table.says(record(argument, b"" if what == "write" else None), owned=owned)
        carried -= {*says.unsubscribe, *says.handed_over}
        carried |= set(says.subscribe)
        assert carried == {name for name, is_there in topic.items() if is_there and home(name) in owned}
