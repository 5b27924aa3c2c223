"""`bridge status`: who owns what and how far it is; the first look at 3 a.m."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli.console import Json, settings_of, unavailable, work

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bridge.adapters.kafka.status import KafkaStatus
    from bridge.core.status import GroupStatus, ProcessStatus, Status
    from bridge.settings import Settings

_AGAIN_S = 2.0
_LETTERS_SINCE_S = 3_600.0


def status(
    context: typer.Context,
    processes: Annotated[
        list[str] | None,
        typer.Option("--processes", metavar="URL", help="A process to ask, too: http://HOST:PORT; as often as needed."),
    ] = None,
    by_partition: Annotated[bool, typer.Option("--partitions", help="Show every partition with its owner.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Look again every two seconds, until Ctrl-C; not with --json.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Shows lag and owner by group and partition, subscriptions, dead letters of the last hour, processes."""
    if watch and as_json:
        raise typer.BadParameter("is one too many beside --json", param_hint="--watch")
    settings = settings_of(context)
    with suppress(KeyboardInterrupt):
        work(settings, _show(settings, processes or [], by_partition=by_partition, watch=watch, as_json=as_json))


async def _show(settings: "Settings", processes: list[str], *, by_partition: bool, watch: bool, as_json: bool) -> None:
    import msgspec

    from bridge.adapters.kafka.clients import Clients
    from bridge.adapters.kafka.status import open_status
    from bridge.core.topics import topics_of

    topics = topics_of(settings.topics, prefix=settings.kafka.prefix)
    async with open_status(Clients(settings.kafka), topics) as kafka:
        found = await _look(settings, kafka, processes)
        if as_json:
            print(msgspec.json.encode(found).decode())
            return
        with _screen() as show:
            show(picture(found, by_partition=by_partition))
            while watch:
                await asyncio.sleep(_AGAIN_S)
                show(await _next(settings, kafka, processes, by_partition=by_partition))


@contextmanager
def _screen() -> "Iterator[Callable[[RenderableType], None]]":
    """One picture that is drawn anew on a terminal; elsewhere one after the other."""
    from rich.console import Console
    from rich.live import Live

    console = Console()
    if not console.is_terminal:
        yield console.print
        return
    with Live(console=console, auto_refresh=False) as live:
        yield lambda shown: live.update(shown, refresh=True)


async def _next(
    settings: "Settings", kafka: "KafkaStatus", processes: list[str], *, by_partition: bool
) -> "RenderableType":
    """The next picture; while Kafka is away, that."""
    from bridge.core.errors import UnavailableError

    try:
        return picture(await _look(settings, kafka, processes), by_partition=by_partition)
    except UnavailableError as error:
        return unavailable(error, settings)


async def _look(settings: "Settings", kafka: "KafkaStatus", processes: list[str]) -> "Status":
    from bridge.adapters.processes import ask_processes
    from bridge.core.status import Status
    from bridge.core.times import to_rfc3339

    now_ms = time.time_ns() // 1_000_000
    groups = await kafka.groups(now_ms=now_ms)
    letters = await kafka.letters(since_ms=now_ms - int(_LETTERS_SINCE_S * 1000))
    return Status(
        at=to_rfc3339(now_ms),
        groups=groups,
        subscriptions=await kafka.subscriptions(ttl_s=settings.ingress.subscription_ttl_s, now_ms=now_ms),
        letters=letters.counts,
        letters_since_s=_LETTERS_SINCE_S,
        letters_counted=letters.is_all,
        processes=await ask_processes(processes),
    )


# -- for people --------------------------------------------------------------------------------------------------------


def picture(found: "Status", *, by_partition: bool) -> "RenderableType":
    """All of it, what needs a look in red."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [Text(f"{found.at}  {found.subscriptions:,} subscriptions"), _groups(found)]
    if by_partition:
        parts.append(_partitions(found))
    parts += [Text(line) for line in (*_hidden(found), *_letters(found))]
    parts += [_process(one) for one in found.processes]
    return Group(*parts)


def _groups(found: "Status") -> "RenderableType":
    from rich import box
    from rich.table import Table

    table = Table("group", "state", box=box.SIMPLE_HEAD)
    for name in ("members", "no owner", "lag", "oldest"):
        table.add_column(name, justify="right")
    for one in found.groups:
        is_fine = one.state == "Stable" and not one.unowned
        table.add_row(
            one.group,
            one.state,
            str(one.members),
            str(one.unowned),
            _lag(one),
            _age(one.oldest_s),
            style="" if is_fine else "bold red",
        )
    return table


def _lag(one: "GroupStatus") -> str:
    # Ingress reads a table, and commits nothing.
    if one.worker == "ingress":
        return "-"
    return "no position" if one.lag is None else f"{one.lag:,}"


def _partitions(found: "Status") -> "RenderableType":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for name in ("partition", "owner"):
        table.add_column(name, overflow="fold")
    for name in ("position", "end", "lag", "hidden", "oldest"):
        table.add_column(name, justify="right")
    for group in found.groups:
        for one in group.partitions:
            position, lag = ("-" if value is None else f"{value:,}" for value in (one.position, one.lag))
            table.add_row(
                f"{one.topic}/{one.partition}",
                _owner(one.owner),
                position,
                f"{one.end:,}",
                lag,
                f"{one.hidden:,}" if one.hidden else "-",
                _age(one.oldest_s),
                style="" if one.owner else "bold red",
            )
    return table


def _owner(owner: str) -> str:
    """A member's id is the client's name and a UUID, of which the beginning is enough."""
    member, _, host = owner.partition("@")
    return f"{member[:-28] if len(member) > 36 else member}@{host}" if owner else "nobody"


def _age(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:,.1f} s"


def _hidden(found: "Status") -> Iterator[str]:
    for group in found.groups:
        if group.hidden:
            where = ", ".join(f"{one.topic}/{one.partition}" for one in group.partitions if one.hidden)
            yield f"{group.group}: {group.hidden:,} more records are hidden by an open transaction: {where}"


def _letters(found: "Status") -> Iterator[str]:
    since = f"the last {found.letters_since_s / 60:.0f} min"
    if not found.letters:
        yield f"no dead letters in {since}"
    for one in found.letters:
        yield f"{one.count:,} dead letters in {since}: {one.topic} ({one.dlq_class})"
    if not found.letters_counted:
        yield "there are more: see `bridge dlq list`"


def _process(one: "ProcessStatus") -> "RenderableType":
    from rich.text import Text

    told = {
        "valve": None if one.is_valve_closed is None else ("closed" if one.is_valve_closed else "open"),
        "sockets": one.sockets,
        "subscriptions": one.subscriptions,
        "KMP": None if one.is_kmp_down is None else ("down" if one.is_kmp_down else "well"),
        "breaker": None if one.is_breaker_tripped is None else ("tripped" if one.is_breaker_tripped else "well"),
    }
    said = "".join(f", {name} {value}" for name, value in told.items() if value is not None)
    faults = "".join(f"\n  {fault}" for fault in one.faults)
    word = "ready" if one.is_ready else "not ready"
    return Text(f"{one.url}: {word}{said}{faults}", style="" if one.is_ready else "bold red")
