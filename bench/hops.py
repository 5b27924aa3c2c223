"""`make bench-ranker`, `make bench-tally`: our real process beside the plainest exactly-once loop, on real Kafka.

    python -m bench.hops ranker|tally [--what throughput latency restore] [--rounds 3] [--interval-ms 20]

Both sides work the same records on one broker, in turn, each as a process of its own, measured from outside. Each
measurement is told as a line of JSON on standard error; at the end comes a table.
"""

import argparse
import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count, product
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from bench.loads import Load, click, ranked_lists_and_clicks, raw_lists, write
from bench.on_kafka import MIB, PARTITIONS, Values, Work, environment_of, run
from bench.processes import Watched, running
from bench.results import DEADLINE_S, reading, until_seen
from bridge.core.topics import Topics
from tests.kafka.cluster import Cluster

_WARM_UP = 500
_RESTORED = 100_000


class Bench:
    """One hop, ours and the floor, on one broker. Every measurement has topics of its own."""

    def __init__(self, hop: str, servers: str, folder: Path, arguments: argparse.Namespace) -> None:
        self._hop = hop
        self._servers = servers
        self._folder = folder
        self._arguments = arguments
        self._numbers = count(1)

    async def throughput(self, side: str, interactions: int) -> Values:
        """All of the input is there before the process starts."""
        async with self._topics() as (prefix, topics):
            loads = list(self._input(topics, self._arguments.records, interactions=interactions, seed=1))
            await write(self._servers, loads)
            expected = sum(one.topic == self._answered(topics) for one in loads)
            async with self._reading(self._output(topics)) as consumer:
                started_s = time.monotonic()
                async with self._working(side, prefix, topics) as process:
                    first_s = await until_seen(consumer, expected)
                    last_s = await self._until_committed(side, prefix, len(loads))
                    cpu_s, peak = process.cpu_s, process.peak_rss_bytes
        return {
            "records/s": len(loads) / (last_s - started_s),
            "first result after, s": first_s - started_s,
            "CPU s / 100,000": cpu_s * 100_000 / len(loads),
            "peak RSS, MiB": peak / MIB,
        }

    async def latency(self, side: str, interactions: int) -> Values:
        """At 500 records a second: milliseconds from the send until a read_committed reader has the result."""
        per_s, seconds = self._arguments.per_s, self._arguments.paced_s
        async with self._topics() as (prefix, topics), self._working(side, prefix, topics) as process:
            loads = self._paced(topics, _WARM_UP + int(per_s * seconds), interactions=interactions)
            async with self._reading(self._output(topics)) as consumer:
                # The first ones wait for the start and for producers: they are not counted.
                await self._pace(consumer, loads[:_WARM_UP], per_s=per_s / 2)
                cpu_s = process.cpu_s
                latencies = sorted(await self._pace(consumer, loads[_WARM_UP:], per_s=per_s))
                cpu_s = process.cpu_s - cpu_s
        shares = {f"p{share}, ms": latencies[len(latencies) * share // 100] for share in (50, 99)}
        return shares | {"CPU cores": cpu_s / seconds}

    async def restore(self, side: str, interactions: int) -> Values:
        """From the start of the process to the first result, with the state of that many interactions to be read."""
        async with self._topics() as (prefix, topics):
            loads = list(self._input(topics, interactions, interactions=interactions, seed=1))
            await write(self._servers, loads)
            async with self._reading(self._output(topics)) as consumer:
                async with self._working(side, prefix, topics):
                    await until_seen(consumer, sum(one.topic == self._answered(topics) for one in loads))
                started_s = time.monotonic()
                async with self._working(side, prefix, topics) as process:
                    last = loads[-1]
                    await write(self._servers, [click(topics, last.key, last.partition, click_id="one more")])
                    first_s = await until_seen(consumer, 1)
                    rss = process.rss_bytes
        return {"first result after, s": first_s - started_s, "RSS then, MiB": rss / MIB}

    # -- the two hops --------------------------------------------------------------------------------------------------

    def _input(self, topics: Topics, records: int, *, interactions: int, seed: int) -> Iterator[Load]:
        make = raw_lists if self._hop == "ranker" else ranked_lists_and_clicks
        return make(topics, records, interactions=interactions, seed=seed)

    def _paced(self, topics: Topics, records: int, *, interactions: int) -> list[Load]:
        raw = raw_lists(topics, records, interactions=interactions, seed=2)
        if self._hop == "ranker":
            return list(raw)
        return [click(topics, one.key, one.partition, click_id=f"paced-{at}") for at, one in enumerate(raw)]

    def _answered(self, topics: Topics) -> str:
        """The input topic of which each record gives one result."""
        return topics.raw_suggestions if self._hop == "ranker" else topics.suggestion_clicks

    def _output(self, topics: Topics) -> str:
        return topics.ranked_suggestions if self._hop == "ranker" else topics.acceptance_exports

    # -- what runs -----------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _topics(self) -> AsyncIterator[tuple[str, Topics]]:
        prefix = f"bench{next(self._numbers)}-"
        cluster = Cluster(self._servers, prefix, partitions=PARTITIONS)
        await cluster.create_topics()
        yield prefix, cluster.topics

    @asynccontextmanager
    async def _working(self, side: str, prefix: str, topics: Topics) -> AsyncIterator[Watched]:
        log = self._folder / f"{side}.log"
        if side == "floor":
            inputs = {
                "ranker": (topics.raw_suggestions, topics.ranked_suggestions),
                "tally": (
                    topics.ranked_suggestions,
                    topics.suggestion_clicks,
                    topics.interaction_acceptance,
                    topics.acceptance_exports,
                ),
            }[self._hop]
            async with running("bench.floor_hop", self._hop, self._servers, prefix, *inputs, log=log) as (process, _):
                yield process
            return
        environment = environment_of(self._servers, prefix) | {
            "BRIDGE_HTTP__PORT": "0",
            "BRIDGE_LOG__LEVEL": "warning",
            # Nothing is withheld, and nothing is superseded: each record gives one list, as with the floor.
            "BRIDGE_RANKING__MIN_CONFIDENCE": "0",
            "BRIDGE_RANKING__FRESH_FOR_S": "0",
            "BRIDGE_KAFKA__COMMIT_INTERVAL_MS": str(self._arguments.interval_ms),
        }
        async with running("bridge", "run", self._hop, log=log, environment=environment) as (process, _):
            yield process

    def _reading(self, topic: str) -> AbstractAsyncContextManager[AIOKafkaConsumer]:
        return reading(self._servers, topic, partitions=PARTITIONS)

    async def _until_committed(self, side: str, prefix: str, records: int) -> float:
        """When all input was worked, monotonic seconds; the last ones need not have given a result."""
        group = f"{prefix}{'floor' if side == 'floor' else self._hop}"
        admin = AIOKafkaAdminClient(bootstrap_servers=self._servers)
        await admin.start()
        try:
            async with asyncio.timeout(DEADLINE_S):
                while sum(one.offset for one in (await admin.list_consumer_group_offsets(group)).values()) < records:
                    await asyncio.sleep(0.02)
                return time.monotonic()
        finally:
            await admin.close()

    async def _pace(self, consumer: AIOKafkaConsumer, loads: Sequence[Load], *, per_s: float) -> list[float]:
        """Milliseconds from each send to its visible result; results of one key come in the order of its inputs."""
        sent: dict[bytes, list[float]] = {}
        latencies: list[float] = []
        async with asyncio.TaskGroup() as tasks, asyncio.timeout(DEADLINE_S):
            tasks.create_task(self._feed(loads, sent, per_s=per_s))
            while len(latencies) < len(loads):
                fetched = await consumer.getmany(timeout_ms=50)
                now_s = time.monotonic()
                for records in fetched.values():
                    latencies += [(now_s - sent[_key_of(record)].pop(0)) * 1000 for record in records]
        return latencies

    async def _feed(self, loads: Sequence[Load], sent: dict[bytes, list[float]], *, per_s: float) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self._servers, enable_idempotence=True)
        await producer.start()
        try:
            began_s = time.monotonic()
            for at, load in enumerate(loads):
                wait_s = began_s + at / per_s - time.monotonic()
                if wait_s > 0:
                    await asyncio.sleep(wait_s)
                sent.setdefault(load.key, []).append(time.monotonic())
                await producer.send(
                    load.topic, load.value, key=load.key, partition=load.partition, headers=list(load.headers)
                )
        finally:
            await producer.stop()


def _key_of(record: object) -> bytes:
    # An export's key is its id; its interaction stands in its `ce_subject`.
    headers = dict(record.headers)  # type: ignore[attr-defined] # aiokafka has no types
    subject: bytes = headers.get("ce_subject") or record.key  # type: ignore[attr-defined]
    return subject


def _all_work(bench: Bench, arguments: argparse.Namespace) -> Iterator[Work]:
    """Everything that was asked for; the sides take turns, and turns in beginning."""
    for what in arguments.what:
        if what == "restore":
            for number in range(arguments.rounds):
                yield Work("bridge", what, _RESTORED, number, bench.restore("bridge", _RESTORED))
            continue
        work = bench.throughput if what == "throughput" else bench.latency
        for interactions, number in product(arguments.interactions, range(arguments.rounds)):
            for side in arguments.sides if number % 2 == 0 else reversed(arguments.sides):
                yield Work(side, what, interactions, number, work(side, interactions))


def main() -> None:
    """Parses the line and runs the bench on a broker of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hop", choices=["ranker", "tally"])
    parser.add_argument("--what", nargs="+", choices=["throughput", "latency", "restore"])
    parser.add_argument("--sides", nargs="+", default=["floor", "bridge"], choices=["floor", "bridge"])
    parser.add_argument("--interactions", nargs="+", type=int, default=[2_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--records", type=int, default=200_000, help="lists for throughput")
    parser.add_argument("--per-s", type=float, default=500.0)
    parser.add_argument("--paced-s", type=float, default=20.0)
    parser.add_argument("--interval-ms", type=int, default=20, help="kafka.commit_interval_ms")
    arguments = parser.parse_args()
    arguments.what = arguments.what or ["throughput", "latency", *(["restore"] if arguments.hop == "tally" else [])]
    run(
        arguments.hop,
        lambda servers, folder: _all_work(Bench(arguments.hop, servers, folder, arguments), arguments),
    )


if __name__ == "__main__":
    main()
