"""T11, D6, D9: what is counted, what is remembered of it, and for how long."""

from collections.abc import Sequence
from sys import setprofile
from uuid import NAMESPACE_URL, uuid5

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import astuple

from bridge.core import acceptance
from bridge.core.acceptance import (
    CLICKS_KEPT,
    LISTS_KEPT,
    REPEAT_WITHIN_MS,
    SHOWN_KEPT,
    Acceptance,
    Counted,
    Options,
    Tallies,
    decode_acceptance,
    export_id_of,
    export_of,
    identity_of_click,
)
from bridge.core.errors import MalformedError
from bridge.core.records import Header, Kind, NewRecord, StoredRecord, made_from, positions_header
from bridge.core.times import to_rfc3339
from bridge.core.values import Click, encode

_NOTHING = Acceptance(interaction_id="i")
_CLICK = Click(interaction_id="i", suggestion_id="s", article_id="a")


def _shown(known: Acceptance, identity: bytes, ids: Sequence[str] = (), *, at_ms: int = 0) -> Acceptance:
    after = known.with_list(identity, ids, at_ms=at_ms)
    assert after is not None
    return after


def _clicked(known: Acceptance, identity: str, suggestion_id: str = "s", *, at_ms: int = 0) -> Counted:
    counted = known.with_click(identity, suggestion_id, at_ms=at_ms)
    assert counted is not None
    return counted


# -- counting ----------------------------------------------------------------------------------------------------------


def test_the_rate_is_accepted_over_retrieved() -> None:
    """T11: the tutorial's formula."""
    known = _shown(_shown(_NOTHING, b"1", ["a", "b"]), b"2", ["b", "c"])
    known = _clicked(known, "c1", "b").after
    assert (known.retrieved, known.accepted, known.acceptance_rate) == (2, 1, 0.5)
    assert (known.shown_suggestions, known.accepted_suggestions) == (3, 1)
    assert known.suggestion_acceptance_rate == 1 / 3


def test_the_rate_is_0_when_nothing_was_retrieved() -> None:
    assert _clicked(_NOTHING, "c").after.acceptance_rate == 0


@pytest.mark.parametrize(
    ("later_ms", "rate"), [(0, 0.5), (1, 1.0), (1_000, 1.0), (1_001, 0.5)], ids=["same", "late", "latest", "set back"]
)
def test_a_click_that_is_read_late_sees_only_the_lists_appended_before_it(later_ms: int, rate: float) -> None:
    """A click of the same time as a list comes after it; a clock that was set back is no lateness."""
    known = _shown(_shown(_NOTHING, b"1", at_ms=1_000), b"2", at_ms=60_000 + later_ms)
    counted = _clicked(known, "c", at_ms=60_000)
    assert counted.rate == rate
    assert (counted.after.retrieved, counted.after.acceptance_rate) == (2, 0.5), "all of them count in the end"


def test_a_click_before_every_list_has_the_rate_0() -> None:
    assert _clicked(_shown(_NOTHING, b"1", at_ms=60_000), "c", at_ms=59_990).rate == 0.0


def test_the_rate_may_pass_1_and_that_of_suggestions_may_not() -> None:
    known = _shown(_NOTHING, b"1", ["a", "b"])
    for click in range(3):
        known = _clicked(known, f"c{click}", "a" if click else "b").after
    assert known.acceptance_rate == 3
    assert known.suggestion_acceptance_rate == 1


def test_the_same_list_counts_once_within_30_seconds() -> None:
    known = _shown(_NOTHING, b"1", ["a"], at_ms=1_000)
    assert known.with_list(b"1", ["a"], at_ms=1_000 + REPEAT_WITHIN_MS) is None
    assert known.with_list(b"1", ["a"], at_ms=0) is None
    later = _shown(known, b"1", ["a"], at_ms=1_001 + REPEAT_WITHIN_MS)
    assert later.retrieved == 2
    assert later.with_list(b"1", ["a"], at_ms=1_002 + REPEAT_WITHIN_MS) is None


def test_the_same_click_counts_once() -> None:
    known = _clicked(_NOTHING, "c").after
    assert known.with_click("c", "other", at_ms=9) is None


def test_a_click_matches_what_was_shown() -> None:
    known = _shown(_NOTHING, b"1", ["a", "b"])
    assert _clicked(known, "c", "a").matched is True
    assert _clicked(_clicked(known, "c", "a").after, "d", "a").matched is True
    assert _clicked(known, "c", "x").matched is False
    assert _clicked(known, "c", "x").after.accepted_suggestions == 0


def test_a_click_on_what_may_be_forgotten_is_neither_matched_nor_not() -> None:
    known = _shown(_NOTHING, b"1", ["first", *map(str, range(SHOWN_KEPT - 1))])
    assert _clicked(known, "c", "first").matched is True
    known = _shown(known, b"2", ["one more"])
    assert _clicked(known, "c", "first").matched is None
    assert _clicked(known, "c", "one more").matched is True


def test_an_id_that_is_shown_again_is_remembered_longer_with_what_was_taken() -> None:
    known = _shown(_NOTHING, b"1", ["a", *map(str, range(SHOWN_KEPT - 1))])
    known = _shown(_clicked(known, "c", "a").after, b"2", ["a", "new"])
    after = _clicked(known, "d", "a")
    assert after.matched is True
    assert (after.after.shown_suggestions, after.after.accepted_suggestions) == (SHOWN_KEPT + 1, 1)
    assert _clicked(known, "d", "0").matched is None


def test_a_list_of_thousands_of_ids_is_taken_in_bounded_memory() -> None:
    known = _shown(_NOTHING, b"1", [str(each) for each in range(5_000)])
    assert known.shown_suggestions == 5_000
    assert len(known.recent.shown) == SHOWN_KEPT * 9


def test_a_click_costs_the_same_however_many_came_before() -> None:
    """D9: in calls that are made and in what is remembered; the tutorial went through all events so far."""
    early, late = (_busy(times) for times in (CLICKS_KEPT * 2, 10_000))
    assert (early.accepted, late.accepted) == (CLICKS_KEPT * 2, 10_000)
    assert _calls_of_a_click(early) == _calls_of_a_click(late)
    assert [len(kept) for kept in astuple(early.recent)] == [len(kept) for kept in astuple(late.recent)]


def _busy(times: int) -> Acceptance:
    known = _NOTHING
    for each in range(times):
        known = _clicked(_shown(known, b"%d" % each, [f"{each}"]), f"{each}", f"{each}").after
    return known


def _calls_of_a_click(known: Acceptance) -> int:
    calls: list[str] = []
    setprofile(lambda _frame, event, _argument: calls.append(event))
    try:
        _clicked(known, "one more", "a")
    finally:
        setprofile(None)
    return len(calls)


def test_times_are_those_of_the_records_and_never_go_back() -> None:
    known = _shown(_NOTHING, b"1", at_ms=2_000)
    known = _clicked(known, "c", at_ms=1_000).after
    assert (known.first_at, known.updated_at) == (to_rfc3339(2_000), to_rfc3339(2_000))
    assert _shown(known, b"2", at_ms=3_000).updated_at == to_rfc3339(3_000)


@pytest.mark.parametrize("at_ms", [-1, 0, 10**18])
def test_no_time_breaks_the_memory(at_ms: int) -> None:
    known = _shown(_NOTHING, b"1", ["a"], at_ms=at_ms)
    record = StoredRecord(topic="t", key=b"i", value=encode(known))
    assert decode_acceptance(record) == known


# -- a recount ---------------------------------------------------------------------------------------------------------

_happenings = st.lists(
    st.tuples(
        st.booleans(),
        st.integers(0, 20),
        st.lists(st.integers(0, 8), max_size=4),
        st.integers(0, 12_000),
    ),
    max_size=30,
)


@given(_happenings)
def test_an_acceptance_equals_a_recount_from_the_plain_lists(
    happenings: list[tuple[bool, int, list[int], int]],
) -> None:
    """D6, within the memory's bounds: at most 32 lists, 128 ids, 64 clicks."""
    known, at_ms = _NOTHING, 0
    counted_at: dict[int, int] = {}
    retrieved, clicks, shown, taken = 0, set(), set(), set()
    for is_list, identity, ids, later_ms in happenings:
        at_ms += later_ms
        if is_list:
            after = known.with_list(b"%d" % identity, [str(each) for each in ids], at_ms=at_ms)
            is_repeat = at_ms - counted_at.get(identity, -(10**9)) <= REPEAT_WITHIN_MS
            assert (after is None) == is_repeat
            if after is not None:
                known, counted_at[identity], retrieved = after, at_ms, retrieved + 1
                shown |= set(ids)
        else:
            suggestion = ids[0] if ids else -1
            counted = known.with_click(str(identity), str(suggestion), at_ms=at_ms)
            assert (counted is None) == (identity in clicks)
            if counted is not None:
                assert counted.matched == (suggestion in shown)
                known = counted.after
                clicks.add(identity)
                taken |= {suggestion} & shown
    assert (known.retrieved, known.accepted) == (retrieved, len(clicks))
    assert known.acceptance_rate == (len(clicks) / retrieved if retrieved else 0)
    assert (known.shown_suggestions, known.accepted_suggestions) == (len(shown), len(taken))
    assert 0 <= known.suggestion_acceptance_rate <= 1


# -- on the topic ------------------------------------------------------------------------------------------------------


def test_the_value_has_the_promised_fields_in_their_order() -> None:
    known = _clicked(_shown(_NOTHING, b"1", ["a"], at_ms=1_000), "c", "a", at_ms=2_000).after
    assert encode(known) == (
        b'{"interactionId":"i","retrieved":1,"accepted":1,"acceptanceRate":1.0,"shownSuggestions":1,'
        b'"acceptedSuggestions":1,"suggestionAcceptanceRate":1.0,"firstAt":"1970-01-01T00:00:01.000Z",'
        b'"updatedAt":"1970-01-01T00:00:02.000Z","recent":{"lists":".67w5qvAI000000003e8","shown":"!QzkRxusN",'
        b'"clicks":"./wj/+xlH"}}'
    )


def test_the_memory_goes_on_where_it_was_read_again() -> None:
    """D6: what is restored counts as what was kept."""
    known = _clicked(_shown(_NOTHING, b"1", ["a"]), "c", "a").after
    restored = decode_acceptance(StoredRecord(topic="t", key=b"i", value=encode(known)))
    assert restored == known
    assert restored.with_list(b"1", ["a"], at_ms=5) is None
    assert restored.with_click("c", "a", at_ms=5) is None


_GOOD = encode(_shown(_NOTHING, b"1", ["a"]))


@pytest.mark.parametrize(
    ("value", "key", "dlq_class"),
    [
        (b"{", b"i", "decode"),
        (b"{}", b"i", "schema"),
        (_GOOD, b"j", "key-mismatch"),
        (_GOOD.replace(b'"shown":".', b'"shown":"?'), b"i", "schema"),
        (_GOOD.replace(b'"clicks":""', b'"clicks":"\\n"'), b"i", "schema"),
        (_GOOD.replace(b'"firstAt":"1970', b'"firstAt":"yes!'), b"i", "schema"),
        (_GOOD.replace(b'.000Z","recent"', b'Z","recent"'), b"i", "schema"),
    ],
)
def test_a_state_that_someone_else_wrote_is_refused(value: bytes, key: bytes, dlq_class: str) -> None:
    with pytest.raises(MalformedError) as refused:
        decode_acceptance(StoredRecord(topic="t", key=key, value=value))
    assert refused.value.dlq_class == dlq_class


@given(
    interaction_id=st.text(st.characters(codec="utf-8"), min_size=1, max_size=256),
    lists=st.integers(0, 2 * LISTS_KEPT),
    clicks=st.integers(0, 2 * CLICKS_KEPT),
    counted=st.integers(0, 2**63),
    at_ms=st.integers(-(2**62), 2**62),
)
def test_a_record_stays_below_8_kb(interaction_id: str, lists: int, clicks: int, counted: int, at_ms: int) -> None:
    known = Acceptance(interaction_id=interaction_id, retrieved=counted, shown_suggestions=counted)
    for each in range(lists):
        known = _shown(known, b"%d" % each, [f"{each}-{one}" for one in range(5)], at_ms=at_ms)
    for each in range(clicks):
        known = _clicked(known, str(each), f"{each % max(lists, 1)}-0", at_ms=at_ms).after
    assert _state_record(known).size < 8_192


@pytest.mark.parametrize("character", ["\x01", '"', "\U0010ffff", "ä", "a"])
def test_the_largest_record_stays_below_8_kb(character: str) -> None:
    """The longest id in every width of spelling, the memory full, the longest topic names that Kafka allows."""
    known = Acceptance(
        interaction_id=character * 256, retrieved=2**63, accepted=2**63, shown_suggestions=2**62, accepted_suggestions=1
    )
    for each in range(LISTS_KEPT):
        known = _shown(known, b"%d" % each, [f"{each}-{one}" for one in range(5)], at_ms=253_402_300_799_999)
    for each in range(CLICKS_KEPT):
        known = _clicked(known, str(each), f"{each}-0").after
    assert (len(known.recent.lists), len(known.recent.shown), len(known.recent.clicks)) == (640, 1_152, 576)
    assert _state_record(known).size < 8_192


def _state_record(known: Acceptance) -> NewRecord:
    topics = ("t" * 249, "u" * 249)
    headers = (("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), ("ce_id", b"x" * 1_000))
    source = StoredRecord(topic=topics[0], partition=9_999, offset=2**63 - 1, headers=headers)
    return NewRecord(
        topic="interaction-acceptance",
        key=known.interaction_id.encode(),
        value=encode(known),
        headers=(
            *made_from(source, kind=Kind.ACCEPTANCE, subject=known.interaction_id),
            positions_header(dict.fromkeys(topics, 2**63 - 1)),
        ),
    )


# -- forgetting --------------------------------------------------------------------------------------------------------

_DAY_MS = 86_400_000


def _tallies(*known: Acceptance) -> Tallies:
    tallies = Tallies(Options())
    for each in known:
        tallies.restore(each)
    return tallies


def _named(interaction_id: str, *, at_ms: int) -> Acceptance:
    return _shown(Acceptance(interaction_id=interaction_id), b"1", at_ms=at_ms)


def test_an_interaction_is_forgotten_after_seven_days_of_silence_in_the_streams_time() -> None:
    tallies = _tallies()
    assert tallies.keep(_named("a", at_ms=0)) == []
    assert tallies.keep(_named("b", at_ms=1)) == []
    assert tallies.keep(_named("c", at_ms=7 * _DAY_MS - 1)) == []
    assert tallies.keep(_named("d", at_ms=7 * _DAY_MS + 1)) == ["a", "b"]
    assert len(tallies) == 2
    assert tallies.get("a") is None


def test_one_that_was_heard_of_again_is_not_forgotten() -> None:
    tallies = _tallies()
    for interaction_id, at_ms in (("a", 0), ("b", 1), ("a", 5 * _DAY_MS)):
        tallies.keep(_named(interaction_id, at_ms=at_ms))
    assert tallies.keep(_named("c", at_ms=8 * _DAY_MS)) == ["b"]


def test_an_interaction_that_comes_back_after_the_silence_starts_anew() -> None:
    tallies = _tallies()
    tallies.keep(_named("a", at_ms=0))
    assert tallies.of("a", at_ms=7 * _DAY_MS - 1).retrieved == 1
    assert tallies.of("a", at_ms=7 * _DAY_MS) == Acceptance(interaction_id="a")
    assert tallies.keep(_named("a", at_ms=7 * _DAY_MS)) == []
    assert tallies.of("a", at_ms=7 * _DAY_MS).first_at == to_rfc3339(7 * _DAY_MS)


def test_a_clock_that_was_set_far_back_forgets_at_once_what_it_counts() -> None:
    tallies = _tallies()
    tallies.keep(_named("a", at_ms=9 * _DAY_MS))
    tallies.forget("a")
    tallies.forget("never there")
    assert tallies.keep(_named("b", at_ms=0)) == ["b"]
    assert len(tallies) == 0


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3 * _DAY_MS)), max_size=25), st.integers(0, 25))
def test_what_is_forgotten_is_the_same_after_a_restore(steps: list[tuple[int, int]], at: int) -> None:
    """D6: a restore at any time makes no difference."""
    whole, now_ms = _tallies(), 0
    restarted, states = _tallies(), dict[str, Acceptance]()
    for step, (number, later_ms) in enumerate(steps):
        now_ms += later_ms
        if step == at:
            restarted = _tallies(*states.values())
        state = _named(str(number), at_ms=now_ms)
        forgotten = whole.keep(state)
        assert restarted.keep(state) == forgotten
        states.pop(str(number), None)
        states[str(number)] = state
        for interaction_id in forgotten:
            del states[interaction_id]
    assert len(whole) == len(restarted) == len(states)


# -- clicks and exports ------------------------------------------------------------------------------------------------


def _record(*headers: Header) -> StoredRecord:
    return StoredRecord(topic="suggestion-clicks", partition=1, offset=2, timestamp=1_000, headers=headers)


def test_a_click_is_named_by_its_id_then_its_header_then_its_place() -> None:
    named = msgspec.structs.replace(_CLICK, click_id="c")
    assert identity_of_click(named, _record(("ce_id", b"x"))) == "c"
    assert identity_of_click(_CLICK, _record(("ce_id", b"x"))) == "x"
    assert identity_of_click(_CLICK, _record(("ce_id", b""))) == "suggestion-clicks/1/2"
    assert identity_of_click(_CLICK, _record()) == "suggestion-clicks/1/2"
    assert identity_of_click(_CLICK, _record(("ce_id", b"\xff"))) != identity_of_click(
        _CLICK, _record(("ce_id", b"\xfe"))
    )


def test_the_same_click_id_in_two_interactions_is_two_exports() -> None:
    assert export_id_of("i", "c") != export_id_of("j", "c")
    assert export_id_of("a", 'b","c') != export_id_of('a","b', "c")


def test_an_export_id_is_a_uuid_5_that_stays_what_it_is() -> None:
    """The KMP knows exports by it: a change would have every click posted again."""
    namespace = acceptance._CLICKS
    assert export_id_of("i", "ä") == str(uuid5(namespace, '["i","ä"]'))
    assert export_id_of("i", "c") == "655eb842-9354-59ae-b22e-91d7b66faf04"
    assert namespace != NAMESPACE_URL


def test_an_export_carries_the_clicks_own_time_in_utc() -> None:
    """T12: the tutorial's body."""
    click = msgspec.structs.replace(_CLICK, clicked_at="2026-01-05T12:00:00.1239+02:00")
    assert export_of(click, acceptance_rate=0.5, timestamp_ms=0) == (
        b'{"type":"agent_assist_sync","interactionId":"i","acceptedArticleId":"a","acceptanceRate":0.5,'
        b'"exportedAt":"2026-01-05T10:00:00.123Z"}'
    )


def test_an_export_of_a_click_without_a_time_carries_the_records() -> None:
    assert export_of(_CLICK, acceptance_rate=0, timestamp_ms=1_000).endswith(
        b'"exportedAt":"1970-01-01T00:00:01.000Z"}'
    )
