"""The books, kept from a small world whose topics were written by the hops' own pure steps."""

from collections.abc import Iterable

import msgspec
import pytest

from bridge.core import acceptance, ranking
from bridge.core.acceptance import Tallies
from bridge.core.books import Accounts, FrameSent, Line, balance, compare, missed
from bridge.core.dead_letters import dead_frame, dead_letter
from bridge.core.exports import export_of, told
from bridge.core.missed import MissedTold
from bridge.core.partitions import partition_of
from bridge.core.records import Kind, NewRecord, Record, StoredRecord, digest, made_here
from bridge.core.topics import Options as TopicOptions
from bridge.core.topics import topics_of
from bridge.core.values import audit_now
from bridge.core.verdict import Delivered, Refused
from bridge.workers.ranker import Newer, rank_batch
from bridge.workers.tally import Step

TOPICS = topics_of(TopicOptions(partitions=1))
NOW_MS = 1_800_000_000_000


class World:
    """Topics in memory: what is written gets offsets and append times as a broker gives them."""

    def __init__(self) -> None:
        self.frames: list[FrameSent] = []
        self.clicks: list[str | None] = []
        self.held: list[str] = []
        self.records: dict[str, list[Record]] = {name: [] for name in TOPICS.names()}
        self._at_ms = NOW_MS
        self._tallies = Tallies(acceptance.Options())
        self._options = ranking.Options()

    def frame(self, interaction: str, *confidences: float, arrives: bool = True) -> None:
        """Genesys sends a list; unless it is lost, it is written, ranked and counted."""
        value = self._sent_list(interaction, *confidences)
        if arrives:
            self._raw(value, interaction)

    def late_frames(self, interaction: str, *confidences: float) -> None:
        """Genesys sends lists of one suggestion; the ranker gets them together, a minute later."""
        values = [self._sent_list(interaction, one) for one in confidences]
        records = [self._received(value, interaction) for value in values]
        self._rank(records, now_ms=self._at_ms + 60_000)

    def garbage(self, value: bytes) -> None:
        """Genesys sends what nobody can read."""
        self._sent(value, None)
        letter = dead_frame(
            value, topic=TOPICS.dlq_ingress, partition=0, dlq_class="decode", reason="no", size=1, at_ms=self._at_ms
        )
        self._write([letter])

    def raw(self, value: bytes, interaction: str) -> None:
        """A raw record of which Genesys knows nothing."""
        self._raw(value, interaction)

    def click(self, interaction: str, suggestion: str, *, click_id: str | None = None, key: str | None = None) -> None:
        """An agent clicks; the click is counted, exported and posted."""
        body = {"interactionId": interaction, "suggestionId": suggestion, "articleId": "a"}
        value = msgspec.json.encode(body | ({"clickId": click_id} if click_id else {}))
        record = self._append(NewRecord(topic=TOPICS.suggestion_clicks, key=(key or interaction).encode(), value=value))
        self.clicks.append(f"{record.topic}/{record.partition}/{record.offset}")
        self._tally(record)

    def gap(self, interaction: str, *, since_ms: int | None) -> None:
        """Ingress tells a gap up to now."""
        since = None if since_ms is None else "2027-01-15T08:00:00.000Z"
        to = "2027-01-15T09:00:00.000Z"
        fields = {"from": since, "to": to, "cause": "disconnected"}
        audit = audit_now(
            TOPICS.suggestion_audit, "reception_gap", interaction, at_ms=self._at_ms, partition=0, **fields
        )
        self._write([audit])

    def shed(self, interaction: str, *, frames: int) -> None:
        """Ingress tells that it dropped lists."""
        fields = {"from": "2027-01-15T08:00:00.000Z", "to": "2027-01-15T09:00:00.000Z", "cause": "kafka"}
        audit = audit_now(
            TOPICS.suggestion_audit,
            "suggestions_shed",
            interaction,
            at_ms=self._at_ms,
            partition=0,
            frames=frames,
            **fields,
        )
        self._write([audit])

    def export_all(self, *, refuse: frozenset[str] = frozenset()) -> None:
        """The exporter posts what waits; the KMP holds what it does not refuse."""
        for record in list(self.records[TOPICS.acceptance_exports]):
            export = export_of(record)
            if export.interaction_id in refuse:
                verdict: Delivered | Refused = Refused(status=422, reason="the KMP answered 422")
            else:
                verdict = Delivered(status=200)
                self.held.append(export.export_id)
            self._write(told(export, verdict, attempts=1, topics=TOPICS))

    def write(self, *records: NewRecord) -> None:
        """Writes what no step above does."""
        self._write(records)

    def books(self) -> dict[str, Line]:
        return {line.line: line for line in balance(self.accounts())}

    def accounts(self) -> Accounts:
        return Accounts(topics=TOPICS, frames=self.frames, clicks=self.clicks, held=self.held, records=self.records)

    def failing(self) -> dict[str, Line]:
        return {name: line for name, line in self.books().items() if not line.ok}

    def _sent(self, value: bytes, interaction: str | None) -> None:
        sent = FrameSent(serial=len(self.frames), digest=digest(value), interaction_id=interaction, at_ms=self._at_ms)
        self.frames.append(sent)

    def _sent_list(self, interaction: str, *confidences: float) -> bytes:
        suggestions = [{"id": f"s{at}", "confidence": one, "relevanceScore": 0.5} for at, one in enumerate(confidences)]
        value = msgspec.json.encode(
            {"interactionId": interaction, "suggestions": suggestions, "serial": len(self.frames)}
        )
        self._sent(value, interaction)
        return value

    def _raw(self, value: bytes, interaction: str) -> None:
        self._rank([self._received(value, interaction)], now_ms=self._at_ms)

    def _received(self, value: bytes, interaction: str) -> Record:
        headers = made_here(
            kind=Kind.RECEIVED, subject=interaction, at_ms=self._at_ms, ce_id=digest(interaction.encode(), value)
        )
        return self._append(
            NewRecord(topic=TOPICS.raw_suggestions, key=interaction.encode(), value=value, headers=headers)
        )

    def _rank(self, records: list[Record], *, now_ms: int) -> None:
        version, newer = ranking.version(self._options), Newer(now_ms=now_ms)
        ranked = rank_batch(records, options=self._options, topics=TOPICS, version=version, newer=newer)
        for record in self._write(ranked):
            if record.topic == TOPICS.ranked_suggestions:
                self._tally(record)

    def _tally(self, record: Record) -> None:
        step = Step(self._tallies, topics=TOPICS)
        step.take(record)
        self._write(step.written({record.topic: record.offset + 1}))

    def _write(self, written: Iterable[NewRecord]) -> list[Record]:
        return [self._append(record) for record in written]

    def _append(self, record: NewRecord) -> Record:
        self._at_ms += 1
        stored = StoredRecord(
            topic=record.topic,
            partition=0,
            offset=len(self.records[record.topic]),
            timestamp=self._at_ms,
            key=record.key,
            value=record.value,
            headers=record.headers,
        )
        self.records[record.topic].append(stored)
        return stored


@pytest.fixture
def world() -> World:
    """Two interactions, garbage, lists that are withheld or superseded, clicks of every kind, a refused export."""
    world = World()
    world.frame("i-1", 0.9, 0.8)
    world.frame("i-2", 0.9)
    world.frame("i-1", 0.1)
    world.late_frames("i-3", 0.9, 0.8, 0.7)  # The first by the second; of the third nothing is left.
    world.garbage(b"\xff")
    world.click("i-1", "s0", click_id="c-1")
    world.frame("i-1", 0.95)
    world.click("i-1", "s1", click_id="c-1")  # A repeat.
    world.click("i-2", "s0", click_id="c-1")
    world.click("i-2", "s0", key="another")  # A key that is not its interactionId.
    world.export_all(refuse=frozenset({"i-2"}))
    return world


def test_the_books_of_a_good_day_balance(world: World) -> None:
    assert world.failing() == {}
    assert [line.left for line in world.books().values()] == [8, 7, 4, 4, 2, 2, 2, 2, 3, 2]


@pytest.mark.parametrize(
    ("topic", "failing"),
    [
        (
            "raw-suggestions",
            {
                "frames sent = raw + dead letters + lost inside a told gap (0)",
                "raw = ranked + withheld + superseded + dead letters",
            },
        ),
        ("dlq.ingress", {"frames sent = raw + dead letters + lost inside a told gap (0)"}),
        (
            "ranked-suggestions",
            {
                "raw = ranked + withheld + superseded + dead letters",
                "ranked = suggestions_retrieved",
                "acceptance = a recount",
                "every exported rate = a recount",
            },
        ),
        ("acceptance-exports", {"counted = exports", "exports = suggestion_accepted"}),
        ("dlq.clicks", {"clicks sent = counted + repeated + dead letters"}),
        ("dlq.exports", {"exports = held by the KMP + refused"}),
        ("interaction-acceptance", set()),
    ],
)
def test_a_record_that_is_dropped_is_missed(world: World, topic: str, failing: set[str]) -> None:
    del world.records[topic][0]
    assert failing <= world.failing().keys()
    assert all(line.missing or line.doubled for line in world.failing().values())


@pytest.mark.parametrize(
    "topic",
    [
        "raw-suggestions",
        "dlq.ingress",
        "ranked-suggestions",
        "acceptance-exports",
        "suggestion-audit",
        "dlq.clicks",
        "dlq.exports",
    ],
)
def test_a_record_that_is_doubled_is_seen_although_another_is_lost(world: World, topic: str) -> None:
    """Sums would hide a loss beside a duplicate."""
    records = world.records[topic]
    records.append(records[-1])
    lost = records.pop(0) if len(records) > 2 else None
    failing = world.failing()
    assert any(line.doubled for line in failing.values())
    assert lost is None or any(line.missing for line in failing.values())


def test_missing_and_doubled_frames_are_named(world: World) -> None:
    raw = world.records["raw-suggestions"]
    raw[0] = raw[1]
    line = world.failing()["frames sent = raw + dead letters + lost inside a told gap (0)"]
    assert (line.missing, line.doubled) == (("frame 0",), ("frame 1",))


def test_a_frame_that_nobody_sent_is_named_by_its_digest(world: World) -> None:
    world.raw(b'{"interactionId":"i-1","suggestions":[]}', "i-1")
    line = world.failing()["frames sent = raw + dead letters + lost inside a told gap (0)"]
    assert line.doubled[0].startswith("a frame that nobody sent")


def test_a_subscription_that_was_set_aside_is_no_frame(world: World) -> None:
    source = StoredRecord(topic=TOPICS.interaction_subscriptions, key=b"i-1", value=b"[]")
    letter = dead_letter(
        source, topic=TOPICS.dlq_ingress, worker="ingress", dlq_class="schema", reason="no", stage="subscription"
    )
    world.write(letter)
    assert world.failing() == {}


@pytest.mark.parametrize(
    ("since_ms", "interaction", "is_told"), [(NOW_MS, "i-1", True), (None, "i-1", True), (NOW_MS, "i-2", False)]
)
def test_a_lost_frame_is_forgiven_only_inside_a_told_gap_of_its_interaction(
    world: World, since_ms: int | None, interaction: str, is_told: bool
) -> None:
    world.frame("i-1", 0.9, arrives=False)
    world.gap(interaction, since_ms=since_ms)
    lost = 1 if is_told else 0
    line = world.books()[f"frames sent = raw + dead letters + lost inside a told gap ({lost})"]
    assert line.ok is is_told


def test_a_gap_without_a_beginning_begins_with_the_last_frame_that_arrived(world: World) -> None:
    world.frame("i-1", 0.9, arrives=False)
    world.frame("i-1", 0.91)
    lost_ms = world.frames[-2].at_ms
    world.frames[-2] = msgspec.structs.replace(world.frames[-2], at_ms=lost_ms - 3_600_000)
    world.gap("i-1", since_ms=None)
    assert not world.books()["frames sent = raw + dead letters + lost inside a told gap (0)"].ok


def test_a_shed_excuses_as_many_frames_as_it_tells(world: World) -> None:
    world.frame("i-1", 0.9, arrives=False)
    world.frame("i-1", 0.91, arrives=False)
    world.shed("i-1", frames=1)
    line = world.books()["frames sent = raw + dead letters + lost inside a told gap (1)"]
    assert line.missing == (f"frame {len(world.frames) - 1}",)


def test_what_was_told_as_missed_is_summed_up_by_event_and_cause(world: World) -> None:
    world.frame("i-1", 0.9, arrives=False)
    world.frame("i-1", 0.91)
    world.shed("i-1", frames=1)
    world.gap("i-2", since_ms=NOW_MS)
    world.gap("i-2", since_ms=None)
    assert missed(world.accounts()) == [
        MissedTold(
            event="reception_gap", cause="disconnected", told=2, interactions=1, longest_s=3600.0, frames_lost=0
        ),
        MissedTold(event="suggestions_shed", cause="kafka", told=1, interactions=1, longest_s=3600.0, frames_lost=1),
    ]


@pytest.mark.parametrize("stands", [True, False])
def test_a_click_that_no_broker_has_confirmed_may_stand_there_or_not(stands: bool) -> None:
    """A broker that stops may refuse a click, or take it and not say so: an agent UI sends it again."""
    day = World()
    day.frame("i-1", 0.9)
    for click_id in ("c-1", "c-2"):
        day.click("i-1", "s0", click_id=click_id)
    day.export_all()
    if stands:
        day.clicks[0] = None
    else:
        day.clicks.append(None)
    assert day.failing() == {}
    day.clicks.remove(None)
    assert bool(day.failing()) is stands


def test_a_moved_click_counts_as_the_one_that_was_sent() -> None:
    topics = topics_of(TopicOptions(partitions=2))
    right = partition_of(b"i-1", 2)
    value = b'{"interactionId":"i-1","suggestionId":"s","articleId":"a","clickId":"c"}'
    clicks = "suggestion-clicks"
    sent = StoredRecord(topic=clicks, partition=1 - right, offset=4, key=b"i-1", value=value)
    source = (("x-source", f"{clicks}/{1 - right}/4".encode()),)
    moved = StoredRecord(topic=clicks, partition=right, offset=0, key=b"i-1", value=value, headers=source)
    empty: dict[str, list[Record]] = {name: [] for name in topics.names()}
    accounts = Accounts(
        topics=topics, frames=[], clicks=[f"{clicks}/{1 - right}/4"], held=[], records=empty | {clicks: [sent, moved]}
    )
    lines = {line.line: line for line in balance(accounts)}
    assert lines["clicks sent = counted + repeated + dead letters"].ok
    assert lines["counted = exports"].missing == (f"{clicks}/{right}/0",)


def test_the_same_list_within_30_s_is_counted_once() -> None:
    counted = World()
    counted.frame("i-1", 0.9)
    counted.records["ranked-suggestions"] *= 2
    assert "acceptance = a recount" not in counted.failing()


def test_an_acceptance_that_was_forgotten_too_early_is_missed(world: World) -> None:
    states = world.records["interaction-acceptance"]
    states.append(StoredRecord(topic="interaction-acceptance", offset=len(states), key=b"i-2", value=None))
    assert world.failing()["acceptance = a recount"].missing == ("i-2: 1 of 1, 1.0",)


@pytest.mark.parametrize(
    ("left", "right", "missing", "doubled"),
    [("ab", "ab", "", ""), ("ab", "b", "a", ""), ("a", "aa", "", "a"), ("ab", "bb", "a", "b"), ("", "c", "", "c")],
)
def test_sides_are_compared_name_by_name(left: str, right: str, missing: str, doubled: str) -> None:
    line = compare("a line", left, right)
    assert (line.missing, line.doubled) == (tuple(missing), tuple(doubled))
    assert line.ok is (not missing and not doubled)
