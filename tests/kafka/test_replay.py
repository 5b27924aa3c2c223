"""Dead letters on their round trip, on a real broker."""

import asyncio
import gzip
import time
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from aiokafka import TopicPartition

from bridge.adapters.kafka.clients import transactional_id_of
from bridge.adapters.kafka.oldest import OldestLetters
from bridge.adapters.kafka.replay import Order, Outcome, Replay
from bridge.adapters.kafka.spans import find
from bridge.adapters.kafka.transactions import TransactionalWriter
from bridge.core import budget
from bridge.core.dead_letters import dead_frame, dead_letter
from bridge.core.dialects.agentassist import MAX_FRAME_BYTES
from bridge.core.errors import StartError
from bridge.core.events.dead_letters import BudgetSpent, DeadLettersWritten, OldestDeadLetterSeen
from bridge.core.events.subscriptions import SubscriptionsStarted
from bridge.core.letters import Place, Selection, letter_of
from bridge.core.partitions import partition_of
from bridge.core.records import Header, NewRecord, Record, StoredRecord, header_of, source_of
from bridge.core.replay import note_of, replayed_in
from bridge.simulator.genesys import GenesysSimulator
from bridge.simulator.kmp import KmpSimulator
from bridge.simulator.script import Answer, SendFrame
from bridge.workers.ingress import Options as IngressOptions
from tests.kafka.cluster import Cluster
from tests.kafka.working import Told, genesys_options, kmp_options, working

pytestmark = pytest.mark.broker

# The partition of `i-1` and the other one, of two.
HOME = partition_of(b"i-1", 2)
AWAY = 1 - HOME


def replaying(cluster: Cluster, *, max_frame_bytes: int = MAX_FRAME_BYTES) -> Replay:
    return Replay(cluster.clients, cluster.topics, max_frame_bytes=max_frame_bytes, clock=lambda: 0)


async def replay(cluster: Cluster, topic: str, *, max_frame_bytes: int = MAX_FRAME_BYTES, **order: Any) -> Outcome:
    async with asyncio.timeout(60):
        return await replaying(cluster, max_frame_bytes=max_frame_bytes).run(Order(topics=[topic], **order))


async def write(cluster: Cluster, *records: NewRecord) -> None:
    """Writes records as a worker would."""
    async with cluster.producer() as producer:
        for record in records:
            await producer.send_and_wait(
                record.topic, record.value, key=record.key, partition=record.partition, headers=list(record.headers)
            )


def letter_for(
    cluster: Cluster,
    topic: str,
    origin: str,
    value: bytes,
    *,
    dlq_class: str,
    partition: int = HOME,
    key: bytes = b"i-1",
    headers: tuple[Header, ...] = (("custom", b"\xfe"),),
) -> NewRecord:
    """A dead letter that an older release might have written of a record that can be used now."""
    source = StoredRecord(
        topic=origin, partition=partition, offset=7, timestamp=5, key=key, value=value, headers=headers
    )
    letter = dead_letter(source, topic=topic, worker="an older one", dlq_class=dlq_class, reason="r", stage="s")
    return msgspec.structs.replace(letter, partition=partition)


async def letters_on(cluster: Cluster, topic: str) -> list[Record]:
    return [record for record in await cluster.read(topic) if replayed_in(record) is None]


async def values_on(cluster: Cluster, topic: str) -> list[bytes | None]:
    return sorted((record.value for record in await cluster.read(topic)), key=str)


def raw(serial: int, **more: str) -> bytes:
    suggestions = [{"id": f"s-{serial}", "confidence": 0.9, "relevanceScore": 0.5} | more]
    return msgspec.json.encode({"interactionId": "i-1", "suggestions": suggestions})


def click(click_id: str) -> bytes:
    body = {"interactionId": "i-1", "suggestionId": "s-1", "articleId": "a-1", "clickId": click_id}
    return msgspec.json.encode(body)


def export() -> bytes:
    body = {
        "type": "agent_assist_sync",
        "interactionId": "i-1",
        "acceptedArticleId": "a-1",
        "acceptanceRate": 0.5,
        "exportedAt": "2026-01-05T10:00:03.000Z",
    }
    return msgspec.json.encode(body)


# -- each class, to the end of its way ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dlq_class", ["decode", "schema", "oversize", "key-mismatch"])
async def test_a_raw_record_comes_back_byte_for_byte_and_is_ranked(cluster: Cluster, dlq_class: str) -> None:
    topics = cluster.topics
    await write(cluster, letter_for(cluster, topics.dlq_ranker, topics.raw_suggestions, raw(1), dlq_class=dlq_class))
    async with working(cluster, "ranker"):
        outcome = await replay(cluster, topics.dlq_ranker)
        (ranked,) = await cluster.read(topics.ranked_suggestions, until=bool)
    (back,) = await cluster.read(topics.raw_suggestions)
    assert outcome.sent == {(topics.dlq_ranker, dlq_class, topics.raw_suggestions): 1}
    assert (back.partition, back.key, back.value) == (HOME, b"i-1", raw(1))
    assert list(back.headers) == [("custom", b"\xfe"), ("x-dlq-replay-count", b"1")]
    assert header_of(ranked, "x-source") == f"{topics.raw_suggestions}/{HOME}/{back.offset}".encode()


@pytest.mark.parametrize("dlq_class", ["decode", "schema", "oversize", "key-mismatch"])
async def test_a_click_comes_back_and_is_counted_and_exported(cluster: Cluster, dlq_class: str) -> None:
    topics = cluster.topics
    dead = letter_for(cluster, topics.dlq_clicks, topics.suggestion_clicks, click("c-1"), dlq_class=dlq_class)
    await write(cluster, dead)
    async with working(cluster, "tally"):
        await replay(cluster, topics.dlq_clicks)
        (export,) = await cluster.read(topics.acceptance_exports, until=bool)
    (back,) = await cluster.read(topics.suggestion_clicks)
    assert (back.partition, back.value) == (HOME, click("c-1"))
    assert export.key == b"i-1"


async def test_a_refused_export_is_posted_again_under_the_same_key(cluster: Cluster) -> None:
    topics = cluster.topics
    async with KmpSimulator() as kmp, working(cluster, "tally", "exporter", kmp=kmp_options(kmp)) as workers:
        kmp.post(Answer(name="answer", status=422))
        await cluster.send(topics.suggestion_clicks, click("c-1"), number=HOME)
        told = await workers.until(DeadLettersWritten)
        assert (told.topic, told.class_, told.letters) == (topics.dlq_exports, "http-refused", 1)
        await replay(cluster, topics.dlq_exports)
        await kmp.until(lambda: len(kmp.posts) == 2, timeout_s=30)
        await cluster.until_at_rest(("exporter", topics.acceptance_exports))
    first, second = kmp.posts
    assert (first.status, second.status) == (422, 200)
    assert (first.key, first.body) == (second.key, second.body)
    assert len(await letters_on(cluster, topics.dlq_exports)) == 1


async def test_an_expired_export_is_posted_under_its_key(cluster: Cluster) -> None:
    """The class is reserved: no worker writes it yet."""
    topics, body = cluster.topics, export()
    dead = letter_for(
        cluster, topics.dlq_exports, topics.acceptance_exports, body, dlq_class="expired", headers=(("ce_id", b"e-1"),)
    )
    await write(cluster, dead)
    async with KmpSimulator() as kmp, working(cluster, "exporter", kmp=kmp_options(kmp)):
        await replay(cluster, topics.dlq_exports)
        await kmp.until(lambda: len(kmp.posts) == 1, timeout_s=30)
    (post,) = kmp.posts
    assert (post.status, post.key, post.body) == (200, "e-1", body)
    assert await values_on(cluster, topics.acceptance_exports) == [body]


@pytest.mark.parametrize(
    ("dlq_class", "value"),
    [("decode", raw(1)), ("schema", raw(1)), ("inflate", gzip.compress(raw(1)))],
)
async def test_a_frame_goes_through_the_decoder_again_and_is_ranked(
    cluster: Cluster, dlq_class: str, value: bytes
) -> None:
    topics = cluster.topics
    frame = dead_frame(
        value, topic=topics.dlq_ingress, partition=AWAY, dlq_class=dlq_class, reason="r", size=len(value), at_ms=1_000
    )
    await write(cluster, frame)
    async with working(cluster, "ranker"):
        await replay(cluster, topics.dlq_ingress)
        (ranked,) = await cluster.read(topics.ranked_suggestions, until=bool)
    (back,) = await cluster.read(topics.raw_suggestions)
    assert (back.partition, back.key, back.value) == (HOME, b"i-1", raw(1))
    assert msgspec.json.decode(ranked.value or b"")["timestamp"] == "1970-01-01T00:00:01.000Z"


async def test_of_frames_beyond_a_bound_that_is_raised_what_was_kept_whole_comes_back(cluster: Cluster) -> None:
    """Ingress keeps gzip as it came, whatever it would grow to; of a frame that is too large itself, a part."""
    topics, frame = cluster.topics, raw(1, title="x" * 2_000)
    narrow = IngressOptions(interactions=("i-1",), max_frame_bytes=1_024)
    script = [
        SendFrame(name="inflate", body_binary=gzip.compress(frame)),
        SendFrame(name="oversize", body=frame.decode()),
    ]
    async with (
        GenesysSimulator(frames_per_s=0, script=script) as genesys,
        working(cluster, "ingress", genesys=genesys_options(genesys), ingress=narrow) as ingress,
    ):
        for dlq_class in ("inflate", "oversize"):
            await ingress.until(DeadLettersWritten, lambda told, of=dlq_class: told.class_ == of)  # type: ignore[misc]
    before = await replay(cluster, topics.dlq_ingress, max_frame_bytes=narrow.max_frame_bytes)
    after = await replay(cluster, topics.dlq_ingress)
    cut = "it was cut, because it had no room on the topic"
    assert (before.sent.total(), before.left.total(), before.left[topics.dlq_ingress, cut]) == (0, 2, 1)
    assert after.sent == {(topics.dlq_ingress, "inflate", topics.raw_suggestions): 1}
    assert after.left == {(topics.dlq_ingress, cut): 1}
    (back,) = await cluster.read(topics.raw_suggestions)
    (whole,) = [one for one in await letters_on(cluster, topics.dlq_ingress) if letter_of(one).dlq_class == "inflate"]
    assert (back.partition, back.key, back.value) == (HOME, b"i-1", frame)
    assert header_of(back, "x-source") == source_of(whole).encode()


async def test_a_misplaced_subscription_goes_to_its_own_partition_and_is_subscribed(cluster: Cluster) -> None:
    topics = cluster.topics
    async with GenesysSimulator() as genesys, working(cluster, "ingress", genesys=genesys_options(genesys)) as ingress:
        await cluster.send(topics.interaction_subscriptions, b'{"interactionId":"i-1"}', number=AWAY)
        (dead,) = await cluster.read(topics.dlq_ingress, until=bool)
        assert letter_of(dead).dlq_class == "misplaced"
        told = await ingress.until(DeadLettersWritten)
        assert (told.topic, told.class_, told.letters) == (topics.dlq_ingress, "misplaced", 1)
        await replay(cluster, topics.dlq_ingress)
        await ingress.until(SubscriptionsStarted)
    _, back = sorted(await cluster.read(topics.interaction_subscriptions), key=lambda record: record.partition == HOME)
    assert (back.partition, back.key) == (HOME, b"i-1")


async def test_what_dies_again_counts_its_replays_until_it_is_left(cluster: Cluster) -> None:
    topics, bad = cluster.topics, b"x" * 70_000
    async with working(cluster, "tally"):
        await cluster.send(topics.suggestion_clicks, bad, number=HOME)
        for times in range(2):
            await cluster.read(topics.dlq_clicks, until=lambda read, n=times + 1: len(_letters(read)) == n)  # type: ignore[misc]
            outcome = await replay(cluster, topics.dlq_clicks, max_replays=2)
            assert outcome.sent.total() == 1
        await cluster.read(topics.dlq_clicks, until=lambda read: len(_letters(read)) == 3)
        outcome = await replay(cluster, topics.dlq_clicks, max_replays=2)
    assert (outcome.sent.total(), outcome.sent_before.total()) == (0, 0)
    assert outcome.left == {(topics.dlq_clicks, "it has been replayed 2 times already"): 1}
    letters = [letter_of(record) for record in await letters_on(cluster, topics.dlq_clicks)]
    assert [(one.dlq_class, one.replays) for one in letters] == [("oversize", 0), ("oversize", 1), ("oversize", 2)]


async def test_many_that_die_again_park_nothing(cluster: Cluster) -> None:
    """A replay without filters of what is still bad is no bad release: the clicks of today go on."""
    topics, bad = cluster.topics, 12
    letters = [
        letter_for(cluster, topics.dlq_clicks, topics.suggestion_clicks, b"{%d" % serial, dlq_class="decode")
        for serial in range(bad)
    ]
    async with working(cluster, "tally", dlq=budget.Options(max_consecutive=2)) as tally:
        await cluster.send(topics.suggestion_clicks, click("c-1"), number=HOME)
        await cluster.read(topics.acceptance_exports, until=bool)
        await write(cluster, *letters)
        await replay(cluster, topics.dlq_clicks)
        await cluster.send(topics.suggestion_clicks, click("c-2"), number=HOME)
        await cluster.read(topics.acceptance_exports, until=lambda exports: len(exports) == 2)
        assert not tally.all(BudgetSpent)
    again = [letter_of(record).replays for record in await letters_on(cluster, topics.dlq_clicks)]
    assert sorted(again) == [0] * bad + [1] * bad


async def test_of_two_misplaced_subscriptions_the_younger_one_is_sent_back(cluster: Cluster) -> None:
    """The partitions of the dead letters come in turn, not in the order of time."""
    topics = cluster.topics
    younger, older = (
        dead_letter(
            StoredRecord(
                topic=topics.interaction_subscriptions, partition=AWAY, offset=at_ms, timestamp=at_ms, key=b"i-1",
                value=value,
            ),
            topic=topics.dlq_ingress, worker="ingress", dlq_class="misplaced", reason="r", stage="s",
        )
        for at_ms, value in ((2, b'{"interactionId":"i-1","expiresAt":"2026-01-01T00:00:00Z"}'), (1, None))
    )  # fmt: skip
    await write(cluster, msgspec.structs.replace(younger, partition=0), msgspec.structs.replace(older, partition=1))
    outcome = await replay(cluster, topics.dlq_ingress)
    (back,) = await cluster.read(topics.interaction_subscriptions)
    assert (back.partition, back.value) == (HOME, younger.value)
    assert outcome.left == {(topics.dlq_ingress, "its interaction was subscribed or ended again since"): 1}


def _letters(records: Sequence[Record]) -> list[Record]:
    return [record for record in records if replayed_in(record) is None]


# -- each once ---------------------------------------------------------------------------------------------------------


async def write_letters(cluster: Cluster, count: int, *, classes: Sequence[str] = ("schema",)) -> list[bytes]:
    """Writes so many letters of raw records, over both partitions, and returns their values."""
    topics = cluster.topics
    values = [b"%04d" % serial for serial in range(count)]
    letters = [
        letter_for(
            cluster, topics.dlq_ranker, topics.raw_suggestions, value,
            dlq_class=classes[serial % len(classes)], partition=serial // len(classes) % 2, key=b"k-%d" % (serial % 5),
        )
        for serial, value in enumerate(values)
    ]  # fmt: skip
    await write(cluster, *letters)
    return values


async def test_what_was_not_selected_can_be_sent_later_and_nothing_is_sent_twice(cluster: Cluster) -> None:
    topics = cluster.topics
    values = await write_letters(cluster, 40, classes=("schema", "decode"))
    by_class = await replay(cluster, topics.dlq_ranker, selection=Selection(dlq_class="decode"))
    by_key = await replay(cluster, topics.dlq_ranker, selection=Selection(interaction_id="k-3"))
    rest = await replay(cluster, topics.dlq_ranker)
    again = await replay(cluster, topics.dlq_ranker)
    assert (by_class.sent.total(), by_key.sent.total(), by_key.sent_before.total()) == (20, 4, 4)
    assert (rest.sent.total(), again.sent.total()) == (16, 0)
    assert await values_on(cluster, topics.raw_suggestions) == values


async def test_a_replay_that_was_cut_short_goes_on_where_it_was(cluster: Cluster) -> None:
    """Cut in the middle of it, while a transaction may be open, several times."""
    topics = cluster.topics
    values = await write_letters(cluster, 300)
    for enough in (20, 60, 130):
        running = asyncio.create_task(replaying(cluster).run(Order(topics=[topics.dlq_ranker], letters_per_s=20)))
        await cluster.read(topics.raw_suggestions, until=lambda read, n=enough: len(read) >= n)  # type: ignore[misc]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    outcome = await replay(cluster, topics.dlq_ranker)
    assert 0 < outcome.sent.total() <= 170
    assert await values_on(cluster, topics.raw_suggestions) == values


async def test_lost_positions_of_the_group_send_nothing_twice(cluster: Cluster) -> None:
    """A group that rests for a week is forgotten; the notes on the topic are not."""
    topics = cluster.topics
    values = await write_letters(cluster, 20)
    await replay(cluster, topics.dlq_ranker)
    await cluster.delete_group("dlq-replay")
    outcome = await replay(cluster, topics.dlq_ranker)
    assert (outcome.sent.total(), outcome.sent_before.total()) == (0, 20)
    assert await values_on(cluster, topics.raw_suggestions) == values


async def test_the_position_moves_over_what_was_sent_before_up_to_what_is_left(cluster: Cluster) -> None:
    topics, number = cluster.topics, 0
    await write_letters(cluster, 6, classes=("schema", "decode", "oversize"))
    await replay(cluster, topics.dlq_ranker, selection=Selection(dlq_class="decode"))
    assert (await cluster.committed("dlq-replay", topics.dlq_ranker))[number] == 0
    await replay(cluster, topics.dlq_ranker, selection=Selection(dlq_class="schema"))
    assert (await cluster.committed("dlq-replay", topics.dlq_ranker))[number] == 2


async def test_a_replay_that_sends_nothing_moves_the_position_unless_it_is_a_dry_run(cluster: Cluster) -> None:
    topics = cluster.topics
    await write_letters(cluster, 4)
    await replay(cluster, topics.dlq_ranker)
    await cluster.delete_group("dlq-replay")
    await replay(cluster, topics.dlq_ranker, is_dry_run=True)
    assert await cluster.committed("dlq-replay", topics.dlq_ranker) == {}
    await replay(cluster, topics.dlq_ranker)
    # Two letters of each partition, and the note about them.
    assert await cluster.committed("dlq-replay", topics.dlq_ranker) == {0: 3, 1: 3}


async def test_a_note_that_an_open_transaction_hides_is_waited_for(cluster: Cluster) -> None:
    """A worker has begun to write a dead letter before the former replay's note, and has not committed it yet."""
    topics = cluster.topics
    values = await write_letters(cluster, 4)
    worker = cluster.clients.transactional_producer(transactional_id_of(f"{cluster.options.prefix}ranker", 0))
    await worker.start()
    try:
        await worker.begin_transaction()
        await worker.send_and_wait(topics.dlq_ranker, b"a stranger's", partition=0)
        # The first replay cannot see its end before the transaction ends either: it is cut off from the topic's end.
        async with asyncio.TaskGroup() as tasks:
            first = tasks.create_task(replay(cluster, topics.dlq_ranker))
            await asyncio.wait([first], timeout=2)
            assert not first.done()
            await worker.commit_transaction()
        assert first.result().sent.total() == 4
        await worker.begin_transaction()
        await worker.send_and_wait(topics.dlq_ranker, b"another", partition=0)
        async with asyncio.TaskGroup() as tasks:
            second = tasks.create_task(replay(cluster, topics.dlq_ranker))
            await asyncio.wait([second], timeout=1)
            await worker.abort_transaction()
    finally:
        await worker.stop()
    assert second.result().sent.total() == 0
    assert await values_on(cluster, topics.raw_suggestions) == values


async def test_of_two_replays_the_later_one_goes_on_and_the_former_ends(cluster: Cluster) -> None:
    topics = cluster.topics
    values = await write_letters(cluster, 60)
    former = asyncio.create_task(replaying(cluster).run(Order(topics=[topics.dlq_ranker], letters_per_s=10)))
    await cluster.read(topics.raw_suggestions, until=bool)
    await replay(cluster, topics.dlq_ranker)
    with pytest.raises(StartError, match="another replay has begun"):
        async with asyncio.timeout(30):
            await former
    assert await values_on(cluster, topics.raw_suggestions) == values


async def test_a_dry_run_sends_nothing_and_disturbs_nobody(cluster: Cluster) -> None:
    topics = cluster.topics
    await write_letters(cluster, 6)
    outcome = await replay(cluster, topics.dlq_ranker, is_dry_run=True)
    assert outcome.sent.total() == 6
    assert await cluster.read(topics.raw_suggestions) == []
    assert await cluster.committed("dlq-replay", topics.dlq_ranker) == {}


async def test_the_rate_is_kept(cluster: Cluster) -> None:
    topics = cluster.topics
    await write_letters(cluster, 6)
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    await replay(cluster, topics.dlq_ranker, letters_per_s=2)
    assert loop.time() - began_s >= 2


async def test_a_stranger_on_the_topic_is_left_and_told(cluster: Cluster) -> None:
    topics = cluster.topics
    await cluster.send(topics.dlq_ranker, b"who knows", number=0)
    outcome = await replay(cluster, topics.dlq_ranker)
    assert outcome.left == {(topics.dlq_ranker, "it was not written by the bridge"): 1}


# -- found and told ----------------------------------------------------------------------------------------------------


async def test_a_letter_is_found_at_its_place_and_nowhere_else(cluster: Cluster) -> None:
    topics = cluster.topics
    await write_letters(cluster, 4)
    found = await find(cluster.clients, Place(topic=topics.dlq_ranker, partition=1, offset=1))
    assert found is not None
    assert (found.partition, found.offset, found.value) == (1, 1, b"0003")
    assert await find(cluster.clients, Place(topic=topics.dlq_ranker, partition=1, offset=9)) is None


async def test_the_age_of_the_oldest_letter_is_that_of_the_first_that_was_not_sent_back(cluster: Cluster) -> None:
    topics, told = cluster.topics, Told()
    async with cluster.producer() as producer:
        for at_ms in (1_000, 5_000):
            await producer.send_and_wait(topics.dlq_clicks, b"{", partition=0, timestamp_ms=at_ms)
    letters = OldestLetters(
        cluster.clients, [topics.dlq_clicks, topics.dlq_ranker], partitions=2, clock=lambda: 61_000, emit=told.emit
    )
    async with asyncio.TaskGroup() as tasks:
        looking = tasks.create_task(letters.run())
        seen = await told.until(OldestDeadLetterSeen, lambda event: event.topic == topics.dlq_clicks)
        none = await told.until(OldestDeadLetterSeen, lambda event: event.topic == topics.dlq_ranker)
        looking.cancel()
    assert (seen.age_s, none.age_s) == (60.0, 0.0)


async def age_of_the_oldest(cluster: Cluster, topic: str) -> float | None:
    """What is told of a topic a day from now: 0 only where there is no letter."""
    told = Told()
    letters = OldestLetters(cluster.clients, [topic], partitions=2, clock=_tomorrow_ms, emit=told.emit)
    async with asyncio.TaskGroup() as tasks:
        looking = tasks.create_task(letters.run())
        seen = await told.until(OldestDeadLetterSeen)
        looking.cancel()
    return seen.age_s


def _tomorrow_ms() -> int:
    return time.time_ns() // 1_000_000 + 86_400_000


async def test_behind_any_number_of_notes_the_next_letter_has_its_age(cluster: Cluster) -> None:
    """A replay at a low rate leaves a note for each letter, each with its marker."""
    topic = cluster.topics.dlq_ranker
    writer = TransactionalWriter(cluster.clients, group=f"{cluster.options.prefix}dlq-replay", number=0)
    await writer.start([topic])
    try:
        for number, notes in ((0, 1), (1, 101)):
            for at in range(notes):
                await writer.write([note_of(topic, number, [at], at_ms=0)], {TopicPartition(topic, number): 0})
    finally:
        await writer.close()
    assert await age_of_the_oldest(cluster, topic) == 0.0
    await cluster.send(topic, b"{", number=1)
    assert await age_of_the_oldest(cluster, topic) not in {None, 0.0}


async def test_letters_that_were_all_sent_back_have_no_age(cluster: Cluster) -> None:
    topics = cluster.topics
    await write_letters(cluster, 4)
    assert await age_of_the_oldest(cluster, topics.dlq_ranker) != 0.0
    await replay(cluster, topics.dlq_ranker)
    assert await age_of_the_oldest(cluster, topics.dlq_ranker) == 0.0


async def test_letters_that_filtered_replays_sent_back_in_any_order_have_no_age(cluster: Cluster) -> None:
    topics = cluster.topics
    await write_letters(cluster, 4, classes=("schema", "decode"))
    await replay(cluster, topics.dlq_ranker, selection=Selection(dlq_class="decode"))
    assert await age_of_the_oldest(cluster, topics.dlq_ranker) != 0.0
    await replay(cluster, topics.dlq_ranker)
    assert await age_of_the_oldest(cluster, topics.dlq_ranker) == 0.0


async def test_the_age_of_letters_whose_replays_were_forgotten_ends_with_the_next_one(cluster: Cluster) -> None:
    topics = cluster.topics
    await write_letters(cluster, 4)
    await replay(cluster, topics.dlq_ranker)
    await cluster.delete_group("dlq-replay")
    assert await age_of_the_oldest(cluster, topics.dlq_ranker) != 0.0
    await replay(cluster, topics.dlq_ranker)
    assert await age_of_the_oldest(cluster, topics.dlq_ranker) == 0.0
