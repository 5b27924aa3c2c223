"""One open connection, from its first frame to its end: reads, sends what is wanted, closes."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import uuid4

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from bridge.adapters.genesys.counts import Counts
from bridge.adapters.genesys.liveness import Liveness
from bridge.adapters.genesys.shared import Shared
from bridge.adapters.genesys.stopping import Stop
from bridge.adapters.genesys.wanted import Carried, Changes, Wanted
from bridge.core.dialects.agentassist import Notice, Received, Refusal, Session, Suggestions, Unreadable
from bridge.core.events.genesys import GenesysErrorTold, SocketProvedGood, SubscriptionRefused, SubscriptionsSent
from bridge.core.reconnect import cause_of_close
from bridge.core.values import Subscription
from bridge.ports import Intake

# A socket that has lasted this long is good, even if nobody had a suggestion.
GOOD_AFTER_S = 10.0
_CHANGES_AT_A_TIME = 64

_Ours = Literal["stopped", "unwanted", "rotated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a connection ended. `cause` is one of the reconnect table; if `is_ours`, it is why we closed it.

    `is_read_up` if everything that Genesys had sent was read: its close frame came, behind all the others. `read_to_ms`
    is when the last frame was read, or else when it was opened.
    """

    code: int
    cause: str
    is_ours: bool
    is_read_up: bool
    read_to_ms: int
    lived_s: float
    was_good: bool


class Traffic:
    """Runs one connection. `caught_up` is set once everything that was wanted has been sent."""

    def __init__(
        self,
        connection: ClientConnection,
        wanted: Wanted,
        carried: Carried,
        intake: Intake,
        *,
        number: int,
        shared: Shared,
    ) -> None:
        self.session = Session(max_frame_bytes=shared.max_frame_bytes)
        self.caught_up = asyncio.Event()
        self._connection = connection
        self._wanted = wanted
        self._carried = carried
        self._intake = intake
        self._number = number
        self._shared = shared
        self._liveness = Liveness(
            connection,
            shared,
            frames=lambda: self._frames,
            is_paused=lambda: self._is_paused,
            on_tick=self._tell,
        )
        self._counts = Counts(number=number, clock=shared.clock, emit=shared.emit)
        self._opened_at_s = shared.monotonic()
        self._frames = 0
        self._read_to_ms = shared.clock()
        self._suggestions_seen = False
        self._is_good_told = False
        self._is_paused = False
        self._closing = Stop()
        self._closed_for: _Ours | None = None

    @property
    def is_good(self) -> bool:
        """Whether it has carried suggestions or has lasted."""
        return self._suggestions_seen or self._shared.monotonic() - self._opened_at_s >= GOOD_AFTER_S

    async def run(self) -> Ending:
        """Returns how the connection ended, once everything that was read of it has been taken."""
        try:
            async with asyncio.TaskGroup() as group:
                work = (self._send(), self._liveness.watch(), self._close_on_stop())
                others = [group.create_task(one) for one in work]
                ended = await self._read()
                for task in others:
                    task.cancel()
        finally:
            self._connection.transport.abort()
            self._tell()
        return ended

    async def until_heard(self) -> None:
        """Waits until Genesys has read all that was sent here, `genesys.idle_timeout_s` at most."""
        await self._liveness.until_heard()

    async def leave(self) -> None:
        """Closes the connection with 1000, because another one has taken over; reads on until that is answered."""
        await self._close("rotated")

    # -- reading -------------------------------------------------------------------------------------------------------

    async def _read(self) -> Ending:
        # The hot path: nothing here but what each frame needs. Frames are taken as bytes, text and binary alike.
        intake, recv, receive, take, clock, windows = (
            self._intake,
            self._connection.recv,
            self.session.receive,
            self._intake.take,
            self._shared.clock,
            self._shared.duplicates.windows,
        )
        try:
            while True:
                if not intake.may_read and not self._closing.is_set:
                    await self._pause()
                data = await recv(decode=False)
                at_ms = clock()
                received = receive(data)
                self._frames += 1
                self._read_to_ms = at_ms
                if windows and self._is_copy(received):
                    continue
                take(received, at_ms=at_ms)
                if type(received) is Suggestions:
                    self._suggestions_seen = True
                else:
                    self._look_at(received)
        except ConnectionClosed as error:
            return self._ending(error)

    async def _pause(self) -> None:
        self._is_paused = True
        try:
            async with self._closing.breaks():
                await self._intake.until_readable()
        finally:
            self._is_paused = False

    def _is_copy(self, received: Received) -> bool:
        if not isinstance(received, Suggestions):
            return False
        shared = self._shared
        is_copy = shared.duplicates.is_copy(received, on=self.session, now_s=shared.monotonic())
        if is_copy:
            self._suggestions_seen = True
            self._counts.suppressed[received.interaction_id] += 1
        return is_copy

    def _look_at(self, received: Received) -> None:
        match received:
            case Refusal():
                self._refused(received)
            case Notice() | Unreadable():
                self._counts.note(received)

    def _refused(self, refusal: Refusal) -> None:
        interaction_id, emit = refusal.interaction_id, self._shared.emit
        if interaction_id is None:
            emit(GenesysErrorTold(socket=self._number, code=refusal.code))
        elif self._carried.refuse(interaction_id):
            emit(SubscriptionRefused(socket=self._number, interaction_id=interaction_id, code=refusal.code))
            self._intake.finished([interaction_id], reason=f"refused: {refusal.code}", at_ms=self._shared.clock())

    def _ending(self, error: ConnectionClosed) -> Ending:
        theirs, ours = error.rcvd, error.sent
        if theirs is not None and (ours is None or error.rcvd_then_sent):
            code = theirs.code
        else:
            code = ours.code if ours is not None else 1006
        cause = "half-open" if self._liveness.is_half_open else cause_of_close(code)
        return Ending(
            code=int(code),
            cause=self._closed_for or cause,
            is_ours=self._closed_for is not None,
            is_read_up=theirs is not None,
            read_to_ms=self._read_to_ms,
            lived_s=self._shared.monotonic() - self._opened_at_s,
            was_good=self.is_good,
        )

    # -- sending -------------------------------------------------------------------------------------------------------

    async def _send(self) -> None:
        try:
            while len(self._wanted):
                await self._carried.until_changed()
                async with asyncio.timeout(self._shared.options.idle_timeout_s):
                    await self._send_changes(self._carried.take_changes(at_most=_CHANGES_AT_A_TIME))
                if self._carried.has_all:
                    self._shared.duplicates.subscribed_all(number=self._number, now_s=self._shared.monotonic())
                    self.caught_up.set()
        except ConnectionClosed:
            return  # The reader tells how it ended.
        except TimeoutError:
            self._liveness.drop()
            return
        await self._close("unwanted")

    async def _send_changes(self, changes: Changes) -> None:
        sent: dict[str, str] = {}
        # Before they are sent: what is asked for first may come while the others are being sent.
        self._shared.duplicates.subscribing(
            (one.interaction_id for one in changes.subscribe), now_s=self._shared.monotonic()
        )
        try:
            for interaction_id in changes.unsubscribe:
                await self._connection.send(self.session.unsubscribe(interaction_id, request_id=str(uuid4())))
            for subscription in changes.subscribe:
                request_id = str(uuid4())
                await self._connection.send(self._subscribe_frame(subscription, request_id=request_id))
                sent[subscription.interaction_id] = request_id
        finally:
            self._tell_sent(sent, unsubscribed=changes.unsubscribe)

    def _subscribe_frame(self, subscription: Subscription, *, request_id: str) -> str:
        return self.session.subscribe(
            subscription,
            request_id=request_id,
            now_ms=self._shared.clock(),
            context_window_s=self._shared.defaults.context_window_s,
            suggestion_types=self._shared.defaults.suggestion_types,
        )

    def _tell_sent(self, sent: Mapping[str, str], *, unsubscribed: Sequence[str]) -> None:
        self._carried.sent(subscribed=sent, unsubscribed=unsubscribed)
        if sent:
            self._intake.subscribed(list(sent), request_ids=list(sent.values()), at_ms=self._shared.clock())
        if sent or unsubscribed:
            self._shared.emit(
                SubscriptionsSent(
                    socket=self._number,
                    subscribed=len(sent),
                    unsubscribed=len(unsubscribed),
                    subscriptions=self._wanted.live,
                )
            )

    # -- closing -------------------------------------------------------------------------------------------------------

    async def _close_on_stop(self) -> None:
        await self._shared.stop.wait()
        await self._close("stopped")

    async def _close(self, why: _Ours) -> None:
        self._closed_for = self._closed_for or why
        self._closing.set()  # From now on even a pause does not keep it from reading: the answer comes last.
        await self._connection.close()

    def _tell(self) -> None:
        self._counts.tell(self._intake, frames=self._frames)
        self._shared.duplicates.tidy(now_s=self._shared.monotonic())
        if self.is_good and not self._is_good_told:
            self._is_good_told = True
            self._shared.emit(SocketProvedGood(socket=self._number))
