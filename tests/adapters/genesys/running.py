"""Real sockets against the server for tests, running."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from bridge.adapters.genesys.options import Options
from bridge.adapters.genesys.sockets import GenesysSockets
from bridge.core.dialects.agentassist import MAX_FRAME_BYTES
from bridge.core.events.kinds import Event
from bridge.core.values import Subscription
from tests.adapters.genesys.intake import RecordingIntake
from tests.adapters.genesys.moving import MovingTime
from tests.adapters.genesys.server import GenesysServer

_E = TypeVar("_E", bound=Event)

FAST = {
    "client_id": "client-1",
    "client_secret": "secret-1",
    "content_library_id": "library-1",
    "reconnect_first_s": 0.005,
    "reconnect_cap_s": 0.05,
    "reconnect_jitter_s": 0.005,
    "quota_poll_s": 0.02,
    "request_timeout_s": 5.0,
}


@dataclass(slots=True, kw_only=True)
class Running:
    """The sockets, what they told, and the task that runs them."""

    genesys: GenesysServer
    sockets: GenesysSockets
    intake: RecordingIntake
    events: list[Event]
    task: asyncio.Task[None]

    def told(self, kind: type[_E]) -> list[_E]:
        return [event for event in self.events if isinstance(event, kind)]

    async def until(self, is_so: Callable[[], object], *, within_s: float = 10) -> None:
        await self.genesys.seen.until(is_so, within_s=within_s)

    async def until_taken(self, frames: int) -> None:
        await self.until(lambda: len(self.intake.taken) == frames)

    def within(self, deadline_s: float) -> asyncio.Timeout:
        return asyncio.timeout(deadline_s)

    def want(self, *interaction_ids: str) -> None:
        self.sockets.subscribe([Subscription(interaction_id=one) for one in interaction_ids])


def options_for(genesys: GenesysServer, **changed: object) -> Options:
    return Options(**{"base_url": genesys.base_url, **FAST, **changed})  # type: ignore[arg-type]


@asynccontextmanager
async def running(
    genesys: GenesysServer,
    *wanted: str,
    monotonic: Callable[[], float] = time.monotonic,
    moving: MovingTime | None = None,
    max_frame_bytes: int = MAX_FRAME_BYTES,
    **changed: object,
) -> AsyncIterator[Running]:
    """Sockets that want these interactions from the start; stopped at the end. With `moving`, it has all the time."""
    events: list[Event] = []

    def emit(event: Event) -> None:
        events.append(event)
        genesys.seen.tell()

    sockets = GenesysSockets(
        options_for(genesys, **changed),
        context_window_s=300,
        suggestion_types=("knowledge", "process"),
        max_frame_bytes=max_frame_bytes,
        clock=_now_ms if moving is None else moving.clock,
        monotonic=monotonic if moving is None else moving.monotonic,
        sleep=asyncio.sleep if moving is None else moving.sleep,
        chance=lambda: 0.1,
        emit=emit,
    )
    intake = RecordingIntake(genesys.seen)
    sockets.subscribe([Subscription(interaction_id=one) for one in wanted])
    task = asyncio.create_task(sockets.run(intake))
    task.add_done_callback(lambda _: genesys.seen.tell())
    try:
        yield Running(genesys=genesys, sockets=sockets, intake=intake, events=events, task=task)
    finally:
        intake.resume()
        await sockets.stop()
        task.cancel()
        await asyncio.wait([task])


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
