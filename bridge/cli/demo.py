"""`bridge demo`: the whole bridge for some seconds, and the books at the end."""

import asyncio
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli.console import EXIT_FAILED, Json, plainly

if TYPE_CHECKING:
    from bridge.demo.watch import Show


def demo(
    seconds: Annotated[float, typer.Option(help="How long suggestions are sent.", min=5, max=3600)] = 20,
    bootstrap_servers: Annotated[
        str | None, typer.Option(help="A Kafka to use instead of the embedded broker.", metavar="HOST:PORT")
    ] = None,
    as_json: Json = False,
) -> None:
    """The whole bridge with simulated counterparts and faults on the way; exit 0 only if the books balance.

    It needs no Kafka and no Genesys: an embedded broker and simulators on loopback stand in for them.
    """
    import msgspec
    from prometheus_client import CollectorRegistry
    from rich.console import Console

    from bridge.demo import view
    from bridge.demo.play import play
    from bridge.settings import Settings
    from bridge.telemetry import SILENT, Telemetry, start_logging

    console = Console(stderr=as_json)
    logger = start_logging(level="error", form="auto", foreign_level=SILENT)
    telemetry = Telemetry(CollectorRegistry(), logger)
    showing: AbstractContextManager[Show] = view.live(console) if console.is_terminal else view.lines(console)
    with plainly(Settings()):
        with showing as show:
            result = asyncio.run(
                play(seconds=seconds, show=show, emit=telemetry.emit, bootstrap_servers=bootstrap_servers)
            )
        if as_json:
            print(msgspec.json.encode(result).decode())
        else:
            view.print_result(console, result)
    raise typer.Exit(0 if result.is_good else EXIT_FAILED)
