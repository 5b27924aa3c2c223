import asyncio

import pytest

from bridge.core.events.exporter import (
    BreakerReset,
    BreakerTripped,
    ExportCut,
    ExportDelivered,
    ExportPosted,
    ExportRefused,
    ExportRetried,
    KmpBack,
    KmpDown,
    KmpUnasked,
)
from bridge.core.events.kinds import Event
from bridge.core.exports import Export, export_of
from bridge.core.records import StoredRecord
from bridge.core.verdict import Answered, Delivered, NoAnswer, Refused, RetryAfter, RetryPolicy
from bridge.workers.outlet import Outlet
from tests.fakes.kmp import FakeKmp, ManualTime

_POLICY = RetryPolicy(retry_statuses=(409, 429, 500, 503), retry_after_max_s=300, backoff_first_s=2, backoff_cap_s=30)


class _Set:
    """An outlet and everything around it."""

    def __init__(self, *, max_in_flight: int = 64) -> None:
        self.kmp = FakeKmp()
        self.time = ManualTime()
        self.events: list[Event] = []
        self.outlet = Outlet(
            kmp=self.kmp,
            policy=_POLICY,
            max_in_flight=max_in_flight,
            clock=lambda: int(self.time.now_s * 1000),
            emit=self._emit,
            chance=lambda: 1.0,
            monotonic=self.time.monotonic,
            sleep=self.time.sleep,
        )

    def _emit(self, event: Event) -> None:
        self.events.append(event)

    async def fail(self, *names: str, retry_after: str | None = None) -> None:
        """Posts these, and the KMP answers 503."""
        self.kmp.always = Answered(status=503, retry_after=retry_after)
        for name in names:
            await self.outlet.post(_export(name), attempt=1)
        self.kmp.always = Answered(status=200)

    def told(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]


def _export(name: str, *, number: int = 0) -> Export:
    headers = (("ce_id", name.encode()),)
    return export_of(
        StoredRecord(topic="acceptance-exports", partition=number, key=b"i1", value=b"{}", headers=headers)
    )


async def test_returns_the_verdict_and_tells_it() -> None:
    """T12: delivered, refused or to be posted again."""
    made = _Set()
    made.kmp.answers = [Answered(status=204), Answered(status=422), NoAnswer(cause="connection", detail="ConnectError")]
    verdicts = [await made.outlet.post(_export(name), attempt=attempt) for attempt, name in enumerate("abc", start=1)]
    assert verdicts == [
        Delivered(status=204),
        Refused(status=422, reason="the KMP answered 422"),
        RetryAfter(delay_s=8.0, is_asked=False, is_general=True, cause="connection"),
    ]
    assert made.events == [
        ExportPosted(in_flight=1),
        ExportDelivered(export_id="a", status=204, attempts=1, took_s=0.0, in_flight=0),
        ExportPosted(in_flight=1),
        ExportRefused(export_id="b", status=422, attempts=2, took_s=0.0, in_flight=0),
        ExportPosted(in_flight=1),
        ExportRetried(
            export_id="c",
            cause="connection",
            detail="ConnectError",
            delay_s=8.0,
            attempts=3,
            took_s=0.0,
            in_flight=0,
        ),
    ]


async def test_no_more_are_in_flight_than_allowed() -> None:
    made = _Set(max_in_flight=3)
    made.kmp.is_held = True
    async with asyncio.TaskGroup() as tasks:
        for number in range(10):
            tasks.create_task(made.outlet.post(_export(f"e{number}"), attempt=1))
        await made.kmp.until_open(3)
        assert len(made.outlet.posting) == 3
        await made.kmp.let_go()
    assert len(made.kmp.posts) == 10
    assert made.kmp.most_open == 3


async def test_a_rest_that_the_kmp_asks_for_holds_for_every_export() -> None:
    """T12, D8: nobody hammers a KMP that said when to come back."""
    made = _Set()
    await made.fail("a", retry_after="7")
    with made.outlet.waiting():
        await _b_after_the_rest(made)
    assert not made.outlet.waits(1)


async def _b_after_the_rest(made: _Set) -> None:
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(made.outlet.post(_export("b"), attempt=1))
        await made.time.until_sleeping()
        assert len(made.kmp.posts) == 1
        assert made.outlet.waits(1), "on purpose: no number is stuck"
        made.time.advance(6.9)
        assert made.time.sleeping == 1
        made.time.advance(0.2)
        assert await waiting == Delivered(status=200)


async def test_a_retry_of_one_number_is_no_wait_of_the_others() -> None:
    """These may be stuck all the same."""
    made = _Set()
    async with asyncio.TaskGroup() as tasks:
        sleeping = tasks.create_task(made.outlet.sleep_before_retry(2, number=3))
        await made.time.until_sleeping()
        assert made.outlet.waits(3)
        assert not made.outlet.waits(1)
        made.time.advance(2.1)
        await sleeping
    assert not made.outlet.waits(3)


async def test_a_number_whose_exports_have_their_turn_last_is_not_stuck_while_others_get_on() -> None:
    """All numbers share the slots: after an outage a backlog may keep one of them waiting for minutes."""
    made = _Set(max_in_flight=1)
    made.kmp.is_held = True
    async with asyncio.TaskGroup() as tasks:
        for name in "ab":
            tasks.create_task(made.outlet.post(_export(name, number=1), attempt=1))
        tasks.create_task(made.outlet.post(_export("c", number=3), attempt=1))
        await made.kmp.until_open(1)
        made.time.advance(29)
        assert made.outlet.waits(3)
        assert not made.outlet.waits(2), "it has nothing to post"
        made.kmp.waiting[0].answer.set_result(Answered(status=200))
        await made.kmp.until_posts(2)
        made.time.advance(29)
        assert made.outlet.waits(3)
        made.time.advance(1)
        assert not made.outlet.waits(3), "nobody gets on: this may be a fault of ours"
        await made.kmp.let_go()
    assert not made.outlet.waits(3)


async def test_a_kmp_that_was_down_holds_up_nobody_once_nothing_is_left_to_post_here() -> None:
    """Others have the exports now; this process would never learn that it is back."""
    made = _Set()
    with made.outlet.waiting():
        await made.fail(*"abcde")
        made.time.advance(30)
        await made.fail("a")
        assert made.outlet.waits(1)
    assert not made.outlet.waits(1)
    assert made.told(KmpUnasked) == [KmpUnasked(failed_for_s=30.0)]
    made.time.advance(7200)
    with made.outlet.waiting():
        await made.fail("z")
        assert made.outlet.condition().is_ready, "what was learned two hours ago says nothing of this KMP"


async def test_what_others_have_posted_for_a_moment_makes_no_kmp_well() -> None:
    """A rebalance takes all exports and brings them back."""
    made = _Set()
    with made.outlet.waiting():
        await made.fail("a")
        made.time.advance(20)
    made.time.advance(5)
    with made.outlet.waiting():
        made.time.advance(10)
        assert not made.outlet.condition().is_ready


async def test_a_post_that_is_cut_off_is_not_in_flight_any_more() -> None:
    made = _Set()
    made.kmp.is_held = True
    post = asyncio.create_task(made.outlet.post(_export("a"), attempt=1))
    await made.kmp.until_open(1)
    post.cancel()
    await asyncio.wait([post])
    assert made.told(ExportCut) == [ExportCut(export_id="a", in_flight=0)]


async def test_a_kmp_that_is_down_is_asked_by_one_export_at_a_time_and_then_by_all() -> None:
    """D8: a hundred waiting exports are not a hundred POSTs at a KMP that is down."""
    made = _Set(max_in_flight=10)
    await made.fail(*"abcde")
    made.kmp.is_held = True
    async with asyncio.TaskGroup() as tasks:
        posts = [tasks.create_task(made.outlet.post(_export(f"e{number}"), attempt=1)) for number in range(10)]
        for rest_s in (2, 4, 8):
            await made.time.until_sleeping()
            made.time.advance(rest_s)
            await made.kmp.until_open(1)
            assert len(made.kmp.open) == 1
            made.kmp.waiting[0].answer.set_result(Answered(status=503))
        await made.time.until_sleeping()
        made.time.advance(16)
        await made.kmp.until_open(1)
        made.kmp.waiting[0].answer.set_result(Answered(status=200))
        await made.kmp.until_open(6)
        await made.kmp.let_go()
    verdicts = [post.result() for post in posts]
    assert sum(isinstance(verdict, RetryAfter) for verdict in verdicts) == 3
    assert sum(verdict == Delivered(status=200) for verdict in verdicts) == 7


async def test_a_409_holds_up_nobody() -> None:
    made = _Set()
    made.kmp.answers = [Answered(status=409, retry_after="60")]
    await made.outlet.post(_export("a"), attempt=1)
    assert await made.outlet.post(_export("b"), attempt=1) == Delivered(status=200)
    assert made.time.delays == []


async def test_a_post_that_is_cancelled_gives_its_slot_back() -> None:
    made = _Set(max_in_flight=1)
    made.kmp.is_held = True
    async with asyncio.TaskGroup() as tasks:
        cut = tasks.create_task(made.outlet.post(_export("a"), attempt=1))
        await made.kmp.until_open(1)
        cut.cancel()
        await asyncio.wait([cut])
        made.kmp.is_held = False
        assert await made.outlet.post(_export("b"), attempt=1) == Delivered(status=200)
    assert made.outlet.posting == set()


async def test_the_kmp_is_unready_after_half_a_minute_of_failures_while_something_waits() -> None:
    made = _Set()
    await made.fail("a")
    with made.outlet.waiting():
        made.time.advance(29)
        assert made.outlet.condition().is_ready
        made.time.advance(2)
        condition = made.outlet.condition()
        assert (condition.name, condition.is_ready) == ("kmp", False)
        assert condition.reason == "no good answer for 31 s (last: 503); exports wait, none is lost"
        await made.outlet.post(_export("a"), attempt=2)
        assert made.outlet.condition().is_ready


async def test_a_replica_with_nothing_to_post_says_nothing_against_the_kmp() -> None:
    made = _Set()
    await made.fail("a")
    made.time.advance(60)
    assert made.outlet.condition().is_ready


async def test_tells_once_that_the_kmp_is_down_and_once_that_it_is_back() -> None:
    made = _Set()
    await made.fail("a")
    made.time.advance(30)
    await made.fail("a", "a")
    made.time.advance(5)
    await made.outlet.post(_export("a"), attempt=4)
    await made.outlet.post(_export("b"), attempt=1)
    assert made.told(KmpDown) == [KmpDown(cause="503", failing_for_s=30.0)]
    assert made.told(KmpBack) == [KmpBack(failed_for_s=35.0)]


async def test_tells_once_that_the_breaker_trips_and_once_that_it_is_reset() -> None:
    made = _Set()
    made.time.is_flowing = True
    with made.outlet.waiting():
        await made.fail(*"abcd")
        assert made.told(BreakerTripped) == []
        await made.fail(*"ef")
        await made.outlet.post(_export("a"), attempt=2)
        await made.outlet.post(_export("b"), attempt=2)
    assert made.told(BreakerTripped) == [BreakerTripped(cause="503", rest_s=2.0)]
    assert made.told(BreakerReset) == [BreakerReset(reason="answered", tripped_for_s=6.0)]
    assert made.told(KmpDown) == [], "half a minute is not over: the breaker is told before"


async def test_a_breaker_is_told_as_reset_only_when_the_rest_that_was_asked_for_is_over() -> None:
    """A good answer to a post that was under way does not end it: exports go on waiting."""
    made = _Set()
    made.kmp.is_held = True
    async with asyncio.TaskGroup() as tasks:
        with made.outlet.waiting():
            for name in "ab":
                tasks.create_task(made.outlet.post(_export(name), attempt=1))
            await made.kmp.until_open(2)
            made.kmp.waiting[0].answer.set_result(Answered(status=429, retry_after="60"))
            await made.kmp.until_open(1)
            await made.kmp.let_go()
            resting = tasks.create_task(made.outlet.post(_export("c"), attempt=1))
            await made.time.until_sleeping()
            assert made.told(BreakerTripped) == [BreakerTripped(cause="429", rest_s=60.0)]
            assert made.told(BreakerReset) == []
            made.time.advance(60)
            await resting
            assert made.told(BreakerReset) == [BreakerReset(reason="answered", tripped_for_s=60.0)]


async def test_a_tripped_breaker_is_told_only_while_something_is_left_to_post() -> None:
    """A rebalance may take all exports, and bring them back before the breaker is forgotten."""
    made = _Set()
    with made.outlet.waiting():
        await made.fail("a", retry_after="20")
    assert made.told(BreakerReset) == [BreakerReset(reason="unasked", tripped_for_s=0.0)]
    made.time.advance(5)
    with made.outlet.waiting():
        assert made.told(BreakerTripped) == [
            BreakerTripped(cause="503", rest_s=20.0),
            BreakerTripped(cause="503", rest_s=15.0),
        ]
    made.time.advance(7200)
    with made.outlet.waiting():
        assert len(made.told(BreakerTripped)) == 2, "what was learned two hours ago says nothing of this KMP"


@pytest.mark.parametrize("kind", [ExportDelivered, ExportRefused, ExportRetried])
def test_every_outcome_of_a_post_counts_in_the_same_metrics(
    kind: type[ExportDelivered | ExportRefused | ExportRetried],
) -> None:
    names = {metric.name for metric in kind.metrics}
    assert {"bridge_kmp_posts", "bridge_kmp_post_duration_seconds", "bridge_kmp_in_flight"} <= names
