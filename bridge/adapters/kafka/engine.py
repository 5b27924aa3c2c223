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

from bridge.adapters.kafka.clients import Clients
from bridge.adapters.kafka.membership import Membership
from bridge.adapters.kafka.restore import Plan
from bridge.core.errors import UnavailableError
from bridge.core.events.engine import ConsumerRebuilt
from bridge.core.reconnect import full_jitter_s
from bridge.ports import Clock, Condition, Emit

_BACKOFF_FIRST_S = 0.5
_BACKOFF_CAP_S = 30.0


class Engine:
    """Works one hop until `stop`: the port between `ports.Hop` and Kafka."""

    def __init__(self, clients: Clients, plan: Plan, *, clock: Clock, chance: Callable[[], float], emit: Emit) -> None:
        self._clients = clients
        self._plan = plan
        self._clock = clock
        self._chance = chance
        self._emit = emit
        self._stopping = asyncio.Event()
        self._membership: Membership | None = None

    async def run(self) -> None:
        """Works until `stop` was called and everything taken is committed. A consumer that fails is made anew."""
        failures = 0
        while not self._stopping.is_set():
            self._membership = Membership(
                self._clients, self._plan, self._stopping, clock=self._clock, chance=self._chance, emit=self._emit
            )
            try:
                await self._membership.run()
                failures = 0
            except UnavailableError as error:
                failures += 1
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
        """How long the number that waits longest has had records without committing any; 0 with nothing to do."""
        return self._membership.stalled_s() if self._membership else 0.0

    async def _pause(self, pause_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._stopping.wait()
