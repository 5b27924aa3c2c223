"""Genesys sockets -> raw-suggestions."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Annotated, ClassVar

from bridge.core import valve
from bridge.core.dialects.agentassist import Received, Suggestions, Unreadable
from bridge.core.errors import StartError
from bridge.core.events import ingress as told
from bridge.core.gaps import Backlogs, ShedTally
from bridge.core.holding import Holding
from bridge.core.options import OneOf, Within
from bridge.core.records import NewRecord
from bridge.core.subscriptions import Subscriptions
from bridge.core.topics import Topics
from bridge.core.valve import Gate, Valve
from bridge.ports import Clock, Condition, Emit, LagProbe, Sockets, SubscriptionTable, Tails, Writer
from bridge.workers.intake import RawRecords, SideRecords
from bridge.workers.lanes import Lanes
from bridge.workers.pauses import Pauses
from bridge.workers.stalls import AWAY_AFTER_S, Stalls
from bridge.workers.subscriber import Subscriber

# How often the pause's bound, expiries and untold sheds are looked at: well within a second.
_TEND_EVERY_S = 0.25
# Above this share of the bytes, audit events and dead letters wait because Kafka takes nothing: gaps and sheds are then
# kept as sums, which are bounded, until it does again.
_TELL_BELOW = 1 / 8
_MAX_SUMS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The section `ingress`."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    # Written to the subscription topic at start unless they are there: for one tenant's fixed lines, and for trials.
    interactions: tuple[str, ...] = ()
    # The tutorial's: what was said in the last five minutes is what a suggestion can refer to.
    context_window_s: Annotated[float, Within(0, 86_400)] = 300.0
    suggestion_types: tuple[str, ...] = ("knowledge", "process")
    # No conversation lasts for a day; a forgotten one must not be listened to for ever.
    subscription_ttl_s: Annotated[float, Within(1, 31_536_000)] = 86_400.0
    # A tenth of a second at full speed: more than one round trip to Kafka, little enough to be written at a stop.
    max_queue_frames: Annotated[int, Within(1, 1_000_000)] = 5_000
    # Below the time after which common servers and proxies give up a client that does not read.
    pause_max_s: Annotated[float, Within(0, 3_600)] = 10.0
    overflow: Annotated[str, OneOf("write", "shed", "block")] = "write"
    # Three minutes at 500 small frames/s of a Kafka that is away, …
    hold_max_frames: Annotated[int, Within(1, 10_000_000)] = 100_000
    # … in as much memory as any machine can spare.
    hold_max_bytes: Annotated[int, Within(1_048_576, 1_099_511_627_776)] = 64 * 1024 * 1024
    # Half of what a topic takes (1 MiB): room for key and headers, and for the copy in a dead letter.
    max_frame_bytes: Annotated[int, Within(1_024, 524_288)] = 512 * 1024


class Ingress:
    """Carries frames from the sockets to Kafka: the `Intake` of the sockets, and everything behind it.

    `fresh` are the interactions that this process has just written to the subscription topic itself: nobody had them
    before, so they are no takeovers. `monotonic` is in seconds.
    """

    def __init__(
        self,
        options: Options,
        valve_options: valve.Options,
        *,
        topics: Topics,
        sockets: Sockets,
        table: SubscriptionTable,
        tails: Tails,
        writer: Writer,
        lag: LagProbe,
        emit: Emit,
        clock: Clock,
        fresh: Collection[str] = (),
        monotonic: Callable[[], float] = monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._options = options
        self._valve_options = valve_options
        self._topics = topics
        self._sockets = sockets
        self._table = table
        self._emit = emit
        self._clock = clock
        self._now_s = monotonic
        self._sleep = sleep
        self._backlogs = Backlogs()
        self._sheds = ShedTally(self._backlogs)
        self._raw = RawRecords(topic=topics.raw_suggestions, partitions=topics.partitions)
        self._side = SideRecords(topics)
        self._holding = Holding(
            sheds=topics.raw_suggestions, max_frames=options.hold_max_frames, max_bytes=options.hold_max_bytes
        )
        self._lanes = Lanes(
            self._holding,
            writer,
            may_write=self._may_write,
            on_written=self._after_write,
            emit=emit,
            clock=clock,
            now_s=monotonic,
        )
        self._valve = Valve(valve_options)
        self._pauses = Pauses(
            Gate(max_queue_frames=options.max_queue_frames, pause_max_s=options.pause_max_s, overflow=options.overflow),
            self._valve,
            lag=lag,
            holding=self._holding,
            stalled_s=self._lanes.stalled_s,
            on_valve=self._lanes.wake,
            backlogs=self._backlogs,
            emit=emit,
            clock=clock,
            now_s=monotonic,
        )
        self._stalls = Stalls(
            stalled_s=self._lanes.stalled_s,
            holding=self._holding,
            backlogs=self._backlogs,
            emit=emit,
            clock=clock,
            now_s=monotonic,
        )
        self._subscriber = Subscriber(
            Subscriptions(partitions=topics.partitions, ttl_s=options.subscription_ttl_s, fresh=fresh),
            partitions=topics.partitions,
            table=table,
            tails=tails,
            sockets=sockets,
            side=self._side,
            backlogs=self._backlogs,
            write=self._write,
            may_tell=self._may_tell,
            emit=emit,
            clock=clock,
        )
        self._stopped = asyncio.Event()
        self._is_stopping = False

    # -- the intake of the sockets -------------------------------------------------------------------------------------

    @property
    def may_read(self) -> bool:
        """False while the sockets must not be read. A stop reads on, until the close is answered."""
        return self._pauses.may_read

    async def until_readable(self) -> None:
        """Waits until `may_read`: for `pause_max_s` at most, unless the overflow is `block`."""
        await self._pauses.until_readable()

    def take(self, received: Received, *, at_ms: int) -> None:
        """Takes what one frame said, read at `at_ms`; it is held until the brokers have it."""
        if isinstance(received, Suggestions):
            record, size = self._raw.make(received, at_ms=at_ms)
            self._subscriber.received(received.interaction_id, partition=record.partition or 0, at_ms=at_ms)
            self._put(record, size)
            if self._holding.frames >= self._options.max_queue_frames and self._pauses.cause is None:
                self._pauses.look()
        elif isinstance(received, Unreadable):
            self._write(self._side.dead_frame(received, at_ms=at_ms))
            self._emit(told.FrameSetAside(dlq_class=received.dlq_class, reason=received.reason))
            self._pauses.look()
        # Everything else is no record: the sockets count notices, and call `finished` for what was refused.

    def subscribed(self, interaction_ids: Sequence[str], *, request_ids: Sequence[str], at_ms: int) -> None:
        """The subscriptions were sent: open gaps end, first subscriptions are told."""
        self._subscriber.subscribed(interaction_ids, request_ids=request_ids, at_ms=at_ms)

    def disconnected(self, interaction_ids: Sequence[str], *, cause: str, read_to_ms: int) -> None:
        """The connection that carried these is gone: a gap opens for each, from the last frame known, not from now."""
        self._subscriber.disconnected(interaction_ids, cause=cause, read_to_ms=read_to_ms)

    def finished(self, interaction_ids: Sequence[str], *, reason: str, at_ms: int) -> None:
        """Genesys ended these: they are told, and not wanted until they are written again."""
        self._subscriber.finished(interaction_ids, reason=reason, at_ms=at_ms)

    def suppressed(self, interaction_id: str, *, frames: int, at_ms: int) -> None:  # noqa: ARG002 - told when it can be
        """So many frames were copies of what another socket had delivered: the audit is told."""
        self._subscriber.suppressed(interaction_id, frames=frames)

    # -- from start to stop --------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Works until `stop` is through. Raises StartError for a permanent refusal before the first good start."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._lanes.open(tasks)
                sampling = self._pauses.sample(every_s=self._valve_options.sample_every_s, sleep=self._sleep)
                work = (self._sockets.run(self), self._subscriber.follow(), sampling, self._tend())
                running = [tasks.create_task(one) for one in work]
                await self._stopped.wait()
                for task in running:
                    task.cancel()
        except ExceptionGroup as errors:
            # Whoever runs this tells a refusal from a fault by the type, which a TaskGroup wraps.
            refusals, others = errors.split(StartError)
            if refusals is None or others is not None:
                raise
            raise refusals.exceptions[0] from None

    async def stop(self, *, timeout_s: float) -> int:
        """Reads on until the sockets are closed, then writes what is held; returns how many records were given up.

        That is 0 unless `timeout_s` passed before Kafka had taken everything. `run` returns then.
        """
        self._is_stopping = True
        self._pauses.stop()
        self._lanes.wake()
        with suppress(TimeoutError):  # What is left then is counted below, and told.
            async with asyncio.timeout(timeout_s):
                await asyncio.gather(self._table.stop(), self._sockets.stop())
                self._subscriber.stopped(at_ms=self._clock())
                self._tell_sheds(self._clock())
                await self._lanes.until_empty()
        left = self._lanes.close()
        for topic, records in left.items():
            self._emit(told.RecordsAbandoned(topic=topic, records=records))
        self._stopped.set()
        return sum(left.values())

    def stalled_s(self) -> float:
        """How long the batch that waits longest has not been acknowledged though Kafka answers; 0 with nothing to do.

        A Kafka that answers nothing is waited for: a restart would not help it, and would lose what is held.
        """
        return 0.0 if self._valve.lag_records is None else self._lanes.stalled_s()

    def conditions(self) -> Sequence[Condition]:
        """What `/readyz` says of Genesys and of Kafka."""
        stalled_s, unknown_s = self._lanes.stalled_s(), self._valve.unknown_s(self._now_s())
        writer = f"nothing was acknowledged for {stalled_s:.0f} s: is Kafka there?"
        lag = f"nobody has known it for {unknown_s:.0f} s: is Kafka there, and does the ranker run?"
        return [
            *self._sockets.conditions(),
            _condition(self._topics.raw_suggestions, writer if stalled_s >= AWAY_AFTER_S else ""),
            _condition(self._topics.interaction_subscriptions, self._subscriber.fault()),
            _condition("ranker lag", lag if unknown_s >= self._valve_options.unknown_after_s else ""),
        ]

    # -- inside --------------------------------------------------------------------------------------------------------

    def _put(self, record: NewRecord, size: int) -> None:
        shed = self._lanes.put(record, size=size)
        if shed:
            cause = "kafka" if self._lanes.stalled_s() >= AWAY_AFTER_S else self._pauses.cause or "queue"
            for one in shed:
                self._sheds.add((one.key or b"").decode(), at_ms=one.timestamp or 0, cause=cause)

    def _write(self, record: NewRecord) -> None:
        self._put(record, record.size)

    def _may_write(self, topic: str) -> bool:
        is_raw = topic == self._topics.raw_suggestions
        return self._valve.is_open or not is_raw or self._options.overflow != "shed" or self._is_stopping

    def _after_write(self) -> None:
        if self._pauses.cause is not None:
            self._pauses.look()

    async def _tend(self) -> None:
        while True:
            at_ms = self._clock()
            self._stalls.look(again_in_s=_TEND_EVERY_S)
            self._pauses.look()
            self._subscriber.tend(at_ms=at_ms)
            self._tell_sheds(at_ms)
            self._emit(
                told.HoldingSampled(
                    frames=self._holding.frames,
                    held_bytes=self._holding.bytes,
                    subscriptions=len(self._subscriber),
                )
            )
            await self._sleep(_TEND_EVERY_S)

    def _tell_sheds(self, at_ms: int) -> None:
        if not self._may_tell() and len(self._sheds) < _MAX_SUMS:
            return
        sheds = self._sheds.tell()
        for shed in sheds:
            self._write(self._side.shed(shed, at_ms=at_ms))
        for cause in sorted({shed.cause for shed in sheds}):
            frames = [shed.frames for shed in sheds if shed.cause == cause]
            self._emit(told.FramesShed(cause=cause, frames=sum(frames), interactions=len(frames)))

    def _may_tell(self) -> bool:
        return self._is_stopping or self._holding.kept_bytes <= self._holding.max_bytes * _TELL_BELOW


def _condition(name: str, fault: str) -> Condition:
    return Condition(name=name, is_ready=not fault, reason=fault)
