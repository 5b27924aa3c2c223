"""One consumer in a hop's group: numbers come and go with rebalances, records are fetched and delivered to them."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import IllegalStateError, KafkaError, OffsetOutOfRangeError

from bridge.adapters.kafka.clients import Clients
from bridge.adapters.kafka.idle import IdleLag
from bridge.adapters.kafka.lifecycle import Steering
from bridge.adapters.kafka.log_ends import known_log_ends
from bridge.adapters.kafka.number import OwnedNumber
from bridge.adapters.kafka.numbers import Numbers
from bridge.adapters.kafka.restore import Plan, Restored, Restorer
from bridge.adapters.kafka.start_stop import own_cancellations_only, start_client, stop_clients
from bridge.adapters.kafka.take_over import Endings
from bridge.adapters.kafka.watch import View, Watch
from bridge.core.assignment import workable_numbers
from bridge.core.budget import Budget
from bridge.core.errors import UnavailableError
from bridge.core.events.engine import NumberParked, NumbersAssigned, WorkerStuck
from bridge.core.records import Record
from bridge.core.watchdog import Watchdog
from bridge.ports import Clock, Condition, Emit

_START_S = 30.0
_STOP_S = 10.0
_SAMPLE_S = 2.0
# A position is known at once, unless the client has lost it.
_POSITION_S = 10.0
# Less than half of what a restore waits for an answer: a connection that a firewall has dropped while nothing went over
# it is noticed, and the question comes through on another one.
_REQUEST_TIMEOUT_MS = 4_000
_POLL_MS = 100
# While a record waits for the end of the other topic, positions are looked at more often: a transaction marker moves
# a position without returning a record.
_POLL_WAITING_MS = 10
# The client keeps what it fetched as bytes, twenty times smaller than the records: they are made when there is room.
_POLL_RECORDS = 1_000


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
        watchdog: Watchdog,
        budget_of: Callable[[int], Budget],
        endings: Endings,
        emit: Emit,
    ) -> None:
        self._options = clients.options
        self._plan = plan
        self._stopping = stopping
        self._budget_of = budget_of
        self._emit = emit
        self._consumer: AIOKafkaConsumer = clients.group_consumer(plan.group)
        # Not the group's consumer: its connection is busy with long polls, and its ends would be last stable offsets.
        self._probe: AIOKafkaConsumer = clients.reader(isolation_level="read_uncommitted")
        self._stable_probe: AIOKafkaConsumer = clients.reader()
        self._admin: AIOKafkaAdminClient = clients.admin(request_timeout_ms=_REQUEST_TIMEOUT_MS)
        self._watch = Watch(
            plan,
            probe=self._probe,
            stable_probe=self._stable_probe,
            idle_lag=IdleLag(plan.group, probe=self._probe, admin=self._admin),
            watchdog=watchdog,
            view=self._view,
            on_stuck=self._give_up,
            emit=emit,
        )
        restorer = Restorer(clients, plan, admin=self._admin, endings=endings, clock=clock, emit=emit)
        self._numbers = Numbers(
            Steering(
                group=plan.group,
                heartbeat_s=self._options.heartbeat_interval_ms / 1000,
                restore=restorer.restore,
                adopt=self._adopt,
                begin=self._begin,
                rest=self._rest,
                chance=chance,
                emit=emit,
            ),
            budget_of=budget_of,
        )
        self._parked: dict[int, str] = {}
        self._unworkable: list[TopicPartition] = []
        self._is_assigned = False
        self._is_over = False
        self._room = asyncio.Event()
        self._patience = asyncio.timeout(None)
        self._stuck = ""
        self._listener_error: BaseException | None = None

    async def run(self) -> None:
        """Joins the group and works until the stop; raises UnavailableError when the consumer fails."""
        failure: UnavailableError | None = None
        clients = (self._consumer, self._probe, self._stable_probe, self._admin)
        try:
            for client in clients:
                await start_client(client, timeout_s=_START_S, topics=self._plan.topics)
            async with asyncio.TaskGroup() as tasks:
                self._numbers.open(tasks)
                watching = tasks.create_task(self._watch.run())
                try:
                    await self._work_unless_stuck()
                except UnavailableError as error:
                    failure = error
                finally:
                    watching.cancel()
                    self._numbers.close()
                    self._is_over = True
        finally:
            await stop_clients(*clients, timeout_s=_STOP_S)
        if failure is not None:
            raise failure

    # -- the group's two calls ---------------------------------------------------------------------------------------

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:  # noqa: ARG002 - the listener's shape
        """Everything is revoked (the rebalance is eager): finish and commit what was taken, keep what may come back."""
        self._is_assigned = False
        # Well below the rebalance timeout, after which the group goes on without us.
        budget_s = self._options.rebalance_timeout_ms / 1000 * 0.6
        try:
            await self._numbers.drain(budget_s=budget_s)
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
        counts = {topic: len(self._consumer.partitions_for_topic(topic) or ()) for topic in self._plan.topics}
        workable, self._parked = workable_numbers(assigned, counts, expected=self._plan.partitions)
        self._unworkable = [partition for partition in assigned if partition.partition in self._parked]
        owned = frozenset(self._numbers.owned)
        kept, lost, gained = workable & owned, owned - workable, workable - owned
        self._numbers.drop(lost)
        for number in kept:
            self._numbers.come_back(number)
        for number in sorted(gained):
            self._numbers.start(number)
        for number, reason in self._parked.items():
            self._emit(NumberParked(group=self._plan.group, number=number, reason=reason))
        self._is_assigned = True
        self._emit(
            NumbersAssigned(
                group=self._plan.group, owned=len(workable), gained=len(gained), kept=len(kept), lost=len(lost)
            )
        )

    def _adopt(self, number: int, restored: Restored) -> OwnedNumber:
        budget = self._budget_of(number)
        budget.begin_at(restored.positions)
        return OwnedNumber(
            number,
            topics=self._plan.topics,
            group=self._plan.group,
            writer=restored.writer,
            positions=restored.positions,
            commit_interval_s=self._options.commit_interval_ms / 1000,
            budget=budget,
            emit=self._emit,
            on_room=self._room.set,
        )

    def _begin(self, number: int, positions: Mapping[str, int]) -> None:
        for topic, position in positions.items():
            self._consumer.seek(TopicPartition(topic, number), position)
        self._consumer.resume(*self._inputs(number))

    def _rest(self, number: int) -> None:
        with suppress(IllegalStateError):  # A rebalance has taken them just now.
            self._consumer.pause(*self._inputs(number))

    def _inputs(self, number: int) -> list[TopicPartition]:
        return [TopicPartition(topic, number) for topic in self._plan.topics]

    # -- reading -----------------------------------------------------------------------------------------------------

    async def _work_unless_stuck(self) -> None:
        """Works until the stop; raises UnavailableError where the consumer is of no more use."""
        try:
            async with self._patience:
                with own_cancellations_only():
                    await self._work()
        except TimeoutError as error:
            if self._stuck:
                raise UnavailableError("Kafka", f"{self._stuck} of {self._plan.group} was stuck") from error

    def _give_up(self, what: str) -> None:
        """Ends the work: a poll during a rebalance heeds no timeout of its own, and may be what hangs."""
        if not self._stuck:
            self._stuck = what
            self._emit(WorkerStuck(group=self._plan.group, what=what, stuck_s=self._options.stuck_after_s))
            self._patience.reschedule(asyncio.get_running_loop().time())

    async def _work(self) -> None:
        self._consumer.subscribe(list(self._plan.topics), listener=self)
        while not self._stopping.is_set():
            fetched = await self._fetch()
            self._deliver(fetched)
            await self._move_positions()
            await self._sample()
            if self._listener_error is not None:
                raise self._listener_error
        await self._numbers.drain(budget_s=None)

    async def _fetch(self) -> Mapping[TopicPartition, Sequence[Record]]:
        """What there is of the partitions whose buffers have room.

        The others are not paused: that would throw away what the client has fetched of them already.
        """
        running = list(self._numbers.running())
        wanted = [TopicPartition(topic, owned.number) for owned in running for topic in owned.topics_with_room()]
        if running and not wanted:
            await self._until_room()
            return {}
        some_wait = len(wanted) < len(running) * len(self._plan.topics)
        is_near = some_wait or any(owned.waits_for_an_end for owned in running)
        try:
            return await self._consumer.getmany(  # type: ignore[no-any-return]
                *wanted, timeout_ms=_POLL_WAITING_MS if is_near else _POLL_MS, max_records=_POLL_RECORDS
            )
        except OffsetOutOfRangeError as error:
            # Retention has passed what was not read yet: the restore tells it and starts at what is there.
            self._restart({partition.partition for partition in error.args[0]})
            return {}
        except (KafkaError, OSError) as error:
            raise UnavailableError("Kafka", f"{type(error).__name__} in the group {self._plan.group}") from error

    def _deliver(self, fetched: Mapping[TopicPartition, Sequence[Record]]) -> None:
        running = {owned.number: owned for owned in self._numbers.running()}
        for partition, records in fetched.items():
            if partition.partition in running:
                running[partition.partition].put(partition.topic, records)

    async def _move_positions(self) -> None:
        try:
            async with asyncio.timeout(_POSITION_S):
                for owned in self._numbers.running():
                    for partition in self._inputs(owned.number):
                        # A rebalance has begun meanwhile: what was delivered is finished, the position stays.
                        with suppress(IllegalStateError):
                            owned.read_to(partition.topic, await self._consumer.position(partition))
        except (KafkaError, TimeoutError) as error:
            raise UnavailableError("Kafka", f"no position in the group {self._plan.group}") from error

    async def _sample(self) -> None:
        """Tells the numbers how long the topics' logs were after their records had been fetched."""
        unsampled = [owned for owned in self._numbers.running() if owned.is_unsampled]
        if not unsampled:
            return
        partitions = [partition for owned in unsampled for partition in self._inputs(owned.number)]
        try:
            async with asyncio.timeout(_SAMPLE_S):
                ends = await known_log_ends(self._probe, partitions)
        except (KafkaError, OSError, TimeoutError):
            return  # Asked again after the next fetch; until then nothing unsampled is worked.
        for owned in unsampled:
            known = {one.topic: ends[one] for one in self._inputs(owned.number) if one in ends}
            # Other numbers go on while a partition has no leader.
            if len(known) == len(self._plan.topics):
                owned.sampled(known)

    async def _until_room(self) -> None:
        self._room.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(_POLL_MS / 1000):
                await self._room.wait()

    def _restart(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            if self._is_assigned and number in self._numbers.owned:
                self._consumer.pause(*self._inputs(number))
                self._numbers.drop([number])
                self._numbers.start(number)

    # -- what it tells -----------------------------------------------------------------------------------------------

    def condition(self) -> Condition:
        """Ready while it is a member of the group and every number that it owns is running."""
        if not self._watch.is_kafka_there:
            return Condition(name=self._plan.group, is_ready=False, reason="Kafka does not answer")
        if self._is_over:
            return Condition(name=self._plan.group, is_ready=False, reason="its consumer has stopped")
        if not self._is_assigned:
            return Condition(name=self._plan.group, is_ready=False, reason="waiting for its partitions")
        reasons = self._parked | self._numbers.reasons()
        told = "; ".join(f"number {number}: {reason}" for number, reason in sorted(reasons.items()))
        return Condition(name=self._plan.group, is_ready=not reasons, reason=told)

    def _view(self) -> View:
        """What the watch looks at."""
        if not self._is_assigned:
            return View(numbers=None)
        return View(numbers=self._numbers.seen(), unworkable=self._unworkable)
