"""What is looked at once a second while a consumer works: its lag, held-up readers, and whether anything is stuck."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from bridge.adapters.kafka.idle import IdleLag
from bridge.adapters.kafka.lag import records_behind
from bridge.adapters.kafka.restore import Plan
from bridge.adapters.kafka.silence import end_silent_connections
from bridge.adapters.kafka.start_stop import own_cancellations_only
from bridge.core.errors import UnavailableError
from bridge.core.events.engine import LagMeasured, StableOffsetMeasured
from bridge.core.watchdog import HeldUp, Sight, Watchdog
from bridge.ports import Emit

_ANSWER_S = 2.0
_EVERY_S = 1.0
# Transactions of ours take milliseconds. One that is open for longer holds up whoever reads what comes after it.
_HELD_UP_S = 5.0

_Ends = Mapping[TopicPartition, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A number that this process owns, and its last committed position by topic; None until it is restored."""

    number: int
    is_running: bool
    committed: Mapping[str, int] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The numbers that this process owns; None while it waits for its partitions.

    `unworkable` are its partitions of numbers that cannot be worked, because not all topics came together.
    """

    numbers: Sequence[Seen] | None
    unworkable: Collection[TopicPartition] = ()


class Watch:
    """Looks with two readers of its own: one that sees open transactions, and one that does not.

    The group's consumer could not tell: while it is stuck, so is what it knows of the ends.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        probe: AIOKafkaConsumer,
        stable_probe: AIOKafkaConsumer,
        idle_lag: IdleLag,
        watchdog: Watchdog,
        view: Callable[[], View],
        on_stuck: Callable[[str], None],
        emit: Emit,
    ) -> None:
        self._plan = plan
        self._probe = probe
        self._stable_probe = stable_probe
        self._idle_lag = idle_lag
        self._watchdog = watchdog
        self._view = view
        self._on_stuck = on_stuck
        self._emit = emit
        self._held_up = HeldUp[TopicPartition]()
        self.is_kafka_there = True

    async def run(self) -> None:
        """Looks until it is cancelled; then nobody knows any more."""
        try:
            while True:
                await self._look(self._view())
                await asyncio.sleep(_EVERY_S)
        finally:
            self._tell(lag_records=None, held_up_s={})

    async def _look(self, view: View) -> None:
        running = [one for one in view.numbers or () if one.is_running]
        inputs = [self._inputs(one.number) for one in running] or [self._inputs(0)]
        ends, stable, idle_records = await asyncio.gather(
            _ends_of(self._probe, inputs),
            _ends_of(self._stable_probe, inputs),
            # Apart from the others: the watchdog is to see what concerns running numbers only.
            self._idle_lag.records(self._idle_positions(view)),
        )
        self.is_kafka_there = bool(ends or stable)
        now_s = monotonic()
        held_up_s = self._held_up.look({one: stable[one] for one in stable if one in ends}, ends, now_s=now_s)
        # While it waits for its partitions, nobody knows what it owns.
        lag_records = None if view.numbers is None else _sum(_lag_of(running, ends), idle_records)
        self._tell(lag_records=lag_records, held_up_s=held_up_s)
        self._judge(view, stable, held_up_s, is_answered=bool(ends and stable), now_s=now_s)

    def _judge(
        self,
        view: View,
        stable: _Ends,
        held_up_s: Mapping[TopicPartition, float],
        *,
        is_answered: bool,
        now_s: float,
    ) -> None:
        sights = list(self._ways(view, is_answered=is_answered))
        if view.numbers is not None:
            sights += (self._sight(one, stable, held_up_s) for one in view.numbers)
        for what in self._watchdog.look(sights, now_s=now_s, is_all=view.numbers is not None):
            self._on_stuck(what)

    def _tell(self, *, lag_records: int | None, held_up_s: Mapping[TopicPartition, float]) -> None:
        self._emit(LagMeasured(group=self._plan.group, lag_records=lag_records))
        self._emit(StableOffsetMeasured(group=self._plan.group, age_s=max(held_up_s.values(), default=None)))

    def _ways(self, view: View, *, is_answered: bool) -> Iterator[Sight]:
        """The ways to its records: while Kafka is away, a new consumer would not find it either."""
        is_away = not self.is_kafka_there
        yield Sight(what="the way to its partitions", progress=0, has_work=view.numbers is None, waits=is_away)
        yield Sight(what="one of its readers", progress=0, has_work=not is_answered, waits=is_away)

    def _sight(self, one: Seen, stable: _Ends, held_up_s: Mapping[TopicPartition, float]) -> Sight:
        committed = (one.committed or {}) if one.is_running else {}
        inputs = self._inputs(one.number)
        is_known = all(partition in stable for partition in inputs)
        is_held_up = any(held_up_s.get(partition, 0.0) >= _HELD_UP_S for partition in inputs)
        return Sight(
            what=f"number {one.number}",
            progress=sum(committed.values()),
            # What stands after an open transaction can be read by nobody, so it is no work.
            has_work=is_known
            and any(stable[TopicPartition(topic, one.number)] > position for topic, position in committed.items()),
            is_running=one.is_running,
            # Of a number that is being set up nobody asks; it keeps what was seen of it before.
            waits=not self.is_kafka_there
            or (one.is_running and not is_known)
            or is_held_up
            or self._plan.waits(one.number),
        )

    def _idle_positions(self, view: View) -> dict[TopicPartition, int | None]:
        """The last known position of each partition that is not worked."""
        positions = {
            partition: (one.committed or {}).get(partition.topic)
            for one in view.numbers or ()
            if not one.is_running
            for partition in self._inputs(one.number)
        }
        return dict.fromkeys(view.unworkable) | positions

    def _inputs(self, number: int) -> list[TopicPartition]:
        return [TopicPartition(topic, number) for topic in self._plan.topics]


def _lag_of(running: Iterable[Seen], ends: _Ends) -> int | None:
    positions = {
        TopicPartition(topic, one.number): position
        for one in running
        for topic, position in (one.committed or {}).items()
    }
    if not positions.keys() <= ends.keys():
        return None
    return records_behind({partition: ends[partition] for partition in positions}, positions)


def _sum(*records: int | None) -> int | None:
    """What is not known of one is not known of all."""
    known = [one for one in records if one is not None]
    return sum(known) if len(known) == len(records) else None


async def _ends_of(reader: AIOKafkaConsumer, inputs: Sequence[Sequence[TopicPartition]]) -> _Ends:
    """The ends as this reader sees them, of those numbers of whose inputs Kafka tells all."""
    everything = await _asked(reader, [partition for partitions in inputs for partition in partitions])
    if everything is not None or len(inputs) == 1:
        return everything or {}
    # One partition without a leader is enough for that; nothing is known of its number, and of the others all.
    known = await asyncio.gather(*(_asked(reader, partitions) for partitions in inputs))
    return {partition: end for ends in known for partition, end in (ends or {}).items()}


async def _asked(reader: AIOKafkaConsumer, partitions: Sequence[TopicPartition]) -> _Ends | None:
    try:
        with own_cancellations_only():
            async with asyncio.timeout(_ANSWER_S):
                ends: _Ends = await reader.end_offsets(partitions)
    except (KafkaError, OSError, TimeoutError, UnavailableError):
        end_silent_connections(reader._client)  # noqa: SLF001 - aiokafka has no call for it
        return None
    return ends
