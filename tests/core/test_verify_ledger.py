"""The ledger: open until everything is there, then forgotten."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.verify_ledger import SOURCE, Equation, Ledger, Rules, complete_of

_MADE, _TOLD, _LEFT_OUT, _UNSURE = 2, 4, 8, 16
_RULES = Rules(
    equations=(
        Equation(line="source = made + left out", left=SOURCE, right=_MADE | _LEFT_OUT),
        Equation(line="made = told", left=_MADE, right=_TOLD),
    ),
    names=("the record", "thing", "word", "word that there is none"),
    needed=SOURCE,
)


def _ledger(begin: int = 0) -> Ledger:
    return Ledger(_RULES, begin=begin)


def test_what_is_complete_follows_from_the_equations() -> None:
    assert complete_of(_RULES) == {SOURCE | _MADE | _TOLD, SOURCE | _LEFT_OUT}


@given(st.permutations([SOURCE, _MADE, _TOLD]))
def test_a_record_is_forgotten_once_all_is_there_in_whatever_order(order: list[int]) -> None:
    ledger = _ledger()
    for bit in order:
        assert len(ledger) == (bit != order[0])
        assert ledger.seen(7) == sum(order[: order.index(bit)])
        if bit == SOURCE:
            ledger.source(7)
        else:
            assert ledger.note(7, bit)
    assert (len(ledger), ledger.seen(7)) == (0, 0)
    assert [ledger.sides(one) for one in _RULES.equations] == [(1, 1), (1, 1)]


def test_what_was_seen_before_is_no_news_while_it_is_open_and_afterwards() -> None:
    ledger = _ledger()
    ledger.source(0)
    assert ledger.note(0, _MADE)
    assert not ledger.note(0, _MADE)
    assert ledger.note(0, _TOLD)
    assert not ledger.note(0, _TOLD)
    assert not ledger.note(0, _LEFT_OUT)


def test_a_record_that_was_passed_over_is_none() -> None:
    ledger = _ledger()
    ledger.source(5)
    assert not ledger.note(4, _LEFT_OUT)
    assert ledger.note(6, _LEFT_OUT)


def test_records_before_the_beginning_are_not_kept() -> None:
    ledger = _ledger(begin=5)
    ledger.source(4)
    assert len(ledger) == 0


def test_what_is_left_comes_in_the_order_of_the_offsets_with_what_was_seen() -> None:
    ledger = _ledger()
    for offset in (1, 2, 3):
        ledger.source(offset)
    ledger.note(9, _MADE)
    ledger.note(2, _LEFT_OUT)
    ledger.note(3, _MADE)
    assert list(ledger.left()) == [(1, SOURCE), (3, SOURCE | _MADE), (9, _MADE)]
    assert (ledger.is_open_before(1), ledger.is_open_before(2)) == (False, True)


def test_what_was_seen_counts_as_it_is_read() -> None:
    rules = Rules(
        equations=(Equation(line="a", left=SOURCE, right=2),),
        names=("the record", "thing", "doubt"),
        needed=SOURCE,
        read=lambda seen: seen | 2 if seen & 4 else seen,
    )
    ledger = Ledger(rules, begin=0)
    ledger.source(0)
    ledger.note(0, 4)
    assert len(ledger) == 0
    assert ledger.sides(rules.equations[0]) == (1, 1)


@pytest.mark.parametrize(
    ("bits", "lines"),
    [
        (_LEFT_OUT, ["source = made + left out"]),
        (_MADE, ["source = made + left out", "made = told"]),
        (_UNSURE, []),
    ],
)
def test_a_bit_takes_part_in_lines(bits: int, lines: list[str]) -> None:
    assert _RULES.lines_with(bits) == lines


def test_bits_have_names() -> None:
    assert _RULES.named(_MADE | _LEFT_OUT) == "thing, word that there is none"
