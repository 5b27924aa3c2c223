"""What the demo shows, as text."""

import io
from dataclasses import replace

from rich.console import Console

from bridge.core.books import Line
from bridge.core.missed import MissedTold
from bridge.demo import view
from bridge.demo.ladder import LadderTold, Step
from bridge.demo.play import Result, Verified
from bridge.demo.recovery import FaultTold
from bridge.demo.timeline import plan
from bridge.demo.watch import Count, FaultSeen, Snapshot

SNAPSHOT = Snapshot(
    elapsed_s=3.0,
    seconds=20.0,
    counts=[Count(name="raw", total=1234, per_s=40.0)],
    lag_records=None,
    is_valve_open=False,
    backpressure="sockets not read: TCP pushes back",
    latency_ms=(12.0, 30.0),
    last_list="i-1: Reset a router",
    last_click="i-1: s-1",
    faults=[
        FaultSeen(name="gzip burst", at_s=1, has_begun=True, over_after_s=0.2),
        FaultSeen(name="close 1001", at_s=2, has_begun=True, over_after_s=None),
        FaultSeen(name="later", at_s=9, has_begun=False, over_after_s=None),
    ],
    phase="running",
)


def shown(what: object, *, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(what)
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def result(*, is_balanced: bool) -> Result:
    names = tuple(f"frame {number}" for number in range(7))
    line = Line(line="a = b", left=7, right=0, missing=() if is_balanced else names, doubled=(), ok=is_balanced)
    return Result(
        balanced=is_balanced,
        books=[line],
        gaps=[
            MissedTold(event="reception_gap", cause="takeover", told=3, interactions=2, longest_s=None, frames_lost=17)
        ],
        ladder=LadderTold(
            steps=[Step(name="valve closed", times=4, longest_s=1.25), Step(name="shed", times=0, longest_s=None)],
            most_held_frames=1_294,
            most_held_bytes=2_048_000,
        ),
        verified=Verified(
            balanced=is_balanced, records=9_280, offenders=[] if is_balanced else ["raw-suggestions/0/7: no outcome"]
        ),
        faults=[
            FaultTold(name="close 1001", at_s=6.0, recovered_after_s=0.4),
            FaultTold(name="burst", at_s=14.0, recovered_after_s=None),
        ],
        latency_ms={"frame_to_ranked": {"p50": 12.0, "p99": 30.0}},
        counts={"dead_letters": 3},
    )


def told(is_balanced: bool) -> str:
    console = Console(file=io.StringIO(), width=120)
    view.print_result(console, result(is_balanced=is_balanced))
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def test_the_picture_shows_each_hop_lag_valve_latency_and_faults() -> None:
    text = shown(view.picture(SNAPSHOT))
    for part in (
        "1,234",
        "unknown",
        "closed",
        "sockets not read",
        "12      30",
        "0.2 s",
        "going on",
        "at 9 s",
        "Reset a router",
    ):
        assert part in text


def test_the_picture_fits_the_smallest_usual_terminal() -> None:
    """80 columns and 24 lines, with the names that the demo has."""
    faults = [FaultSeen(name=one.name, at_s=14, has_begun=True, over_after_s=None) for one in plan(20, burst_frames=1)]
    counts = [Count(name="exports delivered", total=12_345, per_s=1_234.0)] * 7
    text = shown(view.picture(replace(SNAPSHOT, faults=faults, counts=counts)), width=80)
    assert len(text.splitlines()) <= 24
    assert "…" not in text
    assert all(fault.name in text for fault in faults)


def test_without_a_terminal_there_is_a_line_every_few_seconds() -> None:
    console = Console(file=io.StringIO(), width=200)
    with view.lines(console) as show:
        for elapsed_s in (0.0, 1.0, 3.5):
            show(replace(SNAPSHOT, elapsed_s=elapsed_s))
    file = console.file
    assert isinstance(file, io.StringIO)
    lines = file.getvalue().splitlines()
    assert len(lines) == 2
    assert "going on: close 1001" in lines[1]


def test_books_that_balance_say_so() -> None:
    assert "The books balance." in told(is_balanced=True)


def test_books_that_do_not_balance_name_what_is_missing() -> None:
    text = told(is_balanced=False)
    assert "The books do not balance." in text
    assert "frame 4" in text
    assert "and 2 more" in text
    assert "never" in text, "a fault that was not recovered from"


def test_a_result_is_good_only_with_every_fault_recovered() -> None:
    assert not result(is_balanced=True).is_good


def test_the_ladder_the_gaps_and_what_verify_says_are_shown() -> None:
    text = told(is_balanced=True)
    for part in ("valve closed", "1.2 s", "1,294", "2,000", "takeover", "17", "9,280 records, balanced"):
        assert part in text


def test_what_verify_found_wrong_is_named() -> None:
    assert "raw-suggestions/0/7: no outcome" in told(is_balanced=False)
