"""What an event is: a frozen dataclass that knows its log level and the metrics that it moves.

    @dataclass(frozen=True, slots=True, kw_only=True)
    class ValveClosed(Event):
        \"\"\"The ranker is too far behind: the socket is not read.\"\"\"

        level: ClassVar[Level] = "warning"
        metrics: ClassVar = (Gauge("bridge_valve_closed", "1 while the valve is closed", fixed=1),)

        lag_records: int

`telemetry.py` turns each event into one log line and its metrics. Labels are names of fields whose values come from a
small fixed set (a topic, a partition, a cause); an interaction's id is never one. A field that would be a word of the
language ends in an underscore, which nobody outside sees: `class_` is told as `class`.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

Level = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Counter:
    """Grows by 1 for each event, or by the field named `by`. Prometheus adds `_total` to the name."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    by: str | None = None


@dataclass(frozen=True, slots=True)
class Gauge:
    """Becomes the value of the field named `value`, or the number `fixed`.

    In a process that runs `zero_in` it is 0 from the start: give it where that is true, and not merely unknown.
    """

    name: str
    help: str
    labels: tuple[str, ...] = ()
    value: str | None = None
    fixed: float | None = None
    zero_in: str | None = None


@dataclass(frozen=True, slots=True)
class Histogram:
    """Observes the value of the field named `value`, in the unit that the name ends in."""

    name: str
    help: str
    value: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


Metric = Counter | Gauge | Histogram


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something worth telling that has happened. Fields are ids, numbers and causes; never a customer's text."""

    level: ClassVar[Level] = "info"
    metrics: ClassVar[tuple[Metric, ...]] = ()
