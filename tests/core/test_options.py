"""Ranges of options."""

import pytest

from bridge.core.options import OneOf, Within


@pytest.mark.parametrize("value", [0, 0.5, 1])
def test_both_ends_are_within(value: float) -> None:
    assert Within(0, 1).fault(value) is None


@pytest.mark.parametrize("value", [-0.001, 1.001, float("nan"), float("inf")])
def test_outside_is_told_with_the_range(value: float) -> None:
    assert Within(0, 1).fault(value) == "must be from 0 to 1"


def test_takes_only_its_words() -> None:
    words = OneOf("write", "shed", "block")
    assert words.fault("shed") is None
    assert words.fault("drop") == "must be one of write, shed, block"
