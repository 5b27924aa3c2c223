import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.core.errors import FencedError, TransactionError
from bridge.core.events.exporter import ExportUnusable
from bridge.core.events.kinds import Event
from bridge.core.records import NewRecord, StoredRecord, header_of
from bridge.core.topics import Options, topics_of
from bridge.core.verdict import Answer, Answered, NoAnswer, RetryPolicy
from bridge.ports import Hop
from bridge.workers.exporter import MAX_OPEN_RECORDS, Exporters
from tests.fakes.kmp import FakeKmp, ManualTime
from tests.fakes.number import FakeNumber

_POLICY = RetryPolicy(retry_statuses=(409, 503), retry_after_max_s=300, backoff_first_s=2, backoff_cap_s=30)
_OK, _NO, _LATER = Answered(status=200), Answered(status=422), Answered(status=503)


class _Set:
    """An exporter of number 3 and everything around it."""

    def __init__(self, *, max_in_flight: int = 64, drain_timeout_s: float = 5) -> None:
        self.number = FakeNumber(3)
        self.kmp = FakeKmp()
        self.time = ManualTime()
        self.events: list[Event] = []
        self.exporters = Exporters(
            topics=topics_of(Options()),
            kmp=self.kmp,
            policy=_POLICY,
            max_in_flight=max_in_flight,
            drain_timeout_s=drain_timeout_s,
            clock=lambda: int(self.time.now_s * 1000),
            emit=self._emit,
            chance=lambda: 1.0,
            monotonic=self.time.monotonic,
            sleep=self.time.sleep,
        )
        self.exporter: Hop = self.exporters.new()

    def _emit(self, event: Event) -> None:
        self.events.append(event)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[asyncio.Task[None]]:
        """The exporter works while inside, and is drained at the end."""
        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            work = tasks.create_task(self.exporter.work(self.number))
            yield work
            await self.number.drain()

    @property
    def audits(self) -> list[dict[str, object]]:
        return [
            msgspec.json.decode(record.value or b"", type=dict[str, object])
            for record in self.number.written
            if record.topic == "suggestion-audit"
        ]

    @property
    def letters(self) -> list[NewRecord]:
        return [record for record in self.number.written if record.topic == "dlq.exports"]

    @property
    def posted(self) -> list[str]:
        return [post.key for post in self.kmp.posts]


def _record(offset: int, *, of: str = "i1", value: bytes | None = None) -> StoredRecord:
    return StoredRecord(
        topic="acceptance-exports",
        partition=3,
        offset=offset,
        key=of.encode(),
        value=b'{"n": %d}' % offset if value is None else value,
        headers=(("ce_id", b"e%d" % offset),),
    )


async def test_posts_the_value_under_its_key_and_commits_audit_and_position_together() -> None:
    """T12: `agent_assist_sync` is posted as it stands on the topic."""
    made = _Set()
    async with made.working():
        await made.number.give(_record(17))
        await made.number.until_committed(acceptance_exports=18)
    (post,) = made.kmp.posts
    assert (post.body, post.key, post.sequence) == (b'{"n": 17}', "e17", "3/17")
    ((written, positions),) = made.number.commits
    assert positions == {"acceptance-exports": 18}
    assert [record.topic for record in written] == ["suggestion-audit"]
    assert made.audits == [
        {
            "event": "acceptance_exported",
            "interactionId": "i1",
            "timestamp": "1970-01-01T00:00:00.000Z",
            "exportId": "e17",
            "outcome": "delivered",
            "status": 200,
            "attempts": 1,
        }
    ]


async def test_a_refused_export_becomes_a_dead_letter_and_the_next_goes_on() -> None:
    made = _Set()
    made.kmp.answers = [_NO]
    async with made.working():
        await made.number.give(_record(17), _record(18))
        await made.number.until_committed(acceptance_exports=19)
    assert [(audit["exportId"], audit["outcome"]) for audit in made.audits] == [
        ("e17", "refused"),
        ("e18", "delivered"),
    ]
    (letter,) = made.letters
    as_read = StoredRecord(topic=letter.topic, headers=letter.headers)
    assert header_of(as_read, "x-dlq-class") == b"http-refused"
    assert header_of(as_read, "x-dlq-http-status") == b"422"
    assert header_of(as_read, "__connect.errors.offset") == b"17"


async def test_retries_with_the_same_bytes_and_key_after_the_delay_until_delivered() -> None:
    """D8: "retry after 2 seconds" waits, and carries the key; nothing is lost after the second failure."""
    made = _Set()
    made.kmp.answers = [_LATER, NoAnswer(cause="timeout"), Answered(status=503, retry_after="9")]
    async with made.working():
        await made.number.give(_record(17))
        for posts, delay_s in enumerate((2, 4, 9), start=1):
            await made.time.until_sleeping()
            assert len(made.kmp.posts) == posts
            made.time.advance(delay_s)
            await made.kmp.until_posts(posts + 1)
        await made.number.until_committed(acceptance_exports=18)
    assert made.time.delays == [2, 4, 9]
    assert {(post.body, post.key, post.sequence) for post in made.kmp.posts} == {(b'{"n": 17}', "e17", "3/17")}
    assert [audit["attempts"] for audit in made.audits] == [4]


async def test_the_next_export_of_an_interaction_waits_and_others_go_past() -> None:
    """T12: in order per interaction, side by side across interactions."""
    made = _Set()
    made.kmp.answers = [_LATER]
    async with made.working():
        await made.number.give(_record(1, of="a"), _record(2, of="a"), _record(3, of="b"))
        await made.kmp.until_posts(2)
        await made.time.until_sleeping()
        assert made.posted == ["e1", "e3"]
        assert made.number.positions == {}
        made.time.advance(2)
        await made.number.until_committed(acceptance_exports=4)
    assert made.posted == ["e1", "e3", "e1", "e2"]
    assert [audit["exportId"] for audit in made.audits] == ["e1", "e2", "e3"]


async def test_commits_what_finished_while_the_commit_before_was_under_way_as_one() -> None:
    made = _Set()
    made.number.hold_commits()
    async with made.working():
        await made.number.give(_record(1, of="a"))
        await made.number.until_commit_held()
        await made.number.give(*(_record(offset, of=f"i{offset}") for offset in range(2, 50)))
        await made.kmp.until_posts(49)
        made.number.let_commits_go()
        await made.number.until_committed(acceptance_exports=50)
    assert [positions["acceptance-exports"] for _, positions in made.number.commits] == [2, 50]


async def test_a_batch_of_holes_moves_the_position() -> None:
    made = _Set()
    async with made.working():
        await made.number.give(positions={"acceptance-exports": 5})
        await made.number.until_committed(acceptance_exports=5)
    assert made.number.commits == [([], {"acceptance-exports": 5})]


@pytest.mark.parametrize(
    ("record", "dlq_class"),
    [
        (StoredRecord(topic="acceptance-exports", offset=1, key=b"i1", headers=(("ce_id", b"e"),)), b"schema"),
        (StoredRecord(topic="acceptance-exports", offset=1, key=b"i1", value=b"{}"), b"schema"),
        (_record(1, value=b"no JSON"), b"decode"),
        (_record(1, value=b'{"a":"' + b"x" * 70_000 + b'"}'), b"oversize"),
    ],
)
async def test_what_is_no_export_becomes_a_dead_letter_without_an_audit(record: StoredRecord, dlq_class: bytes) -> None:
    made = _Set()
    async with made.working():
        await made.number.give(record, _record(2))
        await made.number.until_committed(acceptance_exports=3)
    assert made.posted == ["e2"]
    assert [audit["exportId"] for audit in made.audits] == ["e2"]
    (letter,) = made.letters
    assert header_of(StoredRecord(topic=letter.topic, headers=letter.headers), "x-dlq-class") == dlq_class
    (told,) = [event for event in made.events if isinstance(event, ExportUnusable)]
    assert (told.dlq_class.encode(), told.offset) == (dlq_class, 1)


async def test_takes_no_more_than_it_has_room_for() -> None:
    """The backlog of a KMP that is down stays on the topic, as lag."""
    made = _Set(max_in_flight=2)
    made.kmp.is_held = True
    records = [_record(offset, of=f"i{offset}") for offset in range(MAX_OPEN_RECORDS + 10)]
    async with made.working():
        await made.number.give(*records)
        await made.number.until_left(10)
        await made.kmp.until_open(2)
        assert made.number.left == 10
        await made.kmp.let_go()
        await made.number.until_committed(acceptance_exports=MAX_OPEN_RECORDS + 10)
    assert made.number.left == 0
    assert len(made.audits) == MAX_OPEN_RECORDS + 10


async def test_drains_though_it_is_full() -> None:
    made = _Set(max_in_flight=1)
    made.kmp.is_held = True
    async with made.working():
        await made.number.give(*(_record(offset, of=f"i{offset}") for offset in range(MAX_OPEN_RECORDS + 1)))
        await made.kmp.until_open(1)
        await made.number.drain()
        await made.kmp.let_go()
    assert made.posted == ["e0"]
    assert made.number.positions == {"acceptance-exports": 1}


async def test_a_drain_waits_for_posts_in_flight_gives_up_waiting_ones_and_commits_the_run() -> None:
    made = _Set()
    made.kmp.answers = [_LATER]
    async with made.working() as work:
        await made.number.give(_record(3, of="later"))
        await made.time.until_sleeping()
        made.kmp.is_held = True
        await made.number.give(_record(4, of="b"), _record(5, of="b"), _record(6, of="c"))
        await made.kmp.until_open(2)
        await made.number.drain()
        await made.kmp.let_go()
        await work
    assert made.posted == ["e3", "e4", "e6"]
    # Export 3 was given up, so nothing before it may be passed: 4 and 6 are posted again by the next owner.
    assert made.number.positions == {}
    assert made.time.sleeping == 0


async def test_an_answer_during_the_drain_is_committed_and_a_retry_is_not_begun() -> None:
    made = _Set()
    made.kmp.is_held = True
    made.kmp.answers = [_OK, _LATER]
    async with made.working() as work:
        await made.number.give(_record(3, of="a"), _record(4, of="b"))
        await made.kmp.until_open(2)
        await made.number.drain()
        await made.kmp.let_go()
        await work
    assert made.number.positions == {"acceptance-exports": 4}
    assert made.time.delays == []


async def test_a_post_that_outlasts_the_drain_is_given_up() -> None:
    made = _Set(drain_timeout_s=0.01)
    made.kmp.is_held = True
    async with made.working():
        await made.number.give(_record(3))
        await made.kmp.until_open(1)
    assert made.kmp.open == []
    assert made.number.commits == []


async def test_work_after_a_drain_takes_again_what_was_not_committed() -> None:
    made = _Set(drain_timeout_s=0.01)
    made.kmp.is_held = True
    async with made.working():
        await made.number.give(_record(3))
        await made.kmp.until_open(1)
    made.kmp.is_held = False
    made.number = FakeNumber(3)
    async with made.working():
        await made.number.give(_record(3))
        await made.number.until_committed(acceptance_exports=4)
    assert made.posted == ["e3", "e3"]
    assert len(made.audits) == 1


@pytest.mark.parametrize("error", [TransactionError("no"), FencedError("another owner")])
async def test_a_lost_transaction_comes_out_as_itself_and_ends_every_post(error: TransactionError) -> None:
    made = _Set()
    made.number.fail_commits_with(error)
    await made.number.give(_record(3, of="a"))
    with pytest.raises(TransactionError) as raised:
        async with asyncio.timeout(10):
            await made.exporter.work(made.number)
    assert raised.value is error
    assert made.kmp.open == []


async def test_a_fault_of_our_own_is_not_taken_for_a_lost_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(body: bytes, *, idempotency_key: str, sequence: str) -> Answer:
        raise LookupError

    made = _Set()
    monkeypatch.setattr(made.kmp, "post", broken)
    await made.number.give(_record(3))
    with pytest.raises(ExceptionGroup):
        await made.exporter.work(made.number)


async def test_a_cancelled_exporter_leaves_nothing_running() -> None:
    made = _Set()
    made.kmp.is_held = True
    await made.number.give(_record(3))
    async with asyncio.TaskGroup() as tasks:
        work = tasks.create_task(made.exporter.work(made.number))
        await made.kmp.until_open(1)
        work.cancel()
    assert made.kmp.open == []


async def test_the_numbers_of_a_process_share_one_bound() -> None:
    made = _Set(max_in_flight=3)
    made.kmp.is_held = True
    other = FakeNumber(4)
    records = [_record(offset, of=f"i{offset}") for offset in range(10)]
    async with made.working(), asyncio.TaskGroup() as tasks:
        tasks.create_task(made.exporters.new().work(other))
        await made.number.give(*records)
        await other.give(*records)
        await made.kmp.until_open(3)
        await made.kmp.let_go()
        await made.number.until_committed(acceptance_exports=10)
        await other.until_committed(acceptance_exports=10)
        await other.drain()
    assert made.kmp.most_open == 3


async def test_readiness_names_the_kmp_while_exports_wait_for_it() -> None:
    made = _Set()
    made.kmp.answers = [_LATER]
    async with made.working():
        await made.number.give(_record(3))
        await made.time.until_sleeping()
        made.time.now_s += 31
        (condition,) = made.exporters.conditions()
        assert (condition.name, condition.is_ready) == ("kmp", False)
    assert made.exporters.conditions()[0].is_ready


def test_has_no_state_to_restore() -> None:
    _Set().exporter.restore(_record(3))


_ANSWERS = st.lists(st.sampled_from([_LATER, Answered(status=409), NoAnswer(cause="timeout")]), max_size=3)
_FATES = st.lists(st.tuples(st.sampled_from("abc"), _ANSWERS, st.sampled_from([_OK, _NO])), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(fates=_FATES, data=st.data())
def test_any_order_of_answers_keeps_the_order_per_interaction_and_makes_one_audit_each(
    fates: list[tuple[str, list[Answer], Answered]], data: st.DataObject
) -> None:
    """T12, D8: whatever the KMP answers, and in whatever order its answers come."""
    made = _Set()

    async def live() -> None:
        made.kmp.is_held = True
        made.time.is_flowing = True
        scripts = {f"e{offset}": [*retries, last] for offset, (_, retries, last) in enumerate(fates)}
        async with made.working():
            await made.number.give(*(_record(offset, of=of) for offset, (of, _, _) in enumerate(fates)))
            for _ in range(sum(map(len, scripts.values()))):
                await made.kmp.until_open(1)
                post = data.draw(st.sampled_from(made.kmp.waiting))
                post.answer.set_result(scripts[post.key].pop(0))
            await made.number.until_committed(acceptance_exports=len(fates))

    asyncio.run(live())
    exports = [f"e{offset}" for offset in range(len(fates))]
    assert [audit["exportId"] for audit in made.audits] == exports
    assert len(made.letters) == sum(last == _NO for _, _, last in fates)
    assert Counter(made.posted) == {f"e{offset}": len(fate[1]) + 1 for offset, fate in enumerate(fates)}
    by_interaction = defaultdict(list)
    for key in made.posted:
        by_interaction[fates[int(key[1:])][0]].append(int(key[1:]))
    assert all(offsets == sorted(offsets) for offsets in by_interaction.values())
