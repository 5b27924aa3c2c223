from bridge.core.breaker import Breaker


def _breaker() -> Breaker:
    return Breaker(first_s=2, cap_s=30)


def _fail(breaker: Breaker, *export_ids: str, now_s: float = 100, asked_s: float | None = None) -> None:
    for export_id in export_ids:
        breaker.failed(export_id, cause="503", asked_s=asked_s, now_s=now_s, chance=1.0)


def test_a_few_failures_hold_up_nobody() -> None:
    breaker = _breaker()
    _fail(breaker, "a", "b", "c", "d")
    assert not breaker.is_tripped(100)
    assert breaker.rest_s(100) == 0


def test_the_fifth_export_that_fails_in_a_row_trips_it() -> None:
    breaker = _breaker()
    _fail(breaker, "a", "b", "c", "d", "e")
    assert breaker.is_tripped(100)
    assert breaker.rest_s(100) == 2
    assert breaker.rest_s(103) == 0


def test_one_export_that_always_fails_does_not_trip_it() -> None:
    breaker = _breaker()
    _fail(breaker, *"aaaaaaaaaaaa")
    assert not breaker.is_tripped(100)


def test_a_rest_that_is_asked_for_holds_for_all_at_once() -> None:
    breaker = _breaker()
    _fail(breaker, "a", asked_s=7)
    assert breaker.is_tripped(100)
    assert breaker.rest_s(100) == 7


def test_a_shorter_rest_does_not_cut_a_longer_one() -> None:
    breaker = _breaker()
    _fail(breaker, "a", asked_s=7)
    _fail(breaker, "b", asked_s=1)
    assert breaker.rest_s(100) == 7


def test_rests_grow_with_each_failed_try_up_to_the_cap() -> None:
    breaker = _breaker()
    _fail(breaker, "a", "b", "c", "d")
    rests = []
    now_s = 100.0
    for _ in range(6):
        _fail(breaker, "e", now_s=now_s)
        rests.append(breaker.rest_s(now_s))
        now_s += rests[-1]
    assert rests == [2, 4, 8, 16, 30, 30]


def test_posts_that_were_under_way_when_a_rest_began_do_not_lengthen_it() -> None:
    breaker = _breaker()
    _fail(breaker, "a", "b", "c", "d", "e", "f", "g", "h")
    assert breaker.rest_s(100) == 2


def test_a_good_answer_begins_anew_but_keeps_a_rest_that_was_asked_for() -> None:
    breaker = _breaker()
    _fail(breaker, "a", "b", "c", "d", "e")
    _fail(breaker, "f", asked_s=9)
    breaker.answered()
    assert breaker.rest_s(100) == 9
    assert breaker.is_tripped(108.9)
    assert not breaker.is_tripped(109)
    _fail(breaker, "a", "b", "c", "d", now_s=110)
    assert not breaker.is_tripped(110)


def test_after_a_rest_it_stays_tripped_until_a_good_answer() -> None:
    breaker = _breaker()
    _fail(breaker, "a", asked_s=7)
    assert breaker.is_tripped(200)
    breaker.answered()
    assert not breaker.is_tripped(200)


def test_tells_for_how_long_nothing_got_through_and_why() -> None:
    breaker = _breaker()
    assert breaker.failing_for_s(100) == 0
    _fail(breaker, "a", now_s=100)
    _fail(breaker, "a", now_s=120)
    assert breaker.failing_for_s(131) == 31
    assert breaker.cause == "503"
    breaker.answered()
    assert breaker.failing_for_s(131) == 0
