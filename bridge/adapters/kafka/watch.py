"""What is looked at once a second while a consumer works: its lag, held-up readers, and whether anything is stuck."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from bridge.adapters.kafka.restore import Plan
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
    """A number that this process owns, and its committed position by topic while it is running."""

    number: int
    committed: Mapping[str, int] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The numbers that this process owns; None while it waits for its partitions."""

    numbers: Sequence[Seen] | None


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
        watchdog: Watchdog,
        view: Callable[[], View],
        on_stuck: Callable[[str], None],
        emit: Emit,
    ) -> None:
        self._plan = plan
        self._probe = probe
        self._stable_probe = stable_probe
        self._watchdog = watchdog
        self._view = view
        self._on_stuck = on_stuck
        self._emit = emit
        self._held_up = HeldUp[TopicPartition]()
        self.is_kafka_there = True

    async def run(self) -> None:
        """Looks until it is cancelled."""
        while True:
            view = self._view()
            running = [one for one in view.numbers or () if one.committed is not None]
            inputs = [partition for one in running for partition in self._inputs(one.number)]
            ends, stable = await asyncio.gather(
                _ends_of(self._probe, inputs or self._inputs(0)),
                _ends_of(self._stable_probe, inputs or self._inputs(0)),
            )
            self.is_kafka_there = ends is not None or stable is not None
            self._look(view, ends, stable, now_s=monotonic())
            await asyncio.sleep(_EVERY_S)

    def _look(self, view: View, ends: _Ends | None, stable: _Ends | None, *, now_s: float) -> None:
        held_up_s = {} if ends is None or stable is None else self._held_up.look(stable, ends, now_s=now_s)
        self._tell(view, ends, held_up_s)
        sights = list(self._ways(view, is_answered=ends is not None and stable is not None))
        if view.numbers is not None:
            sights += (self._sight(one, stable, held_up_s) for one in view.numbers)
        for what in self._watchdog.look(sights, now_s=now_s, is_all=view.numbers is not None):
            self._on_stuck(what)

    def _tell(self, view: View, ends: _Ends | None, held_up_s: Mapping[TopicPartition, float]) -> None:
        if ends is not None:
            lag = sum(
                max(0, ends[TopicPartition(topic, one.number)] - position)
                for one in view.numbers or ()
                for topic, position in (one.committed or {}).items()
            )
            self._emit(LagMeasured(group=self._plan.group, lag_records=lag))
        if held_up_s:
            self._emit(StableOffsetMeasured(group=self._plan.group, age_s=max(held_up_s.values())))

    def _ways(self, view: View, *, is_answered: bool) -> Iterator[Sight]:
        """The ways to its records: while Kafka is away, a new consumer would not find it either."""
        is_away = not self.is_kafka_there
        yield Sight(what="the way to its partitions", progress=0, has_work=view.numbers is None, waits=is_away)
        yield Sight(what="one of its readers", progress=0, has_work=not is_answered, waits=is_away)

    def _sight(self, one: Seen, stable: _Ends | None, held_up_s: Mapping[TopicPartition, float]) -> Sight:
        committed = one.committed or {}
        inputs = self._inputs(one.number)
        is_held_up = any(held_up_s.get(partition, 0.0) >= _HELD_UP_S for partition in inputs)
        return Sight(
            what=f"number {one.number}",
            progress=sum(committed.values()),
            # What stands after an open transaction can be read by nobody, so it is no work.
            has_work=stable is not None
            and any(stable[TopicPartition(topic, one.number)] > position for topic, position in committed.items()),
            is_running=one.committed is not None,
            waits=stable is None or is_held_up or self._plan.waits(),
        )

    def _inputs(self, number: int) -> list[TopicPartition]:
        return [TopicPartition(topic, number) for topic in self._plan.topics]


async def _ends_of(reader: AIOKafkaConsumer, partitions: Sequence[TopicPartition]) -> _Ends | None:
    """The ends as this reader sees them; None where Kafka does not answer."""
    try:
        with own_cancellations_only():
            async with asyncio.timeout(_ANSWER_S):
                ends: _Ends = await reader.end_offsets(partitions)
    except (KafkaError, OSError, TimeoutError, UnavailableError):
        return None
    return ends
