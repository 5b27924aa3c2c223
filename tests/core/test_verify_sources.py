"""What was made of each record, and the words for what is wrong."""

import pytest

from bridge.core.dead_letters import DLQ_CLASS, malformed_letter
from bridge.core.errors import MalformedError
from bridge.core.records import Record, StoredRecord
from bridge.core.topics import Options, topics_of
from bridge.core.verify_findings import Findings, Report
from bridge.core.verify_ledger import SOURCE, Equation, Rules
from bridge.core.verify_scope import MARGIN_MS, Scope
from bridge.core.verify_sources import DeadInputs, Order, Pairs, Sources, letters_in

_TOPICS = topics_of(Options(partitions=1))
_RAW = _TOPICS.raw_suggestions
_MADE, _TOLD, _LEFT_OUT, _VERDICT = 2, 4, 8, 16
_LINE, _TOLD_LINE = "raw = ranked + withheld + superseded + dead letters", "ranked = suggestions_retrieved"
_RULES = Rules(
    equations=(
        Equation(line=_LINE, left=SOURCE, right=_MADE | _LEFT_OUT),
        Equation(line=_TOLD_LINE, left=_MADE, right=_TOLD),
    ),
    names=("the record", "list", "word", "omission", ""),
    needed=SOURCE | _VERDICT,
)


class _Books:
    def __init__(self, *, due_before: int = 100, begin: int = 0, proven_from_ms: float = 0) -> None:
        self.findings = Findings(max_offenders=20)
        scope = Scope(
            number=0,
            topics=_TOPICS,
            reads_from={},
            begins={_RAW: begin},
            due_before={_RAW: due_before},
            proven_from_ms={_RAW: proven_from_ms},
            counted_from_ms=None,
            dead={},
        )
        self.sources = Sources(scope, _RAW, _RULES, self.findings, verdicts=_VERDICT)
        self._made = 0

    def take(self, *offsets: int, at_ms: int | None = None) -> None:
        self.sources.take([_raw(offset, at_ms=offset if at_ms is None else at_ms) for offset in offsets])

    def note(self, offset: int, *bits: int, of: str = f"{_RAW}/0/") -> list[int | None]:
        """One record for each bit, made of the one at `offset`."""
        return [self.sources.note(self._next(), f"{of}{offset}".encode(), bit) for bit in bits]

    def finished(self) -> Report:
        self.sources.finish()
        return self.findings.report(records=0)

    def words(self) -> list[str]:
        return [f"{one.topic}/{one.partition}/{one.offset}: {one.what}" for one in self.finished().offenders]

    def _next(self) -> Record:
        self._made += 1
        return StoredRecord(topic="out", offset=self._made)


def _raw(offset: int, *, at_ms: int = 0) -> Record:
    return StoredRecord(topic=_RAW, offset=offset, timestamp=at_ms)


@pytest.mark.parametrize(
    ("bits", "what"),
    [
        ((), "nothing was made of it"),
        ((_VERDICT,), "nothing was made of it"),
        ((_VERDICT, _MADE), "there is list of it, but no word"),
        ((_VERDICT, _TOLD), "there is word of it, but no list"),
        ((_VERDICT, _LEFT_OUT, _TOLD), None),
        ((_VERDICT, _MADE, _LEFT_OUT), "there is list, omission of it: list is too much"),
    ],
)
def test_what_is_missing_is_said(bits: tuple[int, ...], what: str | None) -> None:
    books = _Books()
    books.take(7)
    books.note(7, *bits)
    if what is not None:
        assert books.words() == [f"{_RAW}/0/7: {what}"]
    else:
        # The omission was enough; the word that came afterwards is the offender.
        assert books.words() == [f"out/0/3: it is a second word of {_RAW}/0/7, or that is no record"]


def test_something_that_was_made_of_nothing_is_said() -> None:
    books = _Books()
    books.note(7, _VERDICT, _MADE, _TOLD)
    assert books.words() == [f"{_RAW}/0/7: the record is not there, but list, word of it is"]


def test_a_record_that_is_all_there_but_for_a_verdict_is_named_under_its_first_line() -> None:
    books = _Books()
    books.take(7)
    books.note(7, _LEFT_OUT)
    report = books.finished()
    assert [(one.line, one.offset) for one in report.offenders] == [(_LINE, 7)]


@pytest.mark.parametrize("of", ["elsewhere/0/", f"{_RAW}/1/", f"{_RAW}/0/x", ""])
def test_what_was_made_of_a_record_elsewhere_is_said(of: str) -> None:
    books = _Books()
    assert books.note(7, _MADE, of=of) == [None]
    assert books.words() == ["out/0/1: it is list of a record that is not of this partition"]


def test_without_a_source_it_is_of_no_record() -> None:
    books = _Books()
    assert books.sources.note(_raw(0), None, _MADE) is None


def test_what_is_not_worked_yet_is_open() -> None:
    books = _Books(due_before=8)
    books.take(7, 8, 9)
    books.note(7, _VERDICT, _LEFT_OUT)
    books.note(9, _VERDICT, _MADE)
    assert not books.sources.is_open(now_ms=0)
    lines = {line.line: line for line in books.finished().lines}
    assert (lines[_LINE].left, lines[_LINE].right, lines[_LINE].open, lines[_LINE].ok) == (3, 2, 1, True)
    assert (lines[_TOLD_LINE].left, lines[_TOLD_LINE].right, lines[_TOLD_LINE].open) == (1, 0, 1)


def test_something_is_open_while_it_should_be_there() -> None:
    books = _Books(due_before=8)
    books.take(7)
    assert books.sources.is_open(now_ms=0)
    books.note(7, _VERDICT)
    assert books.sources.is_open(now_ms=10**9)


def test_what_was_passed_over_by_its_hop_will_not_come_any_more() -> None:
    """A minute later all that was written with the younger ones has been read."""
    books = _Books(due_before=8)
    books.take(7, 8)
    books.note(8, _VERDICT)
    books.note(9, _VERDICT)
    assert books.sources.is_open(now_ms=MARGIN_MS)
    assert not books.sources.is_open(now_ms=MARGIN_MS + 1)


def test_what_came_before_the_range_is_nobodys_business() -> None:
    books = _Books(begin=5)
    books.take(3, 4)
    assert books.note(4, _MADE) == [None]
    assert books.words() == []


def test_what_may_have_been_deleted_is_not_proven() -> None:
    books = _Books(proven_from_ms=10)
    books.take(8, 9)
    books.take(10, 11)
    report = books.finished()
    assert [one.offset for one in report.offenders] == [10, 11]
    assert next(line for line in report.lines if line.line == _LINE).unproven == 2


def test_what_is_told_to_be_lost_is_no_offender() -> None:
    books = _Books()
    books.take(7, 8, 9)
    books.sources.lost.append((7, 9))
    assert [one.offset for one in books.finished().offenders] == [9]


def test_pairs_are_compared_once_both_are_there() -> None:
    compared: list[tuple[int, str, str]] = []
    pairs: Pairs[str, str] = Pairs(lambda *both: compared.append(both))
    pairs.left(1, "a")
    assert pairs.has_left(1)
    pairs.right(1, "A")
    pairs.right(2, "B")
    pairs.left(3, "c")
    pairs.left(2, "b")
    pairs.drop(3)
    pairs.right(3, "C")
    assert compared == [(1, "a", "A"), (2, "b", "B")]
    assert not pairs.has_left(1)


def test_order_is_by_key() -> None:
    findings = Findings(max_offenders=9)
    order = Order(_LINE, findings)
    for key, offset in ((b"a", 1), (b"b", 0), (b"a", 3), (b"a", 2), (None, 0)):
        order.check(StoredRecord(topic="out", offset=offset, key=key), offset)
    order.finish()
    report = findings.report(records=0)
    assert [one.offset for one in report.offenders] == [2]
    assert (report.lines[0].left, report.lines[0].right) == (5, 4)
    assert len(order) == 3


def test_notes_among_dead_letters_are_none() -> None:
    letter = StoredRecord(
        topic="dlq",
        headers=(
            ("x-dlq-class", b"schema"),
            ("__connect.errors.topic", b"t"),
            ("__connect.errors.partition", b"3"),
            ("__connect.errors.offset", b"7"),
        ),
    )
    assert list(letters_in([StoredRecord(topic="dlq"), letter])) == [(letter, b"schema", b"t/3/7")]


def test_what_was_set_aside_is_known_from_the_letters_of_its_own_number() -> None:
    dead = DeadInputs(number=3)
    dead.take(_letter(_RAW, 3, offset) for offset in (5, 6, 7, 20))
    dead.take([_letter("other", 3, 1), _letter(_RAW, 2, 9), StoredRecord(topic="dlq", headers=((DLQ_CLASS, b"x"),))])
    found = dead.by_topic()
    assert [offset for offset in range(30) if offset in found[_RAW]] == [5, 6, 7, 20]
    assert found.keys() == {_RAW, "other"}


def _letter(topic: str, partition: int, offset: int) -> StoredRecord:
    source = StoredRecord(topic=topic, partition=partition, offset=offset)
    letter = malformed_letter(source, MalformedError("schema", "no"), topic="dlq", worker="tally")
    return StoredRecord(topic="dlq", headers=letter.headers)
