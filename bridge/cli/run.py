"""`bridge run`: the workers, until SIGTERM or SIGINT."""

import asyncio
import gc
from enum import StrEnum
from typing import Annotated

import typer

from bridge.cli.console import plainly, settings_of


class Workers(StrEnum):
    """What `bridge run` takes; `clicks` is tally and exporter, `all` is everything."""

    INGRESS = "ingress"
    RANKER = "ranker"
    TALLY = "tally"
    EXPORTER = "exporter"
    CLICKS = "clicks"
    ALL = "all"


# No frame and no record is part of a cycle. At Python's default (700) the collector looks at all that is held again and
# again: a twentieth of a busy ingress' time, and at 50,000 still a tenth of a ranker's that has 12 batches in memory.
_COLLECT_AFTER = 250_000

_WORKERS = {Workers.CLICKS: ("tally", "exporter"), Workers.ALL: ("ingress", "ranker", "tally", "exporter")}


def run(
    context: typer.Context,
    which: Annotated[list[Workers], typer.Argument(metavar="WORKER…", help="Which workers.", show_default=False)],
) -> None:
    """Runs workers until SIGTERM or SIGINT, then drains.

    Exit 0: drained; 75: the drain deadline cut it short; 78: bad options or topics; 1: anything else.
    """
    from prometheus_client import CollectorRegistry

    from bridge import app
    from bridge.settings import secrets_in
    from bridge.telemetry import Telemetry, start_logging

    named = {worker for one in which for worker in _WORKERS.get(one, (one.value,))}
    workers = [worker for worker in app.WORKERS if worker in named]
    settings = settings_of(context, workers=workers)
    logger = start_logging(level=settings.log.level, form=settings.log.format, secrets=secrets_in(settings))
    registry = CollectorRegistry()
    telemetry = Telemetry(registry, logger, workers=workers)
    gc.set_threshold(_COLLECT_AFTER)
    with plainly(settings):
        raise typer.Exit(asyncio.run(app.run(settings, workers, emit=telemetry.emit, registry=registry)))
