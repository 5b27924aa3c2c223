"""Real sockets against the simulated Genesys, with time that stands still."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import structlog
from prometheus_client import CollectorRegistry
from structlog.typing import FilteringBoundLogger
from websockets.asyncio.client import ClientConnection

from bridge.adapters.genesys.options import Options
from bridge.adapters.genesys.sockets import GenesysSockets
from bridge.core.dialects.agentassist import MAX_FRAME_BYTES
from bridge.core.events.genesys import (
    QuotaFull,
    ReconnectScheduled,
    ResumeScheduled,
    SocketOpened,
    TokenRenewed,
)
from bridge.core.events.kinds import Event
from bridge.core.values import Subscription
from bridge.simulator.genesys import CLIENT, GenesysSimulator
from bridge.simulator.script import Burst, Fault
from bridge.telemetry import Telemetry
from tests.adapters.genesys.intake import RecordingIntake
from tests.adapters.genesys.moving import MovingTime
from tests.adapters.genesys.server import Seen
from tests.simulator.speaking import socket_to, token_of

CHANCE = 0.5
INTERACTION = "interaction-1"

_SILENT_LOGGER: FilteringBoundLogger = structlog.wrap_logger(
    structlog.ReturnLogger(), processors=[], wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL)
)

Scheduled = ReconnectScheduled | ResumeScheduled | QuotaFull


@dataclass(slots=True, kw_only=True)
class Play:
    """The sockets at work, and everything around them within reach."""

    genesys: GenesysSimulator
    sockets: GenesysSockets
    intake: RecordingIntake
    time: MovingTime
    seen: Seen
    registry: CollectorRegistry
    task: asyncio.Task[None]
    events: list[Event] = field(default_factory=list)
    guests: list[ClientConnection] = field(default_factory=list)
    _heard: int = 0

    def told(self, *kinds: type[Event]) -> list[Event]:
        """The events of these kinds."""
        return [event for event in self.events if isinstance(event, kinds)]

    @property
    def opened(self) -> int:
        """How many sockets have been opened."""
        return len(self.told(SocketOpened))

    @property
    def tokens(self) -> int:
        """How many tokens have been given."""
        return len(self.told(TokenRenewed))

    def metric(self, name: str, **labels: str) -> float | None:
        """The value of a metric."""
        return self.registry.get_sample_value(name, labels)

    def post(self, *faults: Fault) -> None:
        """These go wrong now."""
        self.genesys.post(*faults)

    async def until_scheduled(self) -> Scheduled:
        """The next event that says that the socket waits."""
        await self.seen.until(lambda: len(self._scheduled) > self._heard)
        self._heard += 1
        return self._scheduled[self._heard - 1]

    async def wait_out(self) -> Scheduled:
        """Lets the next wait pass, and says what it was for."""
        scheduled = await self.until_scheduled()
        delay_s = delay_of(scheduled)
        await self.time.until_someone_sleeps(delay_s)
        self.time.advance(delay_s)
        return scheduled

    async def until_subscribed(self, sockets: int) -> None:
        """So many sockets have been opened, and the last one has subscribed what is wanted."""
        history = self.intake.history
        await self.seen.until(
            lambda: self.opened == sockets and history(INTERACTION).count("subscribed") == sockets, within_s=20
        )

    async def fill_quota(self) -> None:
        """Another client takes a connection."""
        self.guests.append(await socket_to(self.genesys, await token_of(self.genesys)))

    async def free_quota(self) -> None:
        """It gives it back."""
        open_sockets = self.genesys.state().open_sockets
        await self.guests.pop().close()
        await self.genesys.until(lambda: self.genesys.state().open_sockets < open_sockets)

    async def until_taken_one_more(self) -> None:
        """Genesys sends one frame, and it is taken."""
        taken = len(self.intake.suggestions())
        self.post(Burst(name="one more", frames=1))
        await self.seen.until(lambda: len(self.intake.suggestions()) == taken + 1)

    @property
    def _scheduled(self) -> list[Scheduled]:
        return [event for event in self.events if isinstance(event, ReconnectScheduled | ResumeScheduled | QuotaFull)]


def delay_of(scheduled: Scheduled) -> float:
    """How long a wait is; a full quota is looked at every 5 s."""
    return 5.0 if isinstance(scheduled, QuotaFull) else round(scheduled.delay_s, 6)


@asynccontextmanager
async def playing(
    genesys: GenesysSimulator, *wanted: str, base_url: str | None = None, **changed: Any
) -> AsyncIterator[Play]:
    """Sockets that want these interactions from the start; stopped at the end. Delays are those of the options."""
    seen, registry, events = Seen(), CollectorRegistry(), list[Event]()
    time = MovingTime(seen)
    telemetry = Telemetry(registry, _SILENT_LOGGER)

    def emit(event: Event) -> None:
        events.append(event)
        telemetry.emit(event)
        seen.tell()

    options: dict[str, Any] = {
        "base_url": base_url or genesys.base_url,
        "client_id": CLIENT,
        "client_secret": CLIENT,
        "content_library_id": "library-1",
        "rotate_before_s": 0,
        **changed,
    }
    sockets = GenesysSockets(
        Options(**options),
        context_window_s=300,
        suggestion_types=("knowledge", "process"),
        max_frame_bytes=MAX_FRAME_BYTES,
        clock=time.clock,
        monotonic=time.monotonic,
        sleep=time.sleep,
        chance=lambda: CHANCE,
        emit=emit,
    )
    intake = RecordingIntake(seen)
    sockets.subscribe([Subscription(interaction_id=one) for one in wanted])
    task = asyncio.create_task(sockets.run(intake))
    task.add_done_callback(lambda _: seen.tell())
    play = Play(
        genesys=genesys,
        sockets=sockets,
        intake=intake,
        time=time,
        seen=seen,
        registry=registry,
        task=task,
        events=events,
    )
    try:
        yield play
    finally:
        for guest in play.guests:
            await guest.close()
        intake.resume()
        await sockets.stop()
        task.cancel()
        await asyncio.wait([task])
