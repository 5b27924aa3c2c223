"""`bridge verify`: the books, record by record."""

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli.console import EXIT_FAILED, Json, settings_of, work
from bridge.cli.tail import full_place

if TYPE_CHECKING:
    from rich.console import Console

    from bridge.adapters.kafka.verify import Asked, Progress
    from bridge.core.letters import Place
    from bridge.core.verify_findings import Report
    from bridge.settings import Settings

# Records are many and hold no cycles: looking for those as often as Python does by default takes a fifth of the time.
_GC_EVERY = (100_000, 50, 100)

_TIME_HELP = "A time (RFC 3339), or so long ago: 90s, 30m, 2h, 7d."

_PLACE_HELP = "TOPIC/PARTITION/OFFSET; only that partition number is looked at."


def verify(
    context: typer.Context,
    *,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help=f"Only records from then on. {_TIME_HELP}")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help=f"Only records before then. {_TIME_HELP}")
    ] = None,
    first: Annotated[
        str | None,
        typer.Option("--from", metavar="PLACE", help=f"Only since that record was written. {_PLACE_HELP}"),
    ] = None,
    last: Annotated[
        str | None, typer.Option("--to", metavar="PLACE", help="Only until that record was written; the same.")
    ] = None,
    offenders: Annotated[int, typer.Option("--offenders", metavar="N", min=1, help="Name the first N of them.")] = 20,
    as_json: Json = False,
) -> None:
    """Proves from the topics that nothing is missing, nothing double, nothing out of order and every count right.

    It reads what stands on the topics now and writes nothing. What the workers have not worked yet is open, and no
    fault. Exit 0: balanced; 1: not, and the first offenders are named.
    """
    import msgspec
    from rich.console import Console

    from bridge.adapters.kafka.verify import Asked

    settings = settings_of(context)
    asked = Asked(
        since_ms=_moment(since, "--since"),
        until_ms=_moment(until, "--until"),
        first=_place(settings, first, "--from"),
        last=_place(settings, last, "--to"),
        max_offenders=offenders,
    )
    _refuse_contradictions(asked)
    gc.set_threshold(*_GC_EVERY)
    started_s = time.monotonic()
    with _progress(Console(stderr=True)) as told:
        report = work(settings, _verify(settings, asked, told))
    if as_json:
        print(msgspec.json.encode(report).decode())
    else:
        print_report(Console(), report, took_s=time.monotonic() - started_s)
    if not report.balanced:
        raise typer.Exit(EXIT_FAILED)


def _moment(spelled: str | None, option: str) -> int | None:
    from bridge.core.letters import moment_of

    try:
        return None if spelled is None else moment_of(spelled, now_ms=time.time_ns() // 1_000_000)
    except ValueError:
        raise typer.BadParameter("must be like 2026-01-05T10:00:00Z, 90s, 2h or 7d", param_hint=option) from None


def _place(settings: "Settings", spelled: str | None, option: str) -> "Place | None":
    """A place on one of the topics that are looked at."""
    from bridge.core.topics import topics_of
    from bridge.core.verify_scope import topics_read

    if spelled is None:
        return None
    place = full_place(settings, spelled, hint=option)
    topics = topics_of(settings.topics, prefix=settings.kafka.prefix)
    if place.topic not in topics_read(topics):
        raise typer.BadParameter(f"is none of the topics that are looked at: {place.topic}", param_hint=option)
    if place.partition >= topics.partitions:
        raise typer.BadParameter(f"no such partition: {place.topic}/{place.partition}", param_hint=option)
    return place


def _refuse_contradictions(asked: "Asked") -> None:
    first, last = asked.first, asked.last
    if first is not None and asked.since_ms is not None:
        raise typer.BadParameter("is one beginning too many beside --since", param_hint="--from")
    if last is not None and asked.until_ms is not None:
        raise typer.BadParameter("is one end too many beside --until", param_hint="--to")
    if first is not None and last is not None and first.partition != last.partition:
        raise typer.BadParameter("must be of the same partition number as --from", param_hint="--to")


async def _verify(settings: "Settings", asked: "Asked", told: "Callable[[Progress], None]") -> "Report":
    from bridge.adapters.kafka.clients import Clients
    from bridge.adapters.kafka.verify import verify as verify_on
    from bridge.core.topics import topics_of

    topics = topics_of(settings.topics, prefix=settings.kafka.prefix)
    return await verify_on(Clients(settings.kafka), topics, asked=asked, options=settings.clicks, told=told)


@contextmanager
def _progress(console: "Console") -> "Iterator[Callable[[Progress], None]]":
    """A bar on a terminal, nothing elsewhere."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("number {task.fields[number]}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None, number=0)
        yield lambda at: bar.update(task, completed=at.done, total=at.total, number=at.number)


def print_report(console: "Console", report: "Report", *, took_s: float) -> None:
    """The lines, the first offenders and the verdict, for people."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table("", "line", box=box.SIMPLE_HEAD)
    for name in ("left", "right", "open", "unproven", "wrong"):
        table.add_column(name, justify="right")
    for line in report.lines:
        mark = Text("✓", style="green") if line.ok else Text("✗", style="bold red")
        counts = (line.left, line.right, line.open, line.unproven, line.wrong)
        table.add_row(mark, line.line, *(f"{count:,}" for count in counts))
    console.print(table)
    for one in report.offenders:
        place = f"{one.topic}/{one.partition}/{one.offset}"
        console.print(Text.assemble((place, "bold"), f": {one.what} ({one.line})"), soft_wrap=True)
    wrong = sum(line.wrong for line in report.lines)
    if wrong and len(report.offenders) < wrong:
        console.print(f"{len(report.offenders)} offenders are named; the lines count {wrong:,}")
    for note in _notes(report):
        console.print(note, soft_wrap=True)
    per_s = report.records / max(took_s, 0.001)
    console.print(f"{report.records:,} records in {took_s:.1f} s ({per_s:,.0f} a second)")
    verdict = "The books balance." if report.balanced else "The books do not balance."
    console.print(Text(verdict, style="bold green" if report.balanced else "bold red"))


def _notes(report: "Report") -> Iterator[str]:
    yield from report.notes
    if report.repeats:
        yield f"{report.repeats:,} raw records came twice within 30 s (two sockets overlapped): a list counts once"
    if report.lost_offsets:
        yield f"{report.lost_offsets:,} offsets were lost before they were read, and told (input_lost)"
