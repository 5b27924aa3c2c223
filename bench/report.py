"""What was measured, as a table in Markdown: medians, with the least and the greatest, and the ratio round by round."""

import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One measurement: of which side, of what, in which round, beside how much else (load over the last minute)."""

    side: str
    what: str
    interactions: int
    round: int
    load: float
    values: Mapping[str, float]


def machine() -> str:
    """The date, and what it was measured on."""
    models = [line for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if "model name" in line]
    model = models[0].partition(":")[2].strip() if models else platform.machine()
    today = datetime.now(UTC).date().isoformat()
    return f"{today}, {os.cpu_count()} cores of {model}, {platform.system()}, Python {platform.python_version()}"


def table(told: Sequence[Measured]) -> str:
    """A row for each figure, a column for each side."""
    sides = sorted({one.side for one in told}, key=lambda side: (side != "floor", side))
    groups: dict[tuple[str, int, str], dict[str, list[float]]] = {}
    for one in told:
        for name, value in one.values.items():
            groups.setdefault((one.what, one.interactions, name), {}).setdefault(one.side, []).append(value)
    head = ["frames", "interactions", "figure", *sides, "bridge / floor"]
    rows = [
        [what, f"{interactions:,}", name, *(_spread(by_side.get(side, [])) for side in sides), _ratio(by_side)]
        for (what, interactions, name), by_side in groups.items()
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def _ratio(by_side: Mapping[str, Sequence[float]]) -> str:
    # Two sides of one round ran one after the other, so beside about the same.
    pairs = zip(by_side.get("bridge", ()), by_side.get("floor", ()), strict=False)
    return _spread([ours / floor for ours, floor in pairs])


def _spread(values: Sequence[float]) -> str:
    if len(values) < 2:
        return "".join(map(_short, values))
    return f"{_short(statistics.median(values))} ({_short(min(values))} to {_short(max(values))})"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
