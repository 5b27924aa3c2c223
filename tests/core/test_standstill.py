"""Looks that come late."""

from bridge.core.standstill import Looks


def test_a_look_is_late_by_what_has_passed_since_it_was_due() -> None:
    looks = Looks()
    assert looks.late_s(100.0, again_in_s=0.25) == 0, "nobody expected the first one"
    assert looks.late_s(100.5, again_in_s=0.25) == 0.25
    assert looks.late_s(100.75, again_in_s=1) == 0
    assert looks.late_s(101.5, again_in_s=1) == 0, "it is early"
    assert looks.late_s(104.5, again_in_s=1) == 2
