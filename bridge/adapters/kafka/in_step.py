"""Several topics of one partition number, read in step: committed records only, by one reader for each topic."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from time import monotonic
from typing import Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from bridge.adapters.kafka.clients import Clients
from bridge.adapters.kafka.start_stop import start_client, stop_client
from bridge.core.errors import UnavailableError
from bridge.core.records import Record
from bridge.core.verify_in_step import InStep

_POLL_MS = 200
_ANSWER_S = 30.0
_STOP_S = 5.0


@dataclass(frozen=True, slots=True)
class Span:
    """Offsets of one partition, `end` not included."""

    begin: int
    end: int


class NumberReader:
    """Reads the topics of one number after another; an async context manager.

    A reader for each topic, so that one that is ahead is simply not asked: what is held is one fetch of each, however
    far the topics' records are apart in time.
    """

    def __init__(self, clients: Clients, topics: Collection[str]) -> None:
        # Whoever is written to reads on behind an open transaction once that has timed out.
        patience_s = _ANSWER_S + clients.options.transaction_timeout_ms / 1000
        self._cursors = {topic: _Cursor(topic, clients, patience_s=patience_s) for topic in topics}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            for cursor in self._cursors.values():
                stack.push_async_callback(cursor.stop)
                await cursor.start()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def begin(self, number: int, spans: Mapping[str, Span], *, exact: Collection[str]) -> InStep:
        """The number's topics in step, fed with the first records of each. Raises UnavailableError."""
        in_step = InStep({topic: spans[topic].begin for topic in self._cursors}, exact=exact)
        for topic, cursor in self._cursors.items():
            cursor.begin(number, spans[topic])
        await self.feed(in_step)
        return in_step

    async def runs(self, topic: str, number: int, span: Span) -> AsyncIterator[Sequence[Record]]:
        """All records of one topic of a number, run after run; not while a number is begun. Raises UnavailableError."""
        cursor = self._cursors[topic]
        cursor.begin(number, span)
        while records := await cursor.next():
            yield records

    async def feed(self, in_step: InStep) -> None:
        """Feeds the topics that are wanting, up to the ends of their spans. Raises UnavailableError.

        An open transaction before an end is waited for, for as long as it may last.
        """
        for topic in in_step.wanting():
            cursor = self._cursors[topic]
            records = await cursor.next()
            in_step.feed(topic, records, position=cursor.position, is_over=cursor.is_over)


class _Cursor:
    """One topic: its reader, and how far it has come on the present number."""

    def __init__(self, topic: str, clients: Clients, *, patience_s: float) -> None:
        self.position = 0
        self._topic = topic
        self._patience_s = patience_s
        # No jump where retention overtakes it: that would look like a loss.
        self._reader: AIOKafkaConsumer = clients.reader(start_from="none")
        self._partition = TopicPartition(topic, 0)
        self._end = 0

    @property
    def is_over(self) -> bool:
        return self.position >= self._end

    async def start(self) -> None:
        await start_client(self._reader, timeout_s=_ANSWER_S)

    async def stop(self) -> None:
        await stop_client(self._reader, timeout_s=_STOP_S)

    def begin(self, number: int, span: Span) -> None:
        self._partition = TopicPartition(self._topic, number)
        self.position, self._end = span.begin, span.end
        self._reader.assign([self._partition])
        if self.is_over:
            self._reader.pause(self._partition)
        else:
            self._reader.seek(self._partition, span.begin)

    async def next(self) -> Sequence[Record]:
        """The next records, in the order of their offsets; none only once it is over."""
        give_up_s = monotonic() + self._patience_s
        try:
            while not self.is_over:
                records = await self._poll()
                if records or self.is_over:
                    return records
                if monotonic() > give_up_s:
                    raise UnavailableError("Kafka", f"{self._name} gives nothing more before {self._end}")
        except OffsetOutOfRangeError as error:
            raise UnavailableError("Kafka", f"retention has overtaken the reader of {self._name}") from error
        except (KafkaError, OSError, TimeoutError) as error:
            raise UnavailableError("Kafka", f"cannot read {self._name}: {type(error).__name__}") from error
        return ()

    async def _poll(self) -> Sequence[Record]:
        fetched = await self._reader.getmany(self._partition, timeout_ms=_POLL_MS)
        async with asyncio.timeout(_ANSWER_S):
            self.position = await self._reader.position(self._partition)
        if self.is_over:
            self._reader.pause(self._partition)
        records: list[Record] = fetched.get(self._partition, [])
        if records and records[-1].offset >= self._end:
            records = [record for record in records if record.offset < self._end]
        return records

    @property
    def _name(self) -> str:
        return f"{self._topic}/{self._partition.partition}"
