"""How a module states its options: a frozen dataclass whose fields carry their range.

`settings.py` gathers these classes, reads the values and checks them against the ranges; nobody checks them again.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Within:
    """The range of a numeric option, both ends included: `Annotated[float, Within(0, 1)]`."""

    low: float
    high: float

    def fault(self, value: float) -> str | None:
        """What is wrong with `value`, or None."""
        if self.low <= value <= self.high:
            return None
        return f"must be from {self.low:.15g} to {self.high:.15g}"


@dataclass(frozen=True, slots=True)
class OneOf:
    """The words that an option takes: `Annotated[str, OneOf("write", "shed", "block")]`."""

    words: tuple[str, ...]

    def __init__(self, *words: str) -> None:
        object.__setattr__(self, "words", words)

    def fault(self, value: str) -> str | None:
        """What is wrong with `value`, or None."""
        if value in self.words:
            return None
        return f"must be one of {', '.join(self.words)}"
