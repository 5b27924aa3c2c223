"""What became of a click, read from the audit that the tally and the exporter write."""

import pytest

from bridge.core.acceptance import export_id_of
from bridge.core.exports import export_of, told
from bridge.core.outcomes import ClickOutcome, OutcomeOfClick
from bridge.core.records import NewRecord, StoredRecord
from bridge.core.topics import Options, topics_of
from bridge.core.values import audit_now
from bridge.core.verdict import Delivered, Refused

_TOPICS = topics_of(Options())


def _as_read(record: NewRecord) -> StoredRecord:
    return StoredRecord(topic=record.topic, key=record.key, value=record.value)


def _audit(event: str, **fields: object) -> StoredRecord:
    return _as_read(audit_now("audit", event, "i", at_ms=0, partition=0, **fields))


def _exported(click_id: str, verdict: Delivered | Refused) -> StoredRecord:
    headers = (("ce_id", export_id_of("i", click_id).encode()),)
    export = export_of(StoredRecord(topic="exports", key=b"i", value=b"{}", headers=headers))
    return _as_read(told(export, verdict, attempts=2, topics=_TOPICS)[0])


def test_a_click_is_followed_until_its_export_is_delivered() -> None:
    click = OutcomeOfClick("i", "c")
    assert click.take(_audit("suggestions_retrieved", count=3, latencyMs=1)) is None
    assert click.take(_audit("suggestion_accepted", clickId="another", acceptanceRate=0.25)) is None
    assert click.take(_audit("suggestion_accepted", clickId="c", acceptanceRate=0.5)) is None
    assert click.take(_exported("another", Delivered(status=200))) is None
    assert click.take(_exported("c", Delivered(status=202))) == ClickOutcome(
        click_id="c", outcome="delivered", status=202, attempts=2, acceptance_rate=0.5
    )


def test_a_click_that_the_kmp_refuses_is_refused() -> None:
    outcome = OutcomeOfClick("i", "c").take(_exported("c", Refused(status=422, reason="unknown article")))
    assert outcome == ClickOutcome(click_id="c", outcome="refused", status=422, attempts=2)


@pytest.mark.parametrize(("event", "outcome"), [("click_repeated", "repeated"), ("click_refused", "refused")])
def test_a_click_that_is_not_counted_ends_there(event: str, outcome: str) -> None:
    click = OutcomeOfClick("i", "c")
    assert click.take(_audit(event, clickId="another", reason="…")) is None
    found = click.take(_audit(event, clickId="c", reason="…"))
    assert found is not None
    assert (found.outcome, found.status, found.attempts) == (outcome, None, 0)


def test_a_click_that_was_moved_goes_on() -> None:
    assert OutcomeOfClick("i", "c").take(_audit("click_moved", clickId="c", reason="…")) is None


def test_what_is_no_audit_event_is_passed_over() -> None:
    assert OutcomeOfClick("i", "c").take(StoredRecord(topic="audit", key=b"i", value=b"hello")) is None
