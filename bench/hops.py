"""`make bench-ranker`, `make bench-tally`: our real process beside the plainest exactly-once loop, on real Kafka.

    python bench/hops.py ranker|tally [--records 200000] [--paced-s 30] [--rounds 3]

Both work the same records on one broker, in turn, each as a process of its own. Measured from outside: records a second
from the first to the last visible result, CPU seconds and peak memory of the process, time from its start to the first
result; and at 500 records a second, from send to visible for a read_committed reader.
"""

import argparse
import asyncio
import logging
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

sys.path.insert(0, str(Path(__file__).parents[1]))

from bridge.core.partitions import partition_of
from bridge.core.topics import Topics
from bridge.simulator.frames import suggestions_frame
from tests.broker import KafkaBroker
from tests.kafka.cluster import Cluster

PARTITIONS = 12
INTERACTIONS = 2_000
HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Bulk:
    """What one process did with all records."""

    per_s: float
    cpu_s_per_100k: float
    peak_mib: float
    first_s: float


def lists(count: int, *, seed: int) -> list[tuple[bytes, bytes]]:
    """Key and value of raw suggestions, about 1.6 KB each."""
    chance = random.Random(seed)
    made = []
    for serial in range(count):
        interaction = f"interaction-{chance.randrange(INTERACTIONS):05}"
        made.append(
            (
                interaction.encode(),
                suggestions_frame(interaction_id=interaction, serial=serial, at_ms=0, chance=chance),
            )
        )
    return made


async def load(servers: str, topic: str, records: list[tuple[bytes, bytes]]) -> None:
    """Writes all records, as fast as it goes."""
    producer = AIOKafkaProducer(
        bootstrap_servers=servers, enable_idempotence=True, compression_type="zstd", max_batch_size=512 * 1024
    )
    await producer.start()
    try:
        by_partition: dict[int, list[tuple[bytes, bytes]]] = {}
        for record in records:
            by_partition.setdefault(partition_of(record[0], PARTITIONS), []).append(record)

        async def write(partition: int, ours: list[tuple[bytes, bytes]]) -> None:
            batch = producer.create_batch()
            for key, value in ours:
                if batch.append(key=key, value=value, timestamp=None) is None:
                    await (await producer.send_batch(batch, topic, partition=partition))
                    batch = producer.create_batch()
                    batch.append(key=key, value=value, timestamp=None)
            await (await producer.send_batch(batch, topic, partition=partition))

        await asyncio.gather(*(write(partition, ours) for partition, ours in by_partition.items()))
    finally:
        await producer.stop()


@asynccontextmanager
async def reading(servers: str, topic: str) -> AsyncIterator[AIOKafkaConsumer]:
    """A read_committed reader at the beginning of a topic."""
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, isolation_level="read_committed", fetch_max_wait_ms=20)
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        yield consumer
    finally:
        await consumer.stop()


class Worker:
    """A process that is measured."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.started_s = time.monotonic()
        self._process = subprocess.Popen(command, env=os.environ | environment, stdout=subprocess.DEVNULL)

    def stop(self) -> tuple[float, float]:
        """Ends it; CPU seconds and peak MiB of its whole life."""
        self._process.send_signal(signal.SIGTERM)
        _, _, usage = os.wait4(self._process.pid, 0)
        self._process.returncode = 0
        return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


async def work_all(servers: str, output: str, start: Callable[[], Worker], *, expected: int, records: int) -> Bulk:
    """Starts the worker and reads its output until all of it is visible."""
    async with reading(servers, output) as consumer:
        worker = start()
        seen, first_s, last_s = 0, 0.0, 0.0
        while seen < expected:
            async with asyncio.timeout(120):
                fetched = await consumer.getmany(timeout_ms=100)
            count = sum(map(len, fetched.values()))
            if count and not seen:
                first_s = time.monotonic()
            if count:
                last_s = time.monotonic()
            seen += count
        cpu_s, peak_mib = worker.stop()
    return Bulk(
        per_s=records / (last_s - worker.started_s),
        cpu_s_per_100k=cpu_s / records * 100_000,
        peak_mib=peak_mib,
        first_s=first_s - worker.started_s,
    )


async def paced(
    servers: str, source: str, output: str, records: list[tuple[bytes, bytes]], *, per_s: float
) -> list[float]:
    """Milliseconds from each send to its visible result; the result carries the send's time in its key's order."""
    sent: dict[bytes, list[float]] = {}
    latencies: list[float] = []
    async with reading(servers, output) as consumer:
        await consumer.seek_to_end()
        for number in range(PARTITIONS):
            await consumer.position(TopicPartition(output, number))
        producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all")
        await producer.start()

        async def feed() -> None:
            began_s = time.monotonic()
            for at, (key, value) in enumerate(records):
                wait_s = began_s + at / per_s - time.monotonic()
                if wait_s > 0:
                    await asyncio.sleep(wait_s)
                sent.setdefault(key, []).append(time.monotonic())
                await producer.send(source, value, key=key, partition=partition_of(key, PARTITIONS))

        feeding = asyncio.create_task(feed())
        while len(latencies) < len(records):
            async with asyncio.timeout(60):
                fetched = await consumer.getmany(timeout_ms=50)
            now_s = time.monotonic()
            for ours in fetched.values():
                latencies += [(now_s - sent[record.key].pop(0)) * 1000 for record in ours]
        await feeding
        await producer.stop()
    return latencies


def percentile(values: list[float], of_100: int) -> float:
    """Nearest rank."""
    return sorted(values)[max(0, -(-len(values) * of_100 // 100) - 1)]


class Bench:
    """One hop, ours and the floor."""

    def __init__(self, servers: str, *, interval_ms: int | None) -> None:
        self.servers = servers
        self._interval_ms = interval_ms
        self._round = 0

    async def topics(self) -> Topics:
        """Fresh topics for one run."""
        self._round += 1
        cluster = Cluster(self.servers, f"b{os.getpid()}-{self._round}-", partitions=PARTITIONS)
        await cluster.create_topics()
        return cluster.topics

    def prefix(self) -> str:
        return f"b{os.getpid()}-{self._round}-"

    def ours(self) -> Worker:
        environment = {
            "BRIDGE_KAFKA__BOOTSTRAP_SERVERS": self.servers,
            "BRIDGE_KAFKA__PREFIX": self.prefix(),
            "BRIDGE_TOPICS__PARTITIONS": str(PARTITIONS),
            "BRIDGE_HTTP__PORT": "0",
            "BRIDGE_LOG__LEVEL": "warning",
            # Nothing is withheld, so that each record gives one list, as with the floor.
            "BRIDGE_RANKING__MIN_CONFIDENCE": "0",
        }
        if self._interval_ms is not None:
            environment["BRIDGE_KAFKA__COMMIT_INTERVAL_MS"] = str(self._interval_ms)
        return Worker([sys.executable, "-m", "bridge", "run", "ranker"], environment)

    def floor(self, topics: Topics) -> Worker:
        script = str(HERE / "floor_hop.py")
        return Worker(
            [sys.executable, script, self.servers, self.prefix(), topics.raw_suggestions, topics.ranked_suggestions], {}
        )

    async def bulk(self, which: str, records: list[tuple[bytes, bytes]]) -> Bulk:
        topics = await self.topics()
        await load(self.servers, topics.raw_suggestions, records)
        start = self.ours if which == "ours" else lambda: self.floor(topics)
        return await work_all(
            self.servers, topics.ranked_suggestions, start, expected=len(records), records=len(records)
        )

    async def paced(self, which: str, records: list[tuple[bytes, bytes]]) -> list[float]:
        topics = await self.topics()
        worker = self.ours() if which == "ours" else self.floor(topics)
        try:
            # The first ones wait for the start and for producers: they are not counted.
            await paced(self.servers, topics.raw_suggestions, topics.ranked_suggestions, records[:500], per_s=250)
            return await paced(
                self.servers, topics.raw_suggestions, topics.ranked_suggestions, records[500:], per_s=500
            )
        finally:
            worker.stop()


async def bench(arguments: argparse.Namespace, servers: str) -> None:
    """Runs and prints."""
    measured = Bench(servers, interval_ms=arguments.interval_ms)
    records = [record for record in lists(arguments.records, seed=1) if b'"suggestions":[]' not in record[1]]
    print(
        f"{len(records):,} records, {sum(len(value) for _, value in records) / len(records):.0f} bytes each on average"
    )
    for which in ("floor", "ours") * arguments.rounds if arguments.records else ():
        run = await measured.bulk(which, records)
        print(
            f"{which:5}  {run.per_s:8,.0f} records/s  {run.cpu_s_per_100k:5.2f} CPU s/100,000"
            f"  {run.peak_mib:5.0f} MiB peak  first after {run.first_s:4.2f} s",
            flush=True,
        )
    slow = lists(500 + int(arguments.paced_s * 500), seed=2)
    for which in ("floor", "ours") * arguments.rounds if arguments.paced_s else ():
        latencies = await measured.paced(which, slow)
        print(
            f"{which:5}  at 500/s: p50 {percentile(latencies, 50):5.1f} ms  p99 {percentile(latencies, 99):6.1f} ms",
            flush=True,
        )


def main() -> None:
    """Parses the line and runs the bench on a broker of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("hop", choices=["ranker"])
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--paced-s", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--interval-ms", type=int)
    arguments = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    # aiokafka warns of each retry while new topics get their leaders.
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder, KafkaBroker(Path(folder)) as broker:
        asyncio.run(bench(arguments, broker.bootstrap_servers))


main()
