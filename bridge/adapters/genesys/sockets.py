"""The connections to Genesys as ingress sees them: the port `Sockets`, on `genesys.max_sockets` real sockets."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from bridge.adapters.genesys.opening import CLOSE_TIMEOUT_S, Opening
from bridge.adapters.genesys.options import Options
from bridge.adapters.genesys.rest import open_rest
from bridge.adapters.genesys.shared import Defaults, Shared
from bridge.adapters.genesys.socket import Socket
from bridge.adapters.genesys.stopping import Stop
from bridge.core.dialects.agentassist import MAX_FRAME_BYTES
from bridge.core.duplicates import Duplicates
from bridge.core.errors import StartError
from bridge.core.values import Subscription
from bridge.ports import Clock, Condition, Emit, Intake

# Above what the closing handshakes take together: they run side by side.
_STOP_TIMEOUT_S = CLOSE_TIMEOUT_S + 1.0


class GenesysSockets:
    """Spreads the interactions over the sockets and keeps those open that have something to carry."""

    def __init__(
        self,
        options: Options,
        *,
        context_window_s: float,
        suggestion_types: tuple[str, ...],
        max_frame_bytes: int = MAX_FRAME_BYTES,
        clock: Clock,
        monotonic: Callable[[], float],
        chance: Callable[[], float],
        emit: Emit,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._shared = Shared(
            options=options,
            defaults=Defaults(context_window_s=context_window_s, suggestion_types=suggestion_types),
            max_frame_bytes=max_frame_bytes,
            clock=clock,
            monotonic=monotonic,
            sleep=sleep,
            chance=chance,
            emit=emit,
            stop=Stop(),
            duplicates=Duplicates(window_s=options.dedup_window_s),
        )
        self._sockets = [Socket(number, self._shared) for number in range(options.max_sockets)]
        self._is_running = False
        self._has_ended = asyncio.Event()

    def subscribe(self, subscriptions: Sequence[Subscription]) -> None:
        """Wants these from now on; a new one goes to the socket that has the fewest."""
        for subscription in subscriptions:
            self._socket_of(subscription.interaction_id).wanted.add(subscription)

    def unsubscribe(self, interaction_ids: Sequence[str]) -> None:
        """Wants these no longer."""
        for interaction_id in interaction_ids:
            self._socket_of(interaction_id).wanted.remove(interaction_id)

    async def run(self, intake: Intake) -> None:
        """Keeps the sockets until `stop`.

        Raises StartError for a permanent refusal before the first good start, or after `genesys.max_tries` failures.
        """
        self._is_running = True
        shared = self._shared
        try:
            async with open_rest(shared.options, clock=shared.clock, emit=shared.emit) as rest:
                opening = Opening(shared.options, rest, clock=shared.clock)
                async with asyncio.TaskGroup() as group:
                    for socket in self._sockets:
                        group.create_task(socket.run(opening, intake))
        except BaseExceptionGroup as errors:
            error = _start_error_in(errors)
            if error is None:
                raise
            raise error from error.__cause__
        finally:
            self._is_running = False
            self._has_ended.set()

    async def stop(self) -> None:
        """Closes the sockets with 1000, reading on until that is answered, at most 2 s each, all at a time."""
        self._shared.stop.set()
        if not self._is_running:
            return
        try:
            async with asyncio.timeout(_STOP_TIMEOUT_S):
                await self._has_ended.wait()
        except TimeoutError:
            return  # Whoever runs this cancels it at the drain deadline.

    def conditions(self) -> Sequence[Condition]:
        """Genesys, ready or with the first reason why not."""
        for socket in self._sockets:
            if socket.trouble is not None:
                return [Condition(name="genesys", is_ready=False, reason=socket.trouble)]
        return [Condition(name="genesys", is_ready=True)]

    def _socket_of(self, interaction_id: str) -> Socket:
        for socket in self._sockets:
            if interaction_id in socket.wanted:
                return socket
        return min(self._sockets, key=lambda socket: len(socket.wanted))


def _start_error_in(errors: BaseExceptionGroup[BaseException]) -> BaseException | None:
    """The error that ended all sockets, where it is a StartError and the only one."""
    starts, others = errors.split(StartError)
    return None if starts is None or others is not None else starts.exceptions[0]
