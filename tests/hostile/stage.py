"""The real sockets and the real ingress between a server that breaks the rules and a writer without Kafka."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import msgspec

from bridge.adapters.genesys.sockets import GenesysSockets
from bridge.core import valve
from bridge.core.events.kinds import Event
from bridge.core.records import NewRecord, StoredRecord
from bridge.core.topics import Options as TopicOptions
from bridge.core.topics import topics_of
from bridge.workers.ingress import Ingress, Options
from tests.adapters.genesys.running import options_for
from tests.adapters.genesys.server import GenesysServer, Peer
from tests.fakes.lag import FakeLag
from tests.fakes.table import FakeTable
from tests.fakes.tails import FakeTails
from tests.fakes.writer import FakeWriter
from tests.hostile.corpus import frame

TOPICS = topics_of(TopicOptions(partitions=1))
RAW, AUDIT, DLQ = TOPICS.raw_suggestions, TOPICS.suggestion_audit, TOPICS.dlq_ingress
INTERACTION = "interaction-1"


@dataclass(slots=True, kw_only=True)
class Stage:
    """An ingress at work, subscribed to one interaction."""

    genesys: GenesysServer
    writer: FakeWriter
    ingress: Ingress
    events: list[Event]
    running: asyncio.Task[None]
    _good: int = 0

    async def peer(self) -> Peer:
        """The socket that is subscribed now, an older one gone."""
        await self.genesys.seen.until(lambda: self._subscribed() or self.running.done(), within_s=20)
        assert not self.running.done(), self.running
        return self._subscribed()[-1]

    def _subscribed(self) -> list[Peer]:
        return [peer for peer in self.genesys.open_peers if INTERACTION in peer.subscribed]

    async def survives(self) -> None:
        """A good frame that is sent now is written: on this socket, or on the next one."""
        self._good += 1
        good = frame(b'[{"id":"good-%d"}]' % self._good)
        async with asyncio.timeout(20):
            while True:
                peer = await self.peer()
                peer.send(good)
                written = asyncio.create_task(self.writer.until(lambda: good in self.values(RAW)))
                gone = asyncio.create_task(self.genesys.seen.until(lambda peer=peer: peer.is_gone, within_s=20))  # type: ignore[misc]
                try:
                    await asyncio.wait({written, gone, self.running}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for task in (written, gone):
                        task.cancel()
                assert not self.running.done(), self.running
                if good in self.values(RAW):
                    return

    def values(self, topic: str) -> list[bytes | None]:
        """The values that were written to a topic."""
        return [record.value for record in self.writer.on(topic)]

    def dead_letters(self) -> list[NewRecord]:
        """What was set aside."""
        return self.writer.on(DLQ)

    def held_bytes(self) -> int:
        """What waits for the writer."""
        return self.ingress._holding.bytes

    def gaps(self) -> list[str]:
        """The causes of the gaps that were told."""
        audits = [msgspec.json.decode(value or b"") for value in self.values(AUDIT)]
        return [audit["cause"] for audit in audits if audit["event"] == "reception_gap"]


@asynccontextmanager
async def staged(genesys: GenesysServer, **options: object) -> AsyncIterator[Stage]:
    """An ingress that is subscribed; it must run, and stop in order, whatever was sent to it."""
    events: list[Event] = []
    table, writer = FakeTable(), FakeWriter()

    def clock() -> int:
        return time.time_ns() // 1_000_000

    def emit(event: Event) -> None:
        events.append(event)
        genesys.seen.tell()

    sockets = GenesysSockets(
        options_for(genesys),
        context_window_s=300,
        suggestion_types=("knowledge",),
        clock=clock,
        monotonic=time.monotonic,
        chance=lambda: 0.1,
        emit=emit,
    )
    ingress = Ingress(
        msgspec.convert(options, Options),
        valve.Options(),
        topics=TOPICS,
        sockets=sockets,
        table=table,
        tails=FakeTails(),
        writer=writer,
        lag=FakeLag(),
        emit=emit,
        clock=clock,
    )
    key = INTERACTION.encode()
    topic, value = TOPICS.interaction_subscriptions, f'{{"interactionId":"{INTERACTION}"}}'.encode()
    table.own(0)
    table.write(StoredRecord(topic=topic, key=key, value=value, timestamp=clock()))
    running = asyncio.create_task(ingress.run())
    running.add_done_callback(lambda _: genesys.seen.tell())
    try:
        yield Stage(genesys=genesys, writer=writer, ingress=ingress, events=events, running=running)
        writer.come_back()
        assert await ingress.stop(timeout_s=10) == 0
        await running
    finally:
        running.cancel()
        await asyncio.wait([running])
