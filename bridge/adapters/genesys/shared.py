"""What the sockets of one process have in common."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bridge.adapters.genesys.options import Options
from bridge.adapters.genesys.stopping import Stop
from bridge.core.duplicates import Duplicates
from bridge.core.reconnect import Backoff
from bridge.ports import Clock, Emit


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What stands in for what a subscription leaves open."""

    context_window_s: float
    suggestion_types: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class Shared:
    """Options, the world, and what the sockets must know of each other. `chance` gives 0 to 1."""

    options: Options
    defaults: Defaults
    max_frame_bytes: int
    clock: Clock
    monotonic: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    chance: Callable[[], float]
    emit: Emit
    stop: Stop
    duplicates: Duplicates
    open_sockets: int = 0
    had_good_start: bool = False

    @property
    def backoff(self) -> Backoff:
        """How long the options let tries wait."""
        options = self.options
        return Backoff(
            first_s=options.reconnect_first_s,
            cap_s=options.reconnect_cap_s,
            jitter_s=options.reconnect_jitter_s,
            poll_s=options.quota_poll_s,
        )
