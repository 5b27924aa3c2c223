"""Dead letters by topic, class and reason."""

from bridge.core.dead_letters import dead_letter
from bridge.core.letter_groups import LetterGroup, LetterGroups
from bridge.core.letters import Selection
from bridge.core.records import StoredRecord
from bridge.core.replay import note_of
from tests.core.test_letters import stored


def dead(offset: int, *, dlq_class: str = "schema", reason: str = "no good", at_ms: int = 0) -> StoredRecord:
    source = StoredRecord(topic="suggestion-clicks", key=b"i-1")
    letter = dead_letter(
        source, topic="dlq.clicks", worker="tally", dlq_class=dlq_class, reason=reason, stage="VALUE_CONVERTER"
    )
    return stored(letter, offset=offset, timestamp=at_ms)


def groups(*records: StoredRecord, selection: Selection | None = None) -> list[LetterGroup]:
    found = LetterGroups(selection or Selection())
    for record in records:
        found.take(record)
    return found.groups()


def test_counts_those_that_failed_alike_with_the_first_and_the_last() -> None:
    assert groups(dead(0, at_ms=50), dead(1, at_ms=20), dead(2, dlq_class="decode", at_ms=70)) == [
        LetterGroup(
            topic="dlq.clicks", dlq_class="decode", reason="no good", count=1, replayed=0, first_ms=70, last_ms=70
        ),
        LetterGroup(
            topic="dlq.clicks", dlq_class="schema", reason="no good", count=2, replayed=0, first_ms=20, last_ms=50
        ),
    ]


def test_sizes_make_no_reason_of_their_own_but_statuses_do() -> None:
    told = groups(
        dead(0, reason="the click has 70000 bytes"),
        dead(1, reason="the click has 80000 bytes"),
        dead(2, reason="the KMP answered 422"),
    )
    assert [(one.reason, one.count) for one in told] == [("the KMP answered 422", 1), ("the click has … bytes", 2)]


def test_places_in_a_list_make_no_reason_of_their_own() -> None:
    (group,) = groups(*(dead(at, reason=f"no number - at `$.suggestions[{at}].confidence`") for at in range(2)))
    assert (group.reason, group.count) == ("no number - at `$.suggestions[…].confidence`", 2)


def test_tells_how_many_were_sent_back() -> None:
    note = stored(note_of("dlq.clicks", 1, [0, 2], at_ms=0), offset=3)
    (group,) = groups(dead(0), dead(1), dead(2), note)
    assert (group.count, group.replayed) == (3, 2)


def test_takes_only_what_is_selected() -> None:
    assert groups(dead(0), selection=Selection(dlq_class="expired")) == []
