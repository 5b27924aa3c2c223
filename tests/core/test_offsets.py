import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.offsets import OffsetLedger, Run


def _ledger(*offsets: int) -> OffsetLedger[str]:
    ledger: OffsetLedger[str] = OffsetLedger()
    for offset in offsets:
        ledger.take(offset)
    return ledger


def test_releases_only_the_unbroken_run() -> None:
    ledger = _ledger(4, 5, 7)
    ledger.finish(5, "five")
    assert ledger.release() is None
    ledger.finish(4, "four")
    assert ledger.release() == Run(results=("four", "five"), position=7)
    assert len(ledger) == 1


def test_the_position_is_the_first_unfinished_record_in_spite_of_holes_before_it() -> None:
    ledger = _ledger(4, 9)
    ledger.finish(4, "four")
    assert ledger.release() == Run(results=("four",), position=9)


def test_with_nothing_open_the_position_is_how_far_was_read() -> None:
    ledger = _ledger(4)
    ledger.read_to(6)
    ledger.finish(4, "four")
    assert ledger.release() == Run(results=("four",), position=6)


def test_a_hole_at_the_end_is_released_once_without_any_result() -> None:
    ledger = _ledger()
    ledger.read_to(6)
    assert ledger.release() == Run(results=(), position=6)
    assert ledger.release() is None


def test_a_hole_before_an_open_record_is_not_worth_a_release() -> None:
    ledger = _ledger()
    ledger.read_to(6)
    ledger.release()
    ledger.take(9)
    assert ledger.release() is None


def test_nothing_taken_is_nothing_to_release() -> None:
    assert _ledger().release() is None


def test_an_offset_that_was_passed_is_not_taken() -> None:
    ledger = _ledger(4)
    ledger.read_to(9)
    with pytest.raises(ValueError, match="offset 8 after position 9"):
        ledger.take(8)


@pytest.mark.parametrize("offset", [3, 4])
def test_only_what_is_open_can_be_finished(offset: int) -> None:
    ledger = _ledger(4, 5)
    ledger.finish(4, "four")
    with pytest.raises(ValueError, match="is not open"):
        ledger.finish(offset, "again")


@given(st.data())
def test_never_passes_an_unfinished_one_and_releases_everything_once_in_order(data: st.DataObject) -> None:
    offsets = sorted(data.draw(st.sets(st.integers(0, 60), min_size=1, max_size=20)))
    end = offsets[-1] + 1 + data.draw(st.integers(0, 3))
    ledger = _ledger()
    unfinished: list[int] = []
    released: list[str] = []
    position = 0
    to_take = list(offsets)
    while to_take or unfinished:
        if to_take and (not unfinished or data.draw(st.booleans())):
            unfinished.append(to_take.pop(0))
            ledger.take(unfinished[-1])
            if not to_take:
                ledger.read_to(end)
        else:
            done = data.draw(st.sampled_from(unfinished))
            unfinished.remove(done)
            ledger.finish(done, str(done))
        if data.draw(st.booleans()) and (run := ledger.release()) is not None:
            released += run.results
            assert run.position >= position
            position = run.position
            assert not any(offset < position for offset in unfinished)
            assert all(int(result) < position for result in run.results)
    if (run := ledger.release()) is not None:
        released += run.results
        position = run.position
    assert released == [str(offset) for offset in offsets]
    assert position == end
    assert len(ledger) == 0
