"""Exactly once over Kafka for one hop: a consumer group whose partition numbers are each worked in transactions.

aiokafka's transactions do not fence by the group's generation (KIP-447), so each number has a transactional producer of
its own: starting it fences the former owner. The states of a number:

    Restoring ──> Running ──> Draining ──> Parked (kept: it runs again if it comes back, else it is dropped)
        ^            │
        └── Parked <─┘  after a failure, for a while
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic

from bridge.adapters.kafka.clients import Clients
from bridge.adapters.kafka.membership import Membership
from bridge.adapters.kafka.restore import Plan
from bridge.adapters.kafka.take_over import Endings
from bridge.core.budget import Budget
from bridge.core.budget import Options as BudgetOptions
from bridge.core.errors import UnavailableError
from bridge.core.events.engine import ConsumerRebuilt
from bridge.core.reconnect import full_jitter_s
from bridge.core.watchdog import Watchdog
from bridge.ports import Clock, Condition, Emit

_BACKOFF_FIRST_S = 0.5
_BACKOFF_CAP_S = 30.0
# A consumer that has worked for so long was a good one: its failure is a first one.
_GOOD_AFTER_S = 60.0
_BUDGET = BudgetOptions()


class Engine:
    """Works one hop until `stop`: the port between `ports.Hop` and Kafka."""

    def __init__(
        self,
        clients: Clients,
        plan: Plan,
        *,
        clock: Clock,
        chance: Callable[[], float],
        emit: Emit,
        budget: BudgetOptions = _BUDGET,
    ) -> None:
        self._clients = clients
        self._plan = plan
        self._clock = clock
        self._chance = chance
        self._emit = emit
        self._stopping = asyncio.Event()
        self._membership: Membership | None = None
        # These outlive a consumer: a new one is no reason to forgive or forget anything.
        self._watchdog = Watchdog(stuck_after_s=clients.options.stuck_after_s)
        self._budget = budget
        self._budgets: dict[int, Budget] = {}
        self._endings = Endings()

    async def run(self) -> None:
        """Works until `stop` was called and everything taken is committed. A consumer that fails is made anew."""
        failures = 0
        while not self._stopping.is_set():
            self._membership = self._new_membership()
            began_s = monotonic()
            try:
                await self._membership.run()
            except UnavailableError as error:
                failures = 1 if monotonic() - began_s > _GOOD_AFTER_S else failures + 1
                retry_in_s = full_jitter_s(
                    failures, first_s=_BACKOFF_FIRST_S, cap_s=_BACKOFF_CAP_S, chance=self._chance()
                )
                self._emit(ConsumerRebuilt(group=self._plan.group, reason=str(error), retry_in_s=retry_in_s))
                await self._pause(retry_in_s)

    def stop(self) -> None:
        """Takes nothing more; `run` returns once what was taken is finished and committed."""
        self._stopping.set()

    def conditions(self) -> Sequence[Condition]:
        """What `/readyz` says: ready while every number that this process owns is running."""
        if self._membership is None:
            return [Condition(name=self._plan.group, is_ready=False, reason="not started yet")]
        return [self._membership.condition()]

    def stalled_s(self) -> float:
        """How long it has been stuck in spite of a new consumer, after at least twice `kafka.stuck_after_s`; else 0."""
        return self._watchdog.stalled_s(monotonic())

    def _new_membership(self) -> Membership:
        return Membership(
            self._clients,
            self._plan,
            self._stopping,
            clock=self._clock,
            chance=self._chance,
            watchdog=self._watchdog,
            budget_of=self._budget_of,
            endings=self._endings,
            emit=self._emit,
        )

    def _budget_of(self, number: int) -> Budget:
        return self._budgets.setdefault(number, Budget(self._budget))

    async def _pause(self, pause_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._stopping.wait()
