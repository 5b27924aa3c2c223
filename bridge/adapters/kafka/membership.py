"""One consumer in a hop's group: numbers come and go with rebalances, records are fetched and delivered to them."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from time import monotonic

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import IllegalStateError, KafkaError, OffsetOutOfRangeError

from bridge.adapters.kafka.clients import Clients, start_client, stop_client
from bridge.adapters.kafka.lifecycle import NumberLife, Steering
from bridge.adapters.kafka.number import OwnedNumber, Running
from bridge.adapters.kafka.restore import Plan, Restored, Restorer
from bridge.core.errors import UnavailableError
from bridge.core.events.engine import LagMeasured, NumberAborted, NumberParked, NumbersAssigned
from bridge.core.records import Record
from bridge.ports import Clock, Condition, Emit

_START_S = 30.0
_STOP_S = 10.0
_SAMPLE_S = 2.0
_MEASURE_EVERY_S = 1.0
_POLL_MS = 100
# While a record waits for the end of the other topic, positions are looked at more often: a transaction marker moves
# a position without returning a record.
_POLL_WAITING_MS = 10


class Membership(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka has no types
    """One consumer in the group, from its start to its stop or failure."""

    def __init__(
        self,
        clients: Clients,
        plan: Plan,
        stopping: asyncio.Event,
        *,
        clock: Clock,
        chance: Callable[[], float],
        emit: Emit,
    ) -> None:
        self._options = clients.options
        self._plan = plan
        self._stopping = stopping
        self._clock = clock
        self._chance = chance
        self._emit = emit
        self._consumer: AIOKafkaConsumer = clients.group_consumer(plan.group)
        # Not the group's consumer: its connection is busy with long polls, and its ends would be last stable offsets.
        self._probe: AIOKafkaConsumer = clients.reader(isolation_level="read_uncommitted")
        self._admin: AIOKafkaAdminClient = clients.admin()
        self._restorer = Restorer(clients, plan, admin=self._admin, clock=clock, emit=emit)
        self._lives: dict[int, NumberLife] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._parked: dict[int, str] = {}
        self._group: asyncio.TaskGroup | None = None
        self._is_assigned = False
        self._is_kafka_there = True
        self._listener_error: BaseException | None = None

    async def run(self) -> None:
        """Joins the group and works until the stop; raises UnavailableError when the consumer fails."""
        failure: UnavailableError | None = None
        clients = (self._consumer, self._probe, self._admin)
        try:
            for client in clients:
                await start_client(client, timeout_s=_START_S)
            async with asyncio.TaskGroup() as self._group:
                measuring = self._group.create_task(self._measure())
                try:
                    await self._work()
                except UnavailableError as error:
                    failure = error
                finally:
                    measuring.cancel()
                    self._drop(list(self._lives))
        finally:
            await asyncio.gather(*(stop_client(client, timeout_s=_STOP_S) for client in clients))
        if failure is not None:
            raise failure

    # -- the group's two calls ---------------------------------------------------------------------------------------

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:  # noqa: ARG002 - the listener's shape
        """Everything is revoked (the rebalance is eager): finish and commit what was taken, keep what may come back."""
        self._is_assigned = False
        # Well below the rebalance timeout, after which the group goes on without us.
        budget_s = self._options.rebalance_timeout_ms / 1000 * 0.6
        try:
            await self._drain(budget_s=budget_s)
        except Exception as error:  # noqa: BLE001 - aiokafka swallows what a listener raises: the poller raises it again
            self._listener_error = error

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Never waits: aiokafka hands out records while a coroutine here would still run."""
        try:
            self._assign(list(assigned))
        except Exception as error:  # noqa: BLE001 - as above
            self._listener_error = error

    # -- numbers come and go -----------------------------------------------------------------------------------------

    def _assign(self, assigned: Sequence[TopicPartition]) -> None:
        self._consumer.pause(*assigned)
        for partition in assigned:
            # Any valid position: without one the client asks for the committed position, which may still be the former
            # owner's to change. The real one is sought when the number runs.
            self._consumer.seek(partition, 0)
        workable, self._parked = self._workable(assigned)
        kept = workable & self._lives.keys()
        lost = self._lives.keys() - workable
        gained = workable - self._lives.keys()
        self._drop(lost)
        for number in kept:
            self._lives[number].come_back()
        for number in sorted(gained):
            self._start(number)
        for number, reason in self._parked.items():
            self._emit(NumberParked(group=self._plan.group, number=number, reason=reason))
        self._is_assigned = True
        self._emit(
            NumbersAssigned(
                group=self._plan.group, owned=len(workable), gained=len(gained), kept=len(kept), lost=len(lost)
            )
        )

    def _workable(self, assigned: Sequence[TopicPartition]) -> tuple[set[int], dict[int, str]]:
        """The numbers whose topics all came together, and why the others are parked."""
        counts = {topic: len(self._consumer.partitions_for_topic(topic) or ()) for topic in self._plan.topics}
        numbers = {partition.partition for partition in assigned}
        if len(set(counts.values())) > 1:
            told = ", ".join(f"{topic} has {count}" for topic, count in counts.items())
            return set(), dict.fromkeys(numbers, f"the topics differ in partitions ({told})")
        whole = {
            number
            for number in numbers
            if all(TopicPartition(topic, number) in assigned for topic in self._plan.topics)
        }
        reason = "another member of the group holds one of its topics"
        return whole, dict.fromkeys(numbers - whole, reason)

    def _start(self, number: int) -> None:
        if self._group is None:
            return
        life = NumberLife(
            number,
            Steering(
                group=self._plan.group,
                heartbeat_s=self._options.heartbeat_interval_ms / 1000,
                restore=self._restorer.restore,
                adopt=self._adopt,
                begin=self._begin,
                chance=self._chance,
                emit=self._emit,
            ),
        )
        self._lives[number] = life
        self._tasks[number] = self._group.create_task(life.run(), name=f"{self._plan.group}-{number}")

    def _drop(self, numbers: Iterable[int]) -> None:
        """Ends these numbers; an open transaction is left for the next owner to fence."""
        for number in list(numbers):
            del self._lives[number]
            self._tasks.pop(number).cancel()

    async def _drain(self, *, budget_s: float | None) -> None:
        draining = {number: life for number, life in self._lives.items() if life.revoke()}
        self._drop(self._lives.keys() - draining.keys())
        with suppress(TimeoutError):
            async with asyncio.timeout(budget_s):
                await asyncio.gather(*(life.until_drained() for life in draining.values()))
        for number, life in draining.items():
            if not life.is_kept:
                self._emit(NumberAborted(group=self._plan.group, number=number))
                self._drop([number])

    def _adopt(self, number: int, restored: Restored) -> OwnedNumber:
        return OwnedNumber(
            number,
            topics=self._plan.topics,
            group=self._plan.group,
            writer=restored.writer,
            positions=restored.positions,
            commit_interval_s=self._options.commit_interval_ms / 1000,
            emit=self._emit,
            on_room=lambda topic: self._resume(TopicPartition(topic, number)),
        )

    def _begin(self, number: int, positions: Mapping[str, int]) -> None:
        for topic, position in positions.items():
            self._consumer.seek(TopicPartition(topic, number), position)
        self._consumer.resume(*self._inputs(number))

    def _inputs(self, number: int) -> list[TopicPartition]:
        return [TopicPartition(topic, number) for topic in self._plan.topics]

    # -- reading -----------------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        self._consumer.subscribe(list(self._plan.topics), listener=self)
        while not self._stopping.is_set():
            fetched = await self._fetch()
            self._deliver(fetched)
            await self._move_positions()
            await self._sample()
            self._pause_full()
            if self._listener_error is not None:
                raise self._listener_error
        await self._drain(budget_s=None)

    async def _fetch(self) -> Mapping[TopicPartition, Sequence[Record]]:
        waits = any(owned.waits_for_an_end for owned in self._running())
        try:
            return await self._consumer.getmany(timeout_ms=_POLL_WAITING_MS if waits else _POLL_MS)  # type: ignore[no-any-return]
        except OffsetOutOfRangeError as error:
            # Retention has passed what was not read yet: the restore tells it and starts at what is there.
            self._restart({partition.partition for partition in error.args[0]})
            return {}
        except (KafkaError, OSError) as error:
            raise UnavailableError("Kafka", f"{type(error).__name__} in the group {self._plan.group}") from error

    def _deliver(self, fetched: Mapping[TopicPartition, Sequence[Record]]) -> None:
        for partition, records in fetched.items():
            life = self._lives.get(partition.partition)
            if life is not None and life.owned is not None and isinstance(life.state, Running):
                life.owned.put(partition.topic, records)

    async def _move_positions(self) -> None:
        for owned in self._running():
            for partition in self._inputs(owned.number):
                # A rebalance has begun meanwhile: what was delivered is finished, the position stays.
                with suppress(IllegalStateError):
                    owned.read_to(partition.topic, await self._consumer.position(partition))

    async def _sample(self) -> None:
        """Tells the numbers how long the topics were after their records had been fetched."""
        unsampled = [owned for owned in self._running() if owned.is_unsampled]
        if not unsampled:
            return
        partitions = [partition for owned in unsampled for partition in self._inputs(owned.number)]
        try:
            async with asyncio.timeout(_SAMPLE_S):
                ends = await self._probe.end_offsets(partitions)
        except (KafkaError, OSError, TimeoutError):
            return  # Asked again after the next fetch; until then nothing unsampled is worked.
        for owned in unsampled:
            owned.sampled({partition.topic: ends[partition] for partition in self._inputs(owned.number)})

    async def _measure(self) -> None:
        """Tells the lag of the owned numbers, once a second, and whether Kafka answers at all."""
        while True:
            running = list(self._running())
            inputs = [partition for owned in running for partition in self._inputs(owned.number)]
            try:
                async with asyncio.timeout(_SAMPLE_S):
                    ends = await self._probe.end_offsets(inputs or self._any_inputs())
                self._is_kafka_there = True
            except (KafkaError, OSError, TimeoutError):
                self._is_kafka_there = False
            else:
                lag = sum(
                    max(0, ends[one] - owned.committed[one.topic])
                    for owned in running
                    for one in self._inputs(owned.number)
                )
                self._emit(LagMeasured(group=self._plan.group, lag_records=lag))
            await asyncio.sleep(_MEASURE_EVERY_S)

    def _any_inputs(self) -> list[TopicPartition]:
        return [TopicPartition(topic, 0) for topic in self._plan.topics]

    def _pause_full(self) -> None:
        for owned in self._running():
            self._consumer.pause(*(TopicPartition(topic, owned.number) for topic in owned.full_topics()))

    def _resume(self, partition: TopicPartition) -> None:
        if partition in self._consumer.paused():
            self._consumer.resume(partition)

    def _running(self) -> Iterator[OwnedNumber]:
        for life in list(self._lives.values()):
            if life.owned is not None and isinstance(life.state, Running):
                yield life.owned

    def _restart(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            if number in self._lives:
                self._consumer.pause(*self._inputs(number))
                self._drop([number])
                self._start(number)

    # -- what it tells -----------------------------------------------------------------------------------------------

    def condition(self) -> Condition:
        """Ready while it is a member of the group and every number that it owns is running."""
        if not self._is_kafka_there:
            return Condition(name=self._plan.group, is_ready=False, reason="Kafka does not answer")
        if not self._is_assigned:
            return Condition(name=self._plan.group, is_ready=False, reason="waiting for its partitions")
        reasons = dict(self._parked)
        for number, life in self._lives.items():
            if not isinstance(life.state, Running):
                reasons[number] = life.told_state
        told = "; ".join(f"number {number}: {reason}" for number, reason in sorted(reasons.items()))
        return Condition(name=self._plan.group, is_ready=not reasons, reason=told)

    def stalled_s(self) -> float:
        now_s = monotonic()
        return max((now_s - owned.waiting_since_s for owned in self._running() if owned.has_work), default=0.0)
