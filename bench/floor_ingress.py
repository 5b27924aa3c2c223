"""The floor: the least that carries a frame to Kafka with the same libraries, and nothing that makes it safe to run.

websockets, msgspec for the key, `create_batch` and `send_batch`, one batch under way for each partition. No headers, no
ids, no dead letters, no bounds on a frame, no reconnect, no gap ledger, no valve, no metrics, no orderly stop.
"""

import argparse
import asyncio
import sys
import zlib
from collections import deque

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder
from websockets.asyncio.client import ClientConnection, connect

from bench.frames import interaction_ids
from bridge.core.partitions import partition_of

_BATCH_BYTES = 512 * 1024
# Batches that wait for their partition; beyond it nothing is read.
_MAX_FULL = 64


class _Keyed(msgspec.Struct, rename="camel", gc=False):
    interaction_id: str


class Floor:
    """Batches by partition, and who writes them."""

    def __init__(self, producer: AIOKafkaProducer, *, topic: str, partitions: int, linger_s: float) -> None:
        self._producer = producer
        self._topic = topic
        self._linger_s = linger_s
        self._waiting: list[deque[BatchBuilder]] = [deque() for _ in range(partitions)]
        self._events = [asyncio.Event() for _ in range(partitions)]
        self._room = asyncio.Event()
        self._full = 0

    async def read(self, connection: ClientConnection) -> None:
        """Puts each frame into the batch of its partition."""
        decode = msgspec.json.Decoder(_Keyed).decode
        partitions = len(self._waiting)
        while True:
            data = await connection.recv(decode=False)
            if data[:2] == b"\x1f\x8b":
                data = zlib.decompress(data, 31)
            key = decode(data).interaction_id.encode()
            partition = partition_of(key, partitions)
            waiting = self._waiting[partition]
            if not waiting or waiting[-1].append(timestamp=None, key=key, value=data) is None:
                self._begin(waiting, key, data)
                await self._until_room()
            self._events[partition].set()

    async def write(self, partition: int) -> None:
        """Sends the batches of one partition, one after the other."""
        waiting, event = self._waiting[partition], self._events[partition]
        while True:
            await event.wait()
            if self._linger_s:
                await asyncio.sleep(self._linger_s)
            event.clear()
            while waiting:
                batch = waiting.popleft()
                self._full -= 1
                self._room.set()
                batch.close()
                await (await self._producer.send_batch(batch, self._topic, partition=partition))

    def _begin(self, waiting: deque[BatchBuilder], key: bytes, data: bytes) -> None:
        batch = self._producer.create_batch()
        batch.append(timestamp=None, key=key, value=data)
        waiting.append(batch)
        self._full += 1

    async def _until_room(self) -> None:
        while self._full > _MAX_FULL:
            self._room.clear()
            await self._room.wait()


async def run(arguments: argparse.Namespace) -> None:
    """Carries frames until the process is ended."""
    producer = AIOKafkaProducer(
        bootstrap_servers=arguments.bootstrap_servers,
        enable_idempotence=True,
        acks="all",
        compression_type=arguments.compression,
        max_batch_size=_BATCH_BYTES,
        max_request_size=4 * 1024 * 1024,
    )
    await producer.start()
    partitions = len(await producer.partitions_for(arguments.topic))
    floor = Floor(producer, topic=arguments.topic, partitions=partitions, linger_s=arguments.linger_ms / 1000)
    url = arguments.base_url.replace("http", "ws", 1) + "/api/v2/agentassist/websocket"
    async with connect(url, max_size=8 * 1024 * 1024) as connection, asyncio.TaskGroup() as tasks:
        for interaction_id in interaction_ids(arguments.interactions):
            await connection.send(f'{{"type":"subscribe","interactionId":"{interaction_id}"}}')
        for partition in range(partitions):
            tasks.create_task(floor.write(partition))
        sys.stdout.write("reading\n")
        sys.stdout.flush()
        await floor.read(connection)


def main() -> None:
    """Runs the floor."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bootstrap-servers", required=True)
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--interactions", type=int, default=50)
    parser.add_argument("--compression", default="zstd")
    parser.add_argument("--linger-ms", type=float, default=0.0)
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
