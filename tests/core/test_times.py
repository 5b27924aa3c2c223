"""Times as the topics spell them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.times import from_rfc3339, to_rfc3339

_FIRST_MS, _LAST_MS = -62_135_596_800_000, 253_402_300_799_999


@given(st.integers(_FIRST_MS, _LAST_MS))
def test_reads_what_it_spelled(at_ms: int) -> None:
    assert from_rfc3339(to_rfc3339(at_ms)) == at_ms


@given(st.integers(_FIRST_MS, _LAST_MS), st.integers(_FIRST_MS, _LAST_MS))
def test_spelled_times_compare_as_the_times_do(one_ms: int, other_ms: int) -> None:
    assert (to_rfc3339(one_ms) < to_rfc3339(other_ms)) == (one_ms < other_ms)


@pytest.mark.parametrize(
    ("at_ms", "spelled"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_767_607_200_120, "2026-01-05T10:00:00.120Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (10**18, "9999-12-31T23:59:59.999Z"),
        (-(10**18), "0001-01-01T00:00:00.000Z"),
    ],
)
def test_spells_every_time(at_ms: int, spelled: str) -> None:
    assert to_rfc3339(at_ms) == spelled


@pytest.mark.parametrize(
    ("spelled", "at_ms"),
    [
        ("2026-01-05T10:00:00Z", 1_767_607_200_000),
        ("2026-01-05t10:00:00z", 1_767_607_200_000),
        ("2026-01-05 10:00:00.1Z", 1_767_607_200_100),
        ("2026-01-05T10:00:00.123999Z", 1_767_607_200_123),
        ("2026-01-05T12:30:00.5+02:30", 1_767_607_200_500),
        ("2026-01-05T10:00:00-00:00", 1_767_607_200_000),
        ("2016-12-31T23:59:60Z", 1_483_228_799_000),
        ("0001-01-01T00:00:00+14:00", _FIRST_MS - 14 * 3_600_000),
    ],
)
def test_reads_every_spelling_of_rfc_3339(spelled: str, at_ms: int) -> None:
    assert from_rfc3339(spelled) == at_ms


@pytest.mark.parametrize(
    "spelled",
    [
        "",
        "now",
        "2026-01-05",
        "2026-01-05T10:00:00",
        "2026-W01-1T10:00:00Z",
        "2026-01-05T10:00Z",
        "2026-13-05T10:00:00Z",
        "2026-02-30T10:00:00Z",
        "2026-01-05T24:00:00Z",
        "2026-01-05T10:61:00Z",
        "2026-01-05T10:00:61Z",
        "2026-01-05T10:00:00+24:00",
        "2026-01-05T10:00:00+01:60",
        "0000-01-01T00:00:00Z",
        "2026-01-05T10:00:00.Z",
        "٢٠٢٦-01-05T10:00:00Z",
        "2026-01-05T10:00:00Z\n",
    ],
)
def test_refuses_everything_else(spelled: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        from_rfc3339(spelled)
