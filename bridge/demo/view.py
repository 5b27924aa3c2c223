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
from bridge.demo.play import Result
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
    """The whole live view."""
    return Panel(
        Group(_progress(snapshot), Text(), _side_by_side(_hops(snapshot), _faults(snapshot)), Text(), _last(snapshot)),
        title="bridge demo",
        subtitle=snapshot.phase,
        padding=(1, 2),
    )


def print_result(console: Console, result: Result) -> None:
    """The books, the faults and the figures, for people."""
    console.print(_books(result.books))
    console.print(_recoveries(result.faults))
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
    row = Table.grid(padding=(0, 4))
    row.add_row(left, right)
    return row


def _hops(snapshot: Snapshot) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("hop")
    table.add_column("total", justify="right", width=8)
    table.add_column("per s", justify="right", width=7)
    for count in snapshot.counts:
        table.add_row(count.name, f"{count.total:,}", f"{count.per_s:,.0f}")
    valve = Text("open", style="green") if snapshot.is_valve_open else Text("closed", style="bold red")
    lag = "unknown" if snapshot.lag_records is None else f"{snapshot.lag_records:,}"
    table.add_section()
    table.add_row("ranker lag", lag, "")
    table.add_row("valve", valve, "")
    table.add_row("latency p50, p99", _latency(snapshot), "ms")
    return table


def _latency(snapshot: Snapshot) -> str:
    return "-" if snapshot.latency_ms is None else "{:.0f}, {:.0f}".format(*snapshot.latency_ms)


def _faults(snapshot: Snapshot) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("fault")
    table.add_column("at", justify="right")
    table.add_column("", width=22)
    for fault in snapshot.faults:
        table.add_row(fault.name, f"{fault.at_s:.0f} s", _state(fault))
    return table


def _state(fault: FaultSeen) -> Text:
    if fault.over_after_s is not None:
        return Text(f"over after {fault.over_after_s:.1f} s", style="green")
    return Text("going on", style="bold yellow") if fault.has_begun else Text("to come", style="dim")


def _last(snapshot: Snapshot) -> RenderableType:
    table = Table.grid(padding=(0, 2))
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
