"""Whether a worker is stuck."""

from dataclasses import replace

from bridge.core.watchdog import HeldUp, Sight, Watchdog

_SIGHT = Sight(what="number 3", progress=7, has_work=True)


def test_what_has_work_and_finishes_none_is_stuck_after_its_time() -> None:
    watchdog = Watchdog(stuck_after_s=60)
    assert watchdog.look([_SIGHT], now_s=0) == []
    assert watchdog.look([_SIGHT], now_s=59) == []
    assert watchdog.look([_SIGHT], now_s=60) == ["number 3"]


def test_it_is_told_once_in_a_time() -> None:
    watchdog = Watchdog(stuck_after_s=60)
    told = [bool(watchdog.look([_SIGHT], now_s=at_s)) for at_s in range(0, 181, 20)]
    assert told == [False, False, False, True, False, False, True, False, False, True]


def test_progress_no_work_or_a_wait_on_purpose_winds_the_clock_up() -> None:
    for good in (replace(_SIGHT, progress=8), replace(_SIGHT, has_work=False), replace(_SIGHT, waits=True)):
        watchdog = Watchdog(stuck_after_s=60)
        watchdog.look([_SIGHT], now_s=0)
        assert watchdog.look([good], now_s=59) == []
        assert watchdog.look([good], now_s=118) == []


def test_one_that_stands_among_others_that_go_on_is_found() -> None:
    watchdog = Watchdog(stuck_after_s=60)
    for at_s in range(0, 60, 10):
        assert watchdog.look([_SIGHT, Sight(what="number 4", progress=at_s, has_work=True)], now_s=at_s) == []
    assert watchdog.look([_SIGHT, Sight(what="number 4", progress=60, has_work=True)], now_s=60) == ["number 3"]


def test_while_it_is_set_up_nobody_expects_anything() -> None:
    watchdog = Watchdog(stuck_after_s=60)
    watchdog.look([_SIGHT], now_s=0)
    assert watchdog.look([replace(_SIGHT, is_running=False)], now_s=100) == []
    assert watchdog.look([_SIGHT], now_s=159) == []
    assert watchdog.look([_SIGHT], now_s=160) == ["number 3"]


def test_it_is_told_as_stalled_only_where_a_new_consumer_did_not_help() -> None:
    watchdog = Watchdog(stuck_after_s=60)
    watchdog.look([_SIGHT], now_s=0)
    watchdog.look([_SIGHT], now_s=60)
    assert watchdog.stalled_s(60) == 0
    watchdog.look([], now_s=60, is_all=False)
    watchdog.look([Sight(what="number 3", progress=0, has_work=False, is_running=False)], now_s=61)
    assert watchdog.look([_SIGHT], now_s=121) == ["number 3"]
    assert watchdog.stalled_s(125) == 125
    watchdog.look([replace(_SIGHT, progress=8)], now_s=126)
    assert watchdog.stalled_s(126) == 0


def test_a_wait_on_purpose_makes_up_for_a_consumer_in_vain() -> None:
    watchdog = Watchdog(stuck_after_s=60)
    watchdog.look([_SIGHT], now_s=0)
    watchdog.look([_SIGHT], now_s=60)
    watchdog.look([replace(_SIGHT, is_running=False, waits=True)], now_s=61)
    assert watchdog.look([_SIGHT], now_s=121) == ["number 3"]
    assert watchdog.stalled_s(121) == 0


def test_what_is_seen_no_longer_is_forgotten() -> None:
    """Another member has the number: what becomes of it is no concern of ours."""
    watchdog = Watchdog(stuck_after_s=60)
    watchdog.look([_SIGHT], now_s=0)
    watchdog.look([], now_s=30)
    assert watchdog.look([_SIGHT], now_s=70) == []


def test_a_stable_offset_that_stands_below_the_end_is_held_up() -> None:
    held = HeldUp[str]()
    assert held.look({"p": 5}, {"p": 9}, now_s=10) == {"p": 0}
    assert held.look({"p": 5}, {"p": 12}, now_s=14) == {"p": 4}


def test_a_stable_offset_that_moves_or_is_at_the_end_is_not() -> None:
    held = HeldUp[str]()
    held.look({"moves": 5, "ends": 9}, {"moves": 9, "ends": 9}, now_s=0)
    assert held.look({"moves": 6, "ends": 9}, {"moves": 9, "ends": 9}, now_s=7) == {"moves": 0, "ends": 0}
