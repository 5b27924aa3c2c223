"""What is told of dead letters, whichever worker writes them."""

from dataclasses import dataclass
from typing import ClassVar

from bridge.core.events.kinds import Counter, Event, Gauge, Level


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLettersWritten(Event):
    """Records or frames that cannot be used are set aside, and the brokers have them; one event a class and batch."""

    level: ClassVar[Level] = "warning"
    metrics: ClassVar = (
        Counter("bridge_dead_letters", "Dead letters written", labels=("topic", "class_"), by="letters"),
    )

    topic: str
    class_: str
    letters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetSpent(Event):
    """One more batch would set aside too much of a topic: the number is parked, and nothing of it is written."""

    level: ClassVar[Level] = "error"
    metrics: ClassVar = (
        Counter("bridge_dead_letter_budget_spent", "Batches that would set aside too much", labels=("group",)),
    )

    group: str
    number: int
    topic: str
    offset: int
    rule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OldestDeadLetterSeen(Event):
    """The oldest letter of a dead-letter topic that no replay has passed; an age of 0 where there is none."""

    level: ClassVar[Level] = "debug"
    metrics: ClassVar = (
        Gauge(
            "bridge_dead_letters_oldest_age_seconds",
            "Age of the oldest dead letter that no replay has passed, 0 without one",
            labels=("topic",),
            value="age_s",
        ),
    )

    topic: str
    age_s: float | None
