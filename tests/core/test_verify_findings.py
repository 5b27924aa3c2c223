"""Lines and offenders; and the identities of the last 30 s."""

from hypothesis import given
from hypothesis import strategies as st

from bridge.core.records import StoredRecord
from bridge.core.verify_findings import CLICKS, LINES, RAW, Findings, Once


def test_all_lines_are_told_in_the_order_of_the_data() -> None:
    report = Findings(max_offenders=1).report(records=7)
    assert [line.line for line in report.lines] == list(LINES)
    assert (report.balanced, report.records) == (True, 7)


def test_the_first_offenders_are_named_and_all_are_counted() -> None:
    findings = Findings(max_offenders=2)
    for offset in range(3):
        findings.offend(RAW, CLICKS, topic="t", partition=1, offset=offset, what="lost")
    findings.count(RAW, left=3, right=2)
    findings.tell(CLICKS, StoredRecord(topic="t"), "late")
    report = findings.report(records=0)
    assert [(one.offset, one.line) for one in report.offenders] == [(0, RAW), (1, RAW)]
    assert {line.line: line.wrong for line in report.lines if not line.ok} == {RAW: 3, CLICKS: 4}
    assert not report.balanced


def test_one_that_is_not_to_be_named_is_counted() -> None:
    findings = Findings(max_offenders=2)
    findings.offend(RAW, topic="t", partition=0, offset=0, what="wrong", is_named=False)
    report = findings.report(records=0)
    assert (report.offenders, report.balanced) == ([], False)


@given(st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c"]), st.integers(min_value=0, max_value=40))))
def test_an_identity_repeats_if_it_was_there_within_the_time(steps: list[tuple[bytes, int]]) -> None:
    once = Once(30)
    last: dict[bytes, int] = {}
    at_ms = 0
    for identity, step_ms in steps:
        at_ms += step_ms
        assert once.is_repeat(identity, at_ms=at_ms) == (identity in last and at_ms - last[identity] <= 30)
        last[identity] = at_ms
