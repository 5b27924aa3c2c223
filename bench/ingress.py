"""`make bench-ingress`: our real process beside the plainest loop that carries a frame, on real Kafka.

    python -m bench.ingress [--what throughput latency stall] [--kinds text gzip] [--interactions 50 2000] [--rounds 3]

Both sides carry the same frames (1.6 KB on average) from the same source (`bench/source.py`) to a topic of 12
partitions with the same compression, in turn, so that what else the machine does hits both; each as a process of its
own, measured from outside. Each measurement is told as a line of JSON on standard error; at the end comes a table.
"""

import argparse
import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import product
from pathlib import Path

import httpx
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from bench.frames import interaction_ids, mark_in
from bench.on_kafka import MIB, PARTITIONS, Values, Work, environment_of, run
from bench.processes import Watched, running
from bench.results import DEADLINE_S

_WARM_UP_FRAMES = 10_000
# More frames than a socket remembers to tell copies by: from then on the memory stays what it is.
_WARM_UP_ROUNDS = 28
_FLOORS = {"floor": 0.0, "floor, 5 ms linger": 5.0}
# Nothing ranks here: only an open valve lets ingress run at its own speed. It is sampled as ever.
_WIDE_VALVE = {"BRIDGE_VALVE__CLOSE_ABOVE_RECORDS": "100000000"}


class Bench:
    """The broker, and what is measured on it."""

    def __init__(self, servers: str, folder: Path, arguments: argparse.Namespace) -> None:
        self._servers = servers
        self._folder = folder
        self._arguments = arguments

    async def throughput(self, side: str, kind: str, interactions: int) -> Values:
        """As fast as it goes: frames a second until Kafka has the last one, CPU, memory."""
        frames = self._arguments.frames
        async with self._carrying(side, interactions) as one:
            await one.carry(kind, frames=_WARM_UP_FRAMES)
            cpu_s, started_s = one.process.cpu_s, time.monotonic()
            await one.carry(kind, frames=frames)
            seconds = time.monotonic() - started_s
            return {
                "frames/s": frames / seconds,
                "CPU s / 100,000": (one.process.cpu_s - cpu_s) * 100_000 / frames,
                "peak RSS, MiB": one.process.peak_rss_bytes / MIB,
            }

    async def latency(self, side: str, kind: str, interactions: int) -> Values:
        """At 500 frames a second: milliseconds from the server's send until a consumer has the record."""
        per_s = self._arguments.per_s
        frames = int(per_s * self._arguments.latency_s)
        async with self._carrying(side, interactions) as one:
            await one.carry(kind, frames=_WARM_UP_FRAMES)
            async with asyncio.TaskGroup() as tasks:
                seen = tasks.create_task(one.latencies_ms(frames))
                await one.consuming.wait()
                await one.send(kind, frames=frames, per_s=per_s)
            # The first second warms up the paths that a full stream does not take.
            latencies = sorted(seen.result()[int(per_s) :])
            return {f"p{share:g}, ms": latencies[int(len(latencies) * share / 100)] for share in (50, 99, 99.9)}

    async def stall(self, overflow: str, interactions: int) -> Values:
        """The ranker stands still while 500 frames a second come: by how much does the memory grow?"""
        per_s, seconds, bound = self._arguments.per_s, self._arguments.stall_s, self._arguments.hold_bytes
        more = {
            "BRIDGE_INGRESS__OVERFLOW": overflow,
            "BRIDGE_INGRESS__HOLD_MAX_BYTES": str(bound),
            # Twice what comes between two of the ranker's positions while it is warmed up.
            "BRIDGE_VALVE__CLOSE_ABOVE_RECORDS": str(_WARM_UP_FRAMES),
        }
        async with self._carrying("bridge", interactions, name=f"{overflow}-", more=more) as one:
            for _ in range(_WARM_UP_ROUNDS):
                await one.carry("text", frames=_WARM_UP_FRAMES // 2, per_s=10 * per_s)
                await self._commit_for_ranker(one.prefix, one.topic)
            warm = await one.ends()
            before, peak = one.process.rss_bytes, 0
            async with asyncio.TaskGroup() as tasks:
                sending = tasks.create_task(one.send("text", frames=int(per_s * seconds), per_s=per_s))
                while not sending.done():
                    await asyncio.wait([sending], timeout=0.5)
                    peak = max(peak, one.process.rss_bytes)
            return {
                "sent": per_s * seconds,
                "written": await one.ends() - warm,
                "RSS before, MiB": before / MIB,
                "RSS growth, MiB": max(0, peak - before) / MIB,
                "hold_max_bytes, MiB": bound / MIB,
            }

    # -- what runs -----------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _carrying(
        self, side: str, interactions: int, *, name: str = "", more: Mapping[str, str] = _WIDE_VALVE
    ) -> AsyncIterator["Carrying"]:
        prefix = f"{side.partition(',')[0]}-{interactions}-{name}"
        topic = f"{prefix}raw-suggestions"
        await self._apply_topics(prefix)
        await self._commit_for_ranker(prefix, topic)
        arguments = ("--interactions", str(interactions))
        async with (
            running("bench.source", *arguments, log=self._folder / "source.log") as (_, output),
            AIOKafkaConsumer(bootstrap_servers=self._servers, auto_offset_reset="latest") as consumer,
        ):
            base_url = (await output.readline()).decode().strip()
            async with (
                httpx.AsyncClient(base_url=base_url, timeout=DEADLINE_S * 2, trust_env=False) as client,
                self._side(side, base_url, prefix=prefix, interactions=interactions, more=more) as process,
            ):
                await _until(lambda: _is_subscribed(client, interactions))
                carrying = Carrying(process, client, consumer, prefix=prefix, topic=topic)
                carrying.begin()
                yield carrying

    @asynccontextmanager
    async def _side(
        self, side: str, base_url: str, *, prefix: str, interactions: int, more: Mapping[str, str]
    ) -> AsyncIterator[Watched]:
        log = self._folder / f"{side}.log"
        if side in _FLOORS:
            arguments = {
                "bootstrap-servers": self._servers,
                "base-url": base_url,
                "topic": f"{prefix}raw-suggestions",
                "interactions": interactions,
                "compression": self._arguments.compression,
                "linger-ms": _FLOORS[side],
            }
            spelled = [word for name, value in arguments.items() for word in (f"--{name}", str(value))]
            async with running("bench.floor_ingress", *spelled, log=log) as (process, _):
                yield process
            return
        environment = environment_of(self._servers, prefix) | {
            "BRIDGE_GENESYS__BASE_URL": base_url,
            "BRIDGE_GENESYS__CLIENT_ID": "client",
            "BRIDGE_GENESYS__CLIENT_SECRET": "secret",
            "BRIDGE_GENESYS__CONTENT_LIBRARY_ID": "library",
            "BRIDGE_INGRESS__INTERACTIONS": json.dumps(interaction_ids(interactions)),
            "BRIDGE_KAFKA__RAW_COMPRESSION": self._arguments.compression,
            "BRIDGE_HTTP__PORT": "0",
            **more,
        }
        async with running("bridge", "run", "ingress", log=log, environment=environment) as (process, _):
            yield process

    async def _apply_topics(self, prefix: str) -> None:
        log = self._folder / "topics.log"
        environment = environment_of(self._servers, prefix)
        async with running("bridge", "topics", "apply", log=log, environment=environment) as (_, output):
            await output.read()

    async def _commit_for_ranker(self, prefix: str, topic: str) -> None:
        """A position for the ranker: from here on it stands still, so that its lag is known and grows."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self._servers, group_id=f"{prefix}ranker")
        partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        await consumer.start()
        try:
            consumer.assign(partitions)
            ends = await consumer.end_offsets(partitions)
            await consumer.commit({one: OffsetAndMetadata(ends[one], "") for one in partitions})
        finally:
            await consumer.stop()


class Carrying:
    """One side at work: what it is sent, and what has arrived."""

    def __init__(
        self, process: Watched, client: httpx.AsyncClient, consumer: AIOKafkaConsumer, *, prefix: str, topic: str
    ) -> None:
        self.process = process
        self.prefix = prefix
        self.topic = topic
        self.consuming = asyncio.Event()
        self._client = client
        self._consumer = consumer
        self._partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]

    def begin(self) -> None:
        """From now on the topic's ends can be asked for; nothing is fetched yet."""
        self._consumer.assign(self._partitions)
        self._consumer.pause(*self._partitions)

    async def ends(self) -> int:
        """How many records the topic has had."""
        return sum((await self._consumer.end_offsets(self._partitions)).values())

    async def send(self, kind: str, *, frames: int, per_s: float = 0.0) -> None:
        """Has the source send; returns when the last frame is handed to the kernel."""
        answer = await self._client.post("/send", params={"kind": kind, "frames": frames, "per_s": per_s})
        answer.raise_for_status()

    async def carry(self, kind: str, *, frames: int, per_s: float = 0.0) -> None:
        """Has the source send; returns when Kafka has the last frame."""
        enough = await self.ends() + frames
        await self.send(kind, frames=frames, per_s=per_s)
        await _until(lambda: self._has(enough), every_s=0.01)

    async def latencies_ms(self, frames: int) -> Sequence[float]:
        """How old each of the next frames is when a consumer has it, in the order of their arrival."""
        await self._consumer.seek_to_end(*self._partitions)
        for partition in self._partitions:
            await self._consumer.position(partition)
        self._consumer.resume(*self._partitions)
        self.consuming.set()
        latencies: list[float] = []
        async with asyncio.timeout(DEADLINE_S):
            while len(latencies) < frames:
                batches = await self._consumer.getmany(timeout_ms=1000)
                now_us = time.time_ns() / 1000
                latencies += [(now_us - mark_in(one.value)) / 1000 for batch in batches.values() for one in batch]
        return latencies

    async def _has(self, enough: int) -> bool:
        return await self.ends() >= enough


async def _is_subscribed(client: httpx.AsyncClient, interactions: int) -> bool:
    return bool((await client.get("/subscribed")).json() == interactions)


async def _until(is_so: Callable[[], Awaitable[bool]], *, every_s: float = 0.05) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not await is_so():
            await asyncio.sleep(every_s)


def _all_work(bench: Bench, arguments: argparse.Namespace) -> Iterator[Work]:
    """Everything that was asked for."""
    for what in arguments.what:
        if what == "stall":
            interactions = max(arguments.interactions)
            for overflow in ("write", "shed"):
                yield Work("bridge", f"stall, `{overflow}`", interactions, 0, bench.stall(overflow, interactions))
        else:
            yield from _in_turns(bench, arguments, what)


def _in_turns(bench: Bench, arguments: argparse.Namespace, what: str) -> Iterator[Work]:
    """The sides take turns, and turns in beginning."""
    work = bench.throughput if what == "throughput" else bench.latency
    pace = "" if what == "throughput" else f", {arguments.per_s:g}/s"
    sides = [*_FLOORS, "bridge"] if arguments.linger else ["floor", "bridge"]
    for interactions, kind, number in product(arguments.interactions, arguments.kinds, range(arguments.rounds)):
        for side in sides if number % 2 == 0 else reversed(sides):
            yield Work(side, f"{kind}{pace}", interactions, number, work(side, kind, interactions))


def main() -> None:
    """Parses the line and runs the bench on a broker of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--what", nargs="+", choices=["throughput", "latency", "stall"])
    parser.add_argument("--kinds", nargs="+", default=["text", "gzip"], choices=["text", "gzip"])
    parser.add_argument("--interactions", nargs="+", type=int, default=[50, 2000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--frames", type=int, default=200_000, help="for throughput; a multiple of 1,000")
    parser.add_argument("--per-s", type=float, default=500.0, help="frames a second for latency and stall")
    parser.add_argument("--latency-s", type=float, default=20.0)
    parser.add_argument("--stall-s", type=float, default=300.0)
    parser.add_argument("--hold-bytes", type=int, default=64 * MIB, help="the buffer's bound in the stall")
    parser.add_argument("--compression", default="zstd")
    parser.add_argument("--linger", action="store_true", help="also the floor with 5 ms of linger")
    arguments = parser.parse_args()
    arguments.what = arguments.what or ["throughput", "latency", "stall"]
    run("ingress", lambda servers, folder: _all_work(Bench(servers, folder, arguments), arguments))


if __name__ == "__main__":
    main()
