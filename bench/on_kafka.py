"""A bench from its beginning to its table: a broker of its own, one measurement after the other, then the figures."""

import asyncio
import json
import logging
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from bench.report import Measured, machine, table
from tests.broker import KafkaBroker

PARTITIONS = 12
MIB = 1024 * 1024

Values = Mapping[str, float]
"""What one measurement gives, by the name of its figure."""


class Work(NamedTuple):
    """A measurement to be made: of which side, of what, with how many interactions, in which round."""

    side: str
    what: str
    interactions: int
    round: int
    work: Awaitable[Values]


def environment_of(servers: str, prefix: str) -> dict[str, str]:
    """Where a bridge finds the topics of one measurement."""
    return {
        "BRIDGE_KAFKA__BOOTSTRAP_SERVERS": servers,
        "BRIDGE_KAFKA__PREFIX": prefix,
        "BRIDGE_TOPICS__PARTITIONS": str(PARTITIONS),
    }


def run(name: str, works: Callable[[str, Path], Iterator[Work]]) -> None:
    """Makes all measurements that `works` gives for the servers and a folder for logs, and prints the table.

    Each measurement is told as a line of JSON on standard error; of a failure the ends of the logs, too.
    """
    # aiokafka warns of each retry while new topics get their leaders.
    logging.disable(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix=f"bench-{name}-") as folder_name:
        folder = Path(folder_name)
        with KafkaBroker(folder / "kafka") as broker:
            try:
                told = asyncio.run(_measure(works(broker.bootstrap_servers, folder)))
            except BaseException:
                for log in sorted(folder.glob("*.log")):
                    print(f"-- {log.name}\n{log.read_text()[-2000:]}", file=sys.stderr)
                raise
    loads = [one.load for one in told]
    print(f"{machine()}; load {min(loads):.1f} to {max(loads):.1f}\n\n{table(told)}")


async def _measure(works: Iterator[Work]) -> Sequence[Measured]:
    told: list[Measured] = []
    for side, what, interactions, number, work in works:
        values = await work
        load = os.getloadavg()[0]
        told.append(Measured(side=side, what=what, interactions=interactions, round=number, load=load, values=values))
        print(json.dumps(asdict(told[-1])), file=sys.stderr, flush=True)
    return told
