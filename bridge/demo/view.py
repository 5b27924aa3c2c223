"""What the demo shows: a live view on a terminal, a line every few seconds elsewhere, and the books at the end."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bridge.core.books import Line
from bridge.core.missed import MissedTold
from bridge.demo.ladder import LadderTold
from bridge.demo.play import Result, Verified
from bridge.demo.recovery import FaultTold
from bridge.demo.watch import FaultSeen, Show, Snapshot

_LINE_EVERY_S = 3.0
_NAMES_SHOWN = 5


@contextmanager
def live(console: Console) -> Iterator[Show]:
    """Shows snapshots as one picture that is drawn anew."""
    with Live(console=console, refresh_per_second=8, transient=True) as screen:
        yield lambda snapshot: screen.update(picture(snapshot))


@contextmanager
def lines(console: Console) -> Iterator[Show]:
    """Shows snapshots as a line every few seconds, for logs and pipes."""
    shown_s = [-_LINE_EVERY_S]

    def show(snapshot: Snapshot) -> None:
        if snapshot.elapsed_s - shown_s[0] >= _LINE_EVERY_S:
            shown_s[0] = snapshot.elapsed_s
            console.print(_line(snapshot), soft_wrap=True)

    yield show


def picture(snapshot: Snapshot) -> RenderableType:
    """The whole live view; it fits a terminal of 80 columns and 24 lines."""
    return Panel(
        Group(_progress(snapshot), Text(), _side_by_side(_hops(snapshot), _faults(snapshot)), Text(), _last(snapshot)),
        title="bridge demo",
        subtitle=snapshot.phase,
        padding=(0, 1),
    )


def print_result(console: Console, result: Result) -> None:
    """The books, the faults and the figures, for people."""
    console.print(_books(result.books))
    console.print(_gaps(result.gaps))
    console.print(_recoveries(result.faults))
    console.print(_ladder(result.ladder))
    console.print(_verified(result.verified))
    for name, figures in result.latency_ms.items():
        told = ", ".join(f"{of} {value:.0f} ms" for of, value in figures.items())
        console.print(f"{name.replace('_', ' ')}: {told}")
    console.print(", ".join(f"{count} {name.replace('_', ' ')}" for name, count in result.counts.items()))
    verdict = "The books balance." if result.balanced else "The books do not balance."
    console.print(Text(verdict, style="bold green" if result.balanced else "bold red"))


def _progress(snapshot: Snapshot) -> RenderableType:
    row = Table.grid(padding=(0, 1), expand=True)
    row.add_column(ratio=1)
    row.add_column(justify="right", width=16)
    bar = ProgressBar(total=snapshot.seconds, completed=snapshot.elapsed_s)
    row.add_row(bar, f"{snapshot.elapsed_s:4.1f} of {snapshot.seconds:.0f} s")
    return row


def _side_by_side(left: RenderableType, right: RenderableType) -> RenderableType:
    row = Table.grid(padding=(0, 2))
    row.add_row(left, right)
    return row


def _hops(snapshot: Snapshot) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("hop", no_wrap=True)
    table.add_column("total", justify="right", min_width=7)
    table.add_column("per s", justify="right", min_width=5)
    for count in snapshot.counts:
        table.add_row(count.name, f"{count.total:,}", f"{count.per_s:,.0f}")
    valve = Text("open", style="green") if snapshot.is_valve_open else Text("closed", style="bold red")
    lag = "unknown" if snapshot.lag_records is None else f"{snapshot.lag_records:,}"
    table.add_section()
    table.add_row("ranker lag", lag, "")
    table.add_row("valve", valve, "")
    p50, p99 = ("-", "-") if snapshot.latency_ms is None else (f"{one:.0f}" for one in snapshot.latency_ms)
    table.add_row("p50, p99 in ms", p50, p99)
    return table


def _backpressure(snapshot: Snapshot) -> Text:
    if snapshot.backpressure is None:
        return Text("none", style="green")
    return Text(snapshot.backpressure, style="bold yellow")


def _faults(snapshot: Snapshot) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("fault", no_wrap=True)
    table.add_column("lasted", no_wrap=True, min_width=8)
    for fault in snapshot.faults:
        table.add_row(fault.name, _state(fault))
    return table


def _state(fault: FaultSeen) -> Text:
    if fault.over_after_s is not None:
        return Text(f"{fault.over_after_s:.1f} s", style="green")
    return Text("going on", style="bold yellow") if fault.has_begun else Text(f"at {fault.at_s:.0f} s", style="dim")


def _last(snapshot: Snapshot) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_row("backpressure", _backpressure(snapshot))
    table.add_row("last list", Text(snapshot.last_list, overflow="ellipsis", no_wrap=True))
    table.add_row("last click", Text(snapshot.last_click, overflow="ellipsis", no_wrap=True))
    return table


def _line(snapshot: Snapshot) -> str:
    counts = ", ".join(f"{count.total} {count.name}" for count in snapshot.counts)
    valve = "open" if snapshot.is_valve_open else "closed"
    begun = [fault.name for fault in snapshot.faults if fault.has_begun and fault.over_after_s is None]
    faults = f"; going on: {', '.join(begun)}" if begun else ""
    return f"{snapshot.elapsed_s:5.1f} s {snapshot.phase}: {counts}; lag {snapshot.lag_records}, valve {valve}{faults}"


def _books(books: list[Line]) -> RenderableType:
    table = Table(title="The books", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("")
    table.add_column("line")
    table.add_column("left", justify="right")
    table.add_column("right", justify="right")
    table.add_column("missing")
    table.add_column("double")
    for line in books:
        mark = Text("✓", style="green") if line.ok else Text("✗", style="bold red")
        table.add_row(mark, line.line, f"{line.left:,}", f"{line.right:,}", _names(line.missing), _names(line.doubled))
    return table


def _names(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return "\n".join(names[:_NAMES_SHOWN]) + more


def _recoveries(faults: list[FaultTold]) -> RenderableType:
    table = Table(title="The faults on the way", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("fault")
    table.add_column("at", justify="right")
    table.add_column("recovered after", justify="right")
    for fault in faults:
        after = "never" if fault.recovered_after_s is None else f"{fault.recovered_after_s:.1f} s"
        table.add_row(fault.name, f"{fault.at_s:.0f} s", after)
    return table


def _gaps(gaps: list[MissedTold]) -> RenderableType:
    table = Table(title="What the audit told as missed", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("event")
    table.add_column("cause")
    for name in ("told", "interactions", "longest", "frames lost within"):
        table.add_column(name, justify="right")
    for one in gaps:
        counts = (f"{one.told:,}", f"{one.interactions:,}", _seconds(one.longest_s), f"{one.frames_lost:,}")
        table.add_row(one.event, one.cause, *counts)
    return table


def _ladder(told: LadderTold) -> RenderableType:
    table = Table(title="The ladder of backpressure", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("step")
    table.add_column("times", justify="right")
    table.add_column("longest", justify="right")
    for step in told.steps:
        table.add_row(step.name, f"{step.times:,}", _seconds(step.longest_s))
    table.add_section()
    table.add_row("most held at a time, frames", f"{told.most_held_frames:,}", "")
    table.add_row("most held at a time, KiB", f"{told.most_held_bytes // 1024:,}", "")
    return table


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"


def _verified(verified: Verified) -> str:
    verdict = "balanced" if verified.balanced else "not balanced"
    offenders = "".join(f"\n  {one}" for one in verified.offenders)
    return f"bridge verify, from the topics alone: {verified.records:,} records, {verdict}{offenders}"
