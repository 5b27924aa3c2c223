from hypothesis import given
from hypothesis import strategies as st

from bridge.simulator.memory import Remembered, forget_oldest


@given(st.integers(1, 5), st.integers(0, 40))
def test_remembers_the_last_ones_and_not_too_many(at_least: int, count: int) -> None:
    remembered: Remembered[int] = Remembered(at_least=at_least)
    numbers = [remembered.add(item) for item in range(count)]

    assert numbers == list(range(count))
    assert remembered.count == count
    assert remembered.items == list(range(count))[count - len(remembered.items) :]
    assert min(at_least, count) <= len(remembered.items) <= 2 * at_least


@given(st.integers(0, 9))
def test_replaces_what_it_has_not_forgotten(number: int) -> None:
    remembered: Remembered[int] = Remembered(at_least=2)
    for item in range(10):
        remembered.add(item)
    kept = list(remembered.items)
    remembered.replace(number, -1)

    assert remembered.items == [-1 if item == number else item for item in kept]


def test_forgets_the_oldest_first() -> None:
    held = {"a": b"1", "b": b"2", "c": b"3"}
    forget_oldest(held, at_most=2)

    assert held == {"b": b"2", "c": b"3"}
