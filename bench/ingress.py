"""`bridge run ingress` beside the floor, on Apache Kafka: `make bench-ingress`, or `python -m bench.ingress --help`.

Both carry the same frames from the same source (`bench/source.py`) to a topic of 12 partitions with the same
compression. They take turns, so that what else the machine does hits both. Prints a table, and with `--json` one line
for each measurement.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from bench.frames import interaction_ids, mark_in
from bench.processes import Watched, running
from tests.broker import KafkaBroker

_PARTITIONS = 12
_WARM_UP_FRAMES = 10_000
_DEADLINE_S = 300.0
_SIDES = ("floor", "bridge")
_MIB = 1024 * 1024
# Nothing ranks here: only an open valve lets ingress run at its own speed. It is sampled as ever.
_WIDE_VALVE = {"BRIDGE_VALVE__CLOSE_ABOVE_RECORDS": "100000000"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One measurement: what was measured, of which side, in which round."""

    side: str
    kind: str
    interactions: int
    round: int
    values: Mapping[str, float]


class Bench:
    """The broker, and what is measured on it."""

    def __init__(self, servers: str, folder: Path, arguments: argparse.Namespace) -> None:
        self._servers = servers
        self._folder = folder
        self._arguments = arguments

    # -- what is measured ----------------------------------------------------------------------------------------------

    async def throughput(self, side: str, kind: str, interactions: int) -> Mapping[str, float]:
        """As fast as it goes: frames a second until Kafka has the last one, CPU, memory."""
        frames = self._arguments.frames
        async with self._carrying(side, interactions) as one:
            await one.carry(kind, frames=_WARM_UP_FRAMES)
            cpu_s, started_s = one.process.cpu_s, time.monotonic()
            await one.carry(kind, frames=frames)
            seconds = time.monotonic() - started_s
            return {
                "frames_per_s": frames / seconds,
                "cpu_s_per_100k": (one.process.cpu_s - cpu_s) * 100_000 / frames,
                "peak_rss_mib": one.process.peak_rss_bytes / _MIB,
            }

    async def latency(self, side: str, kind: str, interactions: int) -> Mapping[str, float]:
        """At 500 frames a second: milliseconds from the server's send until a consumer has the record."""
        per_s = self._arguments.per_s
        frames = int(per_s * self._arguments.latency_s)
        async with self._carrying(side, interactions) as one:
            await one.carry(kind, frames=_WARM_UP_FRAMES)
            cpu_s = one.process.cpu_s
            async with asyncio.TaskGroup() as tasks:
                seen = tasks.create_task(one.latencies_ms(frames))
                await one.consuming.wait()
                await one.send(kind, frames=frames, per_s=per_s)
            cpu_s = one.process.cpu_s - cpu_s
            # The first second warms up the paths that a full stream does not take.
            latencies = sorted(seen.result()[int(per_s) :])
            return {
                "p50_ms": latencies[len(latencies) // 2],
                "p99_ms": latencies[len(latencies) * 99 // 100],
                "p999_ms": latencies[len(latencies) * 999 // 1000],
                "cpu_s_per_100k": cpu_s * 100_000 / frames,
            }

    async def stall(self, overflow: str) -> Mapping[str, float]:
        """The ranker stands still while 500 frames a second come: by how much does the memory grow?"""
        per_s, seconds = self._arguments.per_s, self._arguments.stall_s
        more = {"BRIDGE_INGRESS__OVERFLOW": overflow, "BRIDGE_INGRESS__HOLD_MAX_BYTES": str(self._arguments.hold_bytes)}
        async with self._carrying("bridge", self._arguments.interactions[0], more=more) as one:
            await one.send("text", frames=int(per_s * 4), per_s=per_s)
            before, peak = one.process.rss_bytes, 0
            async with asyncio.TaskGroup() as tasks:
                sending = tasks.create_task(one.send("text", frames=int(per_s * seconds), per_s=per_s))
                while not sending.done():
                    await asyncio.wait([sending], timeout=0.5)
                    peak = max(peak, one.process.rss_bytes)
            return {
                "rss_before_mib": before / _MIB,
                "rss_growth_mib": (peak - before) / _MIB,
                "bound_mib": self._arguments.hold_bytes / _MIB,
                "written": await one.ends() - one.started_at,
                "sent": per_s * (seconds + 4),
            }

    # -- what runs -----------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _carrying(
        self, side: str, interactions: int, *, more: Mapping[str, str] = _WIDE_VALVE
    ) -> AsyncIterator["Carrying"]:
        prefix = f"{side}-{interactions}-"
        topic = f"{prefix}raw-suggestions"
        await self._apply_topics(prefix)
        await self._commit_for_ranker(prefix, topic)
        source_log = self._folder / "source.log"
        arguments = ("--interactions", str(interactions))
        async with (
            running("bench.source", *arguments, log=source_log) as (_, output),
            AIOKafkaConsumer(bootstrap_servers=self._servers, auto_offset_reset="latest") as consumer,
        ):
            base_url = (await output.readline()).decode().strip()
            async with (
                httpx.AsyncClient(base_url=base_url, timeout=_DEADLINE_S * 2, trust_env=False) as client,
                self._side(side, base_url, prefix=prefix, interactions=interactions, more=more) as process,
            ):
                await _until(lambda: _is_subscribed(client, interactions))
                carrying = Carrying(process, client, consumer, topic)
                await carrying.begin()
                yield carrying

    @asynccontextmanager
    async def _side(
        self, side: str, base_url: str, *, prefix: str, interactions: int, more: Mapping[str, str]
    ) -> AsyncIterator[Watched]:
        log = self._folder / f"{side}.log"
        if side == "bridge":
            environment = self._environment(prefix) | {
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
            return
        linger_ms = {"floor": 0.0, "floor-linger": 5.0}[side]
        arguments = {
            "bootstrap-servers": self._servers,
            "base-url": base_url,
            "topic": f"{prefix}raw-suggestions",
            "interactions": interactions,
            "compression": self._arguments.compression,
            "linger-ms": linger_ms,
        }
        spelled = [word for name, value in arguments.items() for word in (f"--{name}", str(value))]
        async with running("bench.floor_ingress", *spelled, log=log) as (process, _):
            yield process

    def _environment(self, prefix: str) -> dict[str, str]:
        return {
            "BRIDGE_KAFKA__BOOTSTRAP_SERVERS": self._servers,
            "BRIDGE_KAFKA__PREFIX": prefix,
            "BRIDGE_TOPICS__PARTITIONS": str(_PARTITIONS),
        }

    async def _apply_topics(self, prefix: str) -> None:
        environment = self._environment(prefix)
        log = self._folder / "topics.log"
        async with running("bridge", "topics", "apply", log=log, environment=environment) as (_, output):
            await output.read()

    async def _commit_for_ranker(self, prefix: str, topic: str) -> None:
        """A position for the ranker: from here on it stands still, and its lag is known and grows."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self._servers, group_id=f"{prefix}ranker")
        partitions = [TopicPartition(topic, number) for number in range(_PARTITIONS)]
        await consumer.start()
        try:
            consumer.assign(partitions)
            ends = await consumer.end_offsets(partitions)
            await consumer.commit({one: OffsetAndMetadata(ends[one], "") for one in partitions})
        finally:
            await consumer.stop()


class Carrying:
    """One side at work: what it is sent, and what has arrived."""

    def __init__(self, process: Watched, client: httpx.AsyncClient, consumer: AIOKafkaConsumer, topic: str) -> None:
        self.process = process
        self.consuming = asyncio.Event()
        self.started_at = 0
        self._client = client
        self._consumer = consumer
        self._partitions = [TopicPartition(topic, number) for number in range(_PARTITIONS)]

    async def begin(self) -> None:
        """Notes what is on the topic already."""
        self._consumer.assign(self._partitions)
        self._consumer.pause(*self._partitions)
        self.started_at = await self.ends()

    async def ends(self) -> int:
        """How many records the topic has had."""
        return sum((await self._consumer.end_offsets(self._partitions)).values())

    async def send(self, kind: str, *, frames: int, per_s: float = 0.0) -> None:
        """Has the source send; returns when the last frame is handed to the kernel."""
        answer = await self._client.post("/send", params={"kind": kind, "frames": frames, "per_s": per_s})
        answer.raise_for_status()

    async def carry(self, kind: str, *, frames: int) -> None:
        """Has the source send; returns when Kafka has the last frame."""
        enough = await self.ends() + frames
        await self.send(kind, frames=frames)
        await _until(lambda: self._has(enough), every_s=0.01)

    async def latencies_ms(self, frames: int) -> Sequence[float]:
        """How old each of the next frames is when a consumer has it, in the order of their arrival."""
        await self._consumer.seek_to_end(*self._partitions)
        for partition in self._partitions:
            await self._consumer.position(partition)
        self._consumer.resume(*self._partitions)
        self.consuming.set()
        latencies: list[float] = []
        async with asyncio.timeout(_DEADLINE_S + frames / self._least_per_s):
            while len(latencies) < frames:
                batches = await self._consumer.getmany(timeout_ms=1000)
                now_us = time.time_ns() / 1000
                latencies += [(now_us - mark_in(one.value)) / 1000 for batch in batches.values() for one in batch]
        return latencies

    _least_per_s = 100.0

    async def _has(self, enough: int) -> bool:
        return await self.ends() >= enough


async def _is_subscribed(client: httpx.AsyncClient, interactions: int) -> bool:
    return bool((await client.get("/subscribed")).json() == interactions)


async def _until(is_so: Callable[[], Awaitable[bool]], *, every_s: float = 0.05) -> None:
    async with asyncio.timeout(_DEADLINE_S):
        while not await is_so():
            await asyncio.sleep(every_s)


async def measure(bench: Bench, arguments: argparse.Namespace) -> list[Measured]:  # noqa: C901 - the bench's own table of contents
    """Everything that was asked for, side by side."""
    told: list[Measured] = []

    def tell(side: str, kind: str, interactions: int, number: int, values: Mapping[str, float]) -> None:
        one = Measured(side=side, kind=kind, interactions=interactions, round=number, values=values)
        told.append(one)
        sys.stderr.write(json.dumps(asdict(one)) + "\n")

    sides = [*_SIDES, *(["floor-linger"] if arguments.linger else [])]
    for interactions in arguments.interactions:
        for kind in arguments.kinds:
            for number in range(arguments.rounds):
                for side in sides if number % 2 == 0 else reversed(sides):
                    if "throughput" in arguments.what:
                        values = await bench.throughput(side, kind, interactions)
                        tell(side, kind, interactions, number, values)
                    if "latency" in arguments.what:
                        values = await bench.latency(side, kind, interactions)
                        tell(side, f"{kind} at {arguments.per_s:g}/s", interactions, number, values)
    if "stall" in arguments.what:
        for overflow in ("write", "shed"):
            values = await bench.stall(overflow)
            tell("bridge", f"stall, {overflow}", arguments.interactions[0], 0, values)
    return told


def table(told: Sequence[Measured]) -> str:
    """The medians, with the least and the greatest, and the ratio to the floor round by round, in Markdown."""
    lines = ["| frames | interactions | figure | floor | bridge | bridge / floor |", "|---|---|---|---|---|---|"]
    groups: dict[tuple[str, int, str], dict[str, list[float]]] = {}
    for one in told:
        for name, value in one.values.items():
            groups.setdefault((one.kind, one.interactions, name), {}).setdefault(one.side, []).append(value)
    for (kind, interactions, name), by_side in groups.items():
        floor, ours = by_side.get("floor", []), by_side.get("bridge", [])
        ratios = [mine / least for mine, least in zip(ours, floor, strict=False)]
        cells = (kind, str(interactions), name, _spread(floor), _spread(ours), _spread(ratios))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _spread(values: Sequence[float]) -> str:
    if not values:
        return ""
    median = statistics.median(values)
    return f"{_short(median)} ({_short(min(values))}..{_short(max(values))})" if len(values) > 1 else _short(median)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--what", nargs="+", default=["throughput", "latency", "stall"])
    parser.add_argument("--kinds", nargs="+", default=["text", "gzip"])
    parser.add_argument("--interactions", nargs="+", type=int, default=[50, 2000])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--frames", type=int, default=200_000)
    parser.add_argument("--per-s", type=float, default=500.0)
    parser.add_argument("--latency-s", type=float, default=20.0)
    parser.add_argument("--stall-s", type=float, default=300.0)
    parser.add_argument("--hold-bytes", type=int, default=64 * _MIB)
    parser.add_argument("--compression", default="zstd")
    parser.add_argument("--linger", action="store_true", help="also the floor with 5 ms of linger")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-ingress-") as name:
        folder = Path(name)
        with KafkaBroker(folder / "kafka") as broker:
            try:
                told = asyncio.run(measure(Bench(broker.bootstrap_servers, folder, arguments), arguments))
            except BaseException:
                for log in sorted(folder.glob("*.log")):
                    sys.stderr.write(f"-- {log.name}\n{log.read_text()[-2000:]}\n")
                raise
    sys.stdout.write(table(told) + "\n")


if __name__ == "__main__":
    main()
