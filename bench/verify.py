"""`make bench-verify`: `bridge verify` beside the plainest loop that reads the same topics, on real Kafka.

    python -m bench.verify [--rounds 3] [--records 200000] [--interactions 2000]

The topics hold what our real ranker, tally and exporter made of raw lists and clicks. Both sides read them from their
beginning to their end, in turn, each as a process of its own. Each measurement is told as a line of JSON on standard
error; at the end comes a table.
"""

import argparse
import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from bench.loads import LISTS_PER_CLICK, click, raw_lists, write
from bench.on_kafka import MIB, PARTITIONS, Values, Work, environment_of, run
from bench.processes import run_to_end, running
from bench.results import reading, until_seen
from tests.kafka.cluster import Cluster

_PREFIX = "bench-"


class Bench:
    """The topics, filled with the first measurement."""

    def __init__(self, servers: str, folder: Path, arguments: argparse.Namespace) -> None:
        self._servers = servers
        self._folder = folder
        self._arguments = arguments
        self._cluster = Cluster(servers, _PREFIX, partitions=PARTITIONS)
        self._is_filled = False

    async def check(self, side: str) -> Values:
        """From the start of the process to its end."""
        if not self._is_filled:
            await self._fill()
            self._is_filled = True
        log = self._folder / f"{side}.log"
        topics = self._cluster.topics
        if side == "floor":
            read = (
                topics.raw_suggestions,
                topics.ranked_suggestions,
                topics.suggestion_audit,
                topics.suggestion_clicks,
                topics.acceptance_exports,
                topics.interaction_acceptance,
            )
            command = ("bench.floor_verify", self._servers, str(PARTITIONS), *read)
        else:
            command = ("bridge", "verify", "--json")
        ended = await asyncio.to_thread(
            run_to_end, *command, log=log, environment=environment_of(self._servers, _PREFIX)
        )
        told = json.loads(ended.output)
        assert told["balanced"], f"the books of {side} do not balance: {told}"
        records = told["records"]
        return {
            "records": records,
            "records/s": records / ended.took_s,
            "CPU s / 100,000": ended.cpu_s * 100_000 / records,
            "peak RSS, MiB": ended.peak_rss_bytes / MIB,
        }

    async def _fill(self) -> None:
        topics = self._cluster.topics
        await self._cluster.create_topics()
        lists = list(raw_lists(topics, self._arguments.records, interactions=self._arguments.interactions, seed=1))
        clicks = [
            click(topics, one.key, one.partition, click_id=f"click-{at}")
            for at, one in enumerate(lists)
            if at // self._arguments.interactions % LISTS_PER_CLICK == 0
        ]
        # Of each list one event, of each click two: when it counts, and when the KMP has its export.
        async with reading(self._servers, topics.suggestion_audit, partitions=PARTITIONS) as consumer:
            async with self._working("ranker"):
                await write(self._servers, lists)
                await until_seen(consumer, len(lists))
            async with self._kmp() as endpoint, self._working("clicks", {"BRIDGE_KMP__ENDPOINT": endpoint}):
                await write(self._servers, clicks)
                await until_seen(consumer, 2 * len(clicks))

    @asynccontextmanager
    async def _kmp(self) -> AsyncIterator[str]:
        async with running("bridge", "simulate", "kmp", log=self._folder / "kmp.log") as (_, output):
            yield (await output.readline()).decode().split()[-1]

    @asynccontextmanager
    async def _working(self, worker: str, more: Mapping[str, str] | None = None) -> AsyncIterator[None]:
        environment = environment_of(self._servers, _PREFIX) | {
            "BRIDGE_HTTP__PORT": "0",
            "BRIDGE_LOG__LEVEL": "warning",
            # Nothing is withheld, and nothing is superseded.
            "BRIDGE_RANKING__MIN_CONFIDENCE": "0",
            "BRIDGE_RANKING__FRESH_FOR_S": "0",
            **(more or {}),
        }
        async with running("bridge", "run", worker, log=self._folder / f"{worker}.log", environment=environment):
            yield


def _all_work(bench: Bench, arguments: argparse.Namespace) -> Iterator[Work]:
    """The sides take turns, and turns in beginning."""
    for number in range(arguments.rounds):
        for side in arguments.sides if number % 2 == 0 else reversed(arguments.sides):
            yield Work(side, "verify", arguments.interactions, number, bench.check(side))


def main() -> None:
    """Parses the line and runs the bench on a broker of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", nargs="+", default=["floor", "bridge"], choices=["floor", "bridge"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--records", type=int, default=200_000, help="raw lists")
    parser.add_argument("--interactions", type=int, default=2_000)
    arguments = parser.parse_args()
    run("verify", lambda servers, folder: _all_work(Bench(servers, folder, arguments), arguments))


if __name__ == "__main__":
    main()
