from dataclasses import astuple
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.reconnect import (
    RULES,
    Backoff,
    Streak,
    cause_of_close,
    cause_of_status,
    delay_s,
    full_jitter_s,
    next_try,
    retry_after_s,
    rule_of,
)

BACKOFF = Backoff(first_s=1, cap_s=30, jitter_s=1, poll_s=5)
CAUSES = [rule.cause for rule in RULES]


def delays(*causes: str, chance: float = 0.0) -> list[float]:
    """The delays after these failures in a row."""
    streak, found = Streak(), []
    for cause in causes:
        coming = next_try(cause, streak, BACKOFF, chance=chance)
        streak = coming.streak
        found.append(coming.delay_s)
    return found


# -- the table ---------------------------------------------------------------------------------------------------------


def test_every_cause_stands_once_and_says_when() -> None:
    assert len(set(CAUSES)) == len(CAUSES)
    assert all(rule.when for rule in RULES)
    assert [rule_of(cause) for cause in CAUSES] == list(RULES)


def test_every_failure_has_a_remedy_which_the_error_tells_where_it_is_permanent() -> None:
    assert all(rule.remedy or rule.is_permanent for rule in RULES if rule.is_failure)
    assert not any(rule.remedy for rule in RULES if rule.is_permanent)


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        (1000, "closed"),
        (1001, "closed"),
        (1002, "broken"),
        (1005, "broken"),
        (1006, "dropped"),
        (1008, "policy"),
        (1009, "oversize"),
        (1011, "broken"),
        (1012, "restarting"),
        (1013, "restarting"),
        (4001, "token"),
        (4002, "broken"),
    ],
)
def test_close_codes_stand_for_causes(code: int, cause: str) -> None:
    """T8."""
    assert cause_of_close(code) == cause


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        (302, "unexpected"),
        (400, "unexpected"),
        (401, "token"),
        (403, "forbidden"),
        (404, "not-found"),
        (408, "unavailable"),
        (429, "busy"),
        (500, "unavailable"),
        (503, "unavailable"),
        (599, "unavailable"),
    ],
)
def test_statuses_stand_for_causes(status: int, cause: str) -> None:
    """T15."""
    assert cause_of_status(status) == cause


@given(code=st.integers(), status=st.integers())
def test_any_code_and_any_status_has_a_row(code: int, status: int) -> None:
    assert rule_of(cause_of_close(code)) in RULES
    assert rule_of(cause_of_status(status)) in RULES


def test_only_the_token_causes_renew_the_token_and_a_normal_closure_and_a_full_quota_are_no_failures() -> None:
    assert {rule.cause for rule in RULES if rule.renews_token} == {"token", "policy"}
    assert {rule.cause for rule in RULES if not rule.is_failure} == {"closed", "quota"}
    assert {rule.cause for rule in RULES if rule.may_finish} == {"closed"}
    assert {rule.cause for rule in RULES if rule.is_permanent} == {
        "forbidden",
        "not-found",
        "client-refused",
        "library",
    }


# -- the next try ------------------------------------------------------------------------------------------------------


def test_the_first_failure_waits_2_s_and_each_further_one_twice_as_long_up_to_30_s() -> None:
    """T7: min(1 s · 2^n, 30 s), n = 1 for the first failure."""
    assert delays(*["dropped"] * 7) == [2, 4, 8, 16, 30, 30, 30]
    assert delays("dropped", "unreachable", chance=1.0) == [3, 5]


def test_a_normal_closure_is_at_once_and_changes_no_streak() -> None:
    """T8: no failure, no growing delay."""
    streak = Streak(failures=3, renewals=1)
    for chance in (0.0, 1.0):
        coming = next_try("closed", streak, BACKOFF, chance=chance)
        assert 0 < coming.delay_s < 1
        assert coming.streak == streak


def test_a_full_quota_is_looked_at_again_and_again_and_is_no_failure() -> None:
    """T3."""
    coming = next_try("quota", Streak(failures=3), BACKOFF, chance=0.5)
    assert (coming.delay_s, coming.streak) == (5, Streak(failures=3))


def test_4001_is_at_once_and_again_with_backoff() -> None:
    """T8."""
    first, second, third = delays("token", "token", "token", chance=0.5)
    assert first < 1
    assert (second, third) == (4.5, 8.5)


def test_4001_is_at_once_after_other_failures_too_but_only_once() -> None:
    assert delays("unreachable", "token", "unreachable", "token") == pytest.approx([2, 0.1, 8, 16])


def test_a_permanent_cause_waits_as_long_as_the_backoff_ever_does() -> None:
    assert delays("forbidden", "library", chance=1.0) == [31, 31]


def test_what_the_peer_asks_for_goes_before_the_backoff() -> None:
    """T15, D10: Retry-After."""
    coming = next_try("busy", Streak(failures=6), BACKOFF, chance=0.5, retry_after_s=7)
    assert coming.delay_s == 7.5
    assert coming.streak == Streak(failures=7)


@given(
    cause=st.sampled_from(CAUSES),
    failures=st.integers(0, 10**6),
    renewals=st.integers(0, 10**6),
    chance=st.floats(0, 1),
    asked_s=st.none() | st.floats(0, 300),
)
def test_delays_are_bounded_and_failures_only_grow(
    cause: str, failures: int, renewals: int, chance: float, asked_s: float | None
) -> None:
    before = Streak(failures=failures, renewals=renewals)
    coming = next_try(cause, before, BACKOFF, chance=chance, retry_after_s=asked_s)
    assert 0 <= coming.delay_s <= max(30, asked_s or 0) + 1
    assert coming.streak.failures - failures == coming.rule.is_failure
    assert coming.rule == rule_of(cause)


def test_rules_are_rows_of_words() -> None:
    assert astuple(rule_of("token")) == (
        "token",
        "close 4001; 401 to the handshake or a request",
        "at once",
        True,
        True,
        False,
        False,
        "check that the OAuth client is active and has the scope agentassist:view",
    )


# -- delays ------------------------------------------------------------------------------------------------------------


@given(
    failures=st.integers(0, 10**9),
    first_s=st.floats(0.001, 60),
    cap_s=st.floats(0.001, 3600),
    jitter_s=st.floats(0, 60),
    chance=st.floats(0, 1),
)
def test_a_delay_is_never_above_cap_plus_jitter_and_never_shorter_after_more_failures(
    failures: int, first_s: float, cap_s: float, jitter_s: float, chance: float
) -> None:
    now = delay_s(failures, first_s=first_s, cap_s=cap_s, jitter_s=jitter_s, chance=chance)
    later = delay_s(failures + 1, first_s=first_s, cap_s=cap_s, jitter_s=jitter_s, chance=chance)
    assert 0 <= now <= later <= cap_s + jitter_s


def test_full_jitter_is_anywhere_up_to_the_doubled_delay() -> None:
    assert [full_jitter_s(n, first_s=2, cap_s=60, chance=1.0) for n in (1, 2, 3, 6, 10**6)] == [2, 4, 8, 60, 60]
    assert full_jitter_s(3, first_s=2, cap_s=60, chance=0.25) == 2
    assert full_jitter_s(3, first_s=2, cap_s=60, chance=0.0) == 0


# -- Retry-After -------------------------------------------------------------------------------------------------------

NOW_MS = 1_767_607_200_000  # 2026-01-05T10:00:00Z


@pytest.mark.parametrize(
    ("value", "asked_s"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("0", 0),
        ("12", 12),
        (" 12 ", 12),
        ("1.5", 1.5),
        ("301", 300),
        ("9" * 5000, 300),
        ("Mon, 05 Jan 2026 10:00:30 GMT", 30),
        ("Mon, 05 Jan 2026 10:00:30 -0000", 30),
        ("Mon, 05 Jan 2026 11:00:30 +0100", 30),
        ("Mon, 05 Jan 2026 09:00:00 GMT", 0),
        ("Mon, 05 Jan 2027 09:00:00 GMT", 300),
        ("Mon, 99 Jan 2026 09:00:00 GMT", None),
        ("\u0661\u0662", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_up_to_the_cap(value: str | None, asked_s: float | None) -> None:
    """RFC 9110 section 10.2.3."""
    assert retry_after_s(value, now_ms=NOW_MS, cap_s=300) == asked_s


@given(value=st.text() | st.from_regex(r"\w{3}, \d{1,9} \w{3} \d{1,9} \d{1,9}:\d\d:\d\d [+-]\d{1,9}"))
def test_any_retry_after_is_read_or_left(value: str) -> None:
    asked_s = retry_after_s(value, now_ms=NOW_MS, cap_s=300)
    assert asked_s is None or 0 <= asked_s <= 300


@given(after_s=st.integers(-1000, 1000))
def test_a_date_is_the_time_that_is_left(after_s: int) -> None:
    value = formatdate(NOW_MS / 1000 + after_s, usegmt=True)
    assert retry_after_s(value, now_ms=NOW_MS, cap_s=300) == min(max(after_s, 0), 300)
