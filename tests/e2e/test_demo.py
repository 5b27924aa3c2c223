"""`bridge demo`: what it prints, and that its books see what is wrong."""

import asyncio
import subprocess
import sys

import msgspec
import pytest

from bridge.demo import ladder
from bridge.demo.play import INTERACTIONS, Result
from tests.cli.processes import bridge_beside

pytestmark = pytest.mark.e2e  # It brings its own broker.

_LINES = [
    "frames sent = raw + dead letters + lost inside a told gap",
    "raw = ranked + withheld + superseded + dead letters",
    "ranked = suggestions_retrieved",
    "clicks sent = counted + repeated + dead letters",
    "counted = exports",
    "exports = suggestion_accepted",
    "exports = acceptance_exported",
    "exports = held by the KMP + refused",
    "acceptance = a recount",
    "every exported rate = a recount",
]
_FAULTS = {
    "gzip burst",
    "garbage frames",
    "close 1001",
    "expired token (4001)",
    "KMP answers 503",
    "burst that closes the valve",
}


async def test_the_demo_balances_and_prints_one_json_object() -> None:
    done = await bridge_beside("demo", "--seconds", "8", "--json")
    assert done.code == 0, done.stderr
    told = msgspec.json.decode(done.stdout)
    assert set(told) == {"balanced", "books", "gaps", "ladder", "verified", "faults", "latency_ms", "counts"}
    assert told["balanced"] is True
    assert all(set(line) == {"line", "left", "right", "missing", "doubled", "ok"} for line in told["books"])
    assert all(line["line"].startswith(begin) for line, begin in zip(told["books"], _LINES, strict=True))
    assert all(line["ok"] and line["left"] == line["right"] > 0 for line in told["books"])
    assert {gap["cause"] for gap in told["gaps"]} == {"closed", "token", "stopped"}
    assert all(gap["told"] == gap["interactions"] == INTERACTIONS for gap in told["gaps"])
    steps = {step["name"]: step["times"] for step in told["ladder"]["steps"]}
    assert steps[ladder.VALVE] > 0
    assert steps[ladder.PAUSE] > 0
    assert told["verified"]["balanced"] is True
    assert told["verified"]["records"] > told["counts"]["frames"]
    assert {fault["name"] for fault in told["faults"]} == _FAULTS
    assert all(fault["recovered_after_s"] >= 0 and fault["at_s"] > 0 for fault in told["faults"])
    assert set(told["latency_ms"]) == {"frame_to_ranked", "click_to_kmp"}
    assert all(set(figures) == {"p50", "p99"} for figures in told["latency_ms"].values())
    assert told["counts"]["frames"] > told["counts"]["lists"] > told["counts"]["clicks"] > 0


async def test_one_list_lost_and_one_doubled_make_the_books_fail_and_each_is_named() -> None:
    """Sums would hide it: as many lists are there as there should be."""
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "tests.e2e.wrong_ranker", "demo", "--seconds", "5", "--json"],
        capture_output=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    result = msgspec.json.decode(done.stdout, type=Result)
    assert not result.balanced
    lines = {line.line: line for line in result.books}
    ranked = lines["raw = ranked + withheld + superseded + dead letters"]
    assert ranked.left == ranked.right
    assert not ranked.ok
    (lost,), (doubled,) = ranked.missing, ranked.doubled
    assert lost != doubled
    assert "raw-suggestions/" in lost
    assert "raw-suggestions/" in doubled
    assert [line.line for line in result.books if line.line == "counted = exports" and line.ok]
    assert not result.verified.balanced
    assert any(lost in offender for offender in result.verified.offenders)
    assert any(doubled in offender or "twice" in offender for offender in result.verified.offenders)
