"""One open connection, from its first frame to its end: reads, sends what is wanted, watches that it lives."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from uuid import uuid4

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from bridge.adapters.genesys.opening import CLOSE_TIMEOUT_S
from bridge.adapters.genesys.stopping import Stop
from bridge.adapters.genesys.wanted import Changes, Wanted
from bridge.core.dialects.agentassist import Notice, Received, Refusal, Session, Suggestions, Unreadable
from bridge.core.events.genesys import (
    NOTICE_TYPES,
    FramesRead,
    FramesUnreadable,
    GenesysErrorTold,
    NoticesRead,
    SocketProvedGood,
    SubscriptionRefused,
    SubscriptionsSent,
)
from bridge.core.reconnect import cause_of_close
from bridge.core.values import Subscription
from bridge.ports import Clock, Emit, Intake

# A socket that has lasted this long is good, even if nobody had a suggestion.
GOOD_AFTER_S = 10.0
_CHANGES_AT_A_TIME = 64
_TICK_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What stands in for what a subscription leaves open."""

    context_window_s: float
    suggestion_types: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a connection ended. `cause` is a row of the reconnect table, or None where we closed it ourselves."""

    code: int
    cause: str | None
    lived_s: float
    was_good: bool


class Traffic:
    """Runs one connection."""

    def __init__(
        self,
        connection: ClientConnection,
        session: Session,
        wanted: Wanted,
        intake: Intake,
        *,
        number: int,
        defaults: Defaults,
        idle_timeout_s: float,
        stop: Stop,
        clock: Clock,
        monotonic: Callable[[], float],
        emit: Emit,
    ) -> None:
        self._connection = connection
        self._session = session
        self._wanted = wanted
        self._intake = intake
        self._number = number
        self._defaults = defaults
        self._idle_timeout_s = idle_timeout_s
        self._stop = stop
        self._clock = clock
        self._monotonic = monotonic
        self._emit = emit
        self._opened_at_s = monotonic()
        self._frames = 0
        self._frames_told = 0
        self._suggestions_seen = False
        self._is_good_told = False
        self._is_paused = False
        self._is_half_open = False
        self._is_closed_by_us = False
        self._notices: Counter[str] = Counter()
        self._unreadable: Counter[str] = Counter()

    @property
    def is_good(self) -> bool:
        """Whether it has carried suggestions or has lasted."""
        return self._suggestions_seen or self._monotonic() - self._opened_at_s >= GOOD_AFTER_S

    async def run(self) -> Ending:
        """Returns how the connection ended, once everything that was read of it has been taken."""
        try:
            async with asyncio.TaskGroup() as group:
                others = [group.create_task(work) for work in (self._send(), self._watch(), self._close_on_stop())]
                ended = await self._read()
                for task in others:
                    task.cancel()
        finally:
            self._connection.transport.abort()
            self._tell_counts()
        return ended

    # -- reading -------------------------------------------------------------------------------------------------------

    async def _read(self) -> Ending:
        # The hot path: nothing here but what each frame needs. Frames are taken as bytes, text and binary alike.
        intake, recv, receive, take, clock = (
            self._intake,
            self._connection.recv,
            self._session.receive,
            self._intake.take,
            self._clock,
        )
        try:
            while True:
                if not intake.may_read and not self._stop.is_set:
                    await self._pause()
                received = receive(await recv(decode=False))
                self._frames += 1
                take(received, at_ms=clock())
                if type(received) is Suggestions:
                    self._suggestions_seen = True
                else:
                    self._look_at(received)
        except ConnectionClosed as error:
            return self._ending(error)

    async def _pause(self) -> None:
        self._is_paused = True
        try:
            async with self._stop.breaks():
                await self._intake.until_readable()
        finally:
            self._is_paused = False

    def _look_at(self, received: Received) -> None:
        match received:
            case Refusal():
                self._refused(received)
            case Notice(type=kind):
                self._notices[kind if kind in NOTICE_TYPES else "other"] += 1
            case Unreadable(dlq_class=dlq_class):
                self._unreadable[dlq_class] += 1

    def _refused(self, refusal: Refusal) -> None:
        interaction_id = refusal.interaction_id
        if interaction_id is None:
            self._emit(GenesysErrorTold(socket=self._number, code=refusal.code))
        elif self._wanted.refuse(interaction_id):
            self._emit(SubscriptionRefused(socket=self._number, interaction_id=interaction_id, code=refusal.code))
            self._intake.finished([interaction_id], reason=f"refused: {refusal.code}", at_ms=self._clock())

    def _ending(self, error: ConnectionClosed) -> Ending:
        theirs, ours = error.rcvd, error.sent
        if theirs is not None and (ours is None or error.rcvd_then_sent):
            code = theirs.code
        else:
            code = ours.code if ours is not None else 1006
        cause: str | None = "half-open" if self._is_half_open else cause_of_close(code)
        if self._is_closed_by_us:
            cause = None
        lived_s = self._monotonic() - self._opened_at_s
        return Ending(code=int(code), cause=cause, lived_s=lived_s, was_good=self.is_good)

    # -- sending -------------------------------------------------------------------------------------------------------

    async def _send(self) -> None:
        try:
            while len(self._wanted):
                await self._wanted.until_changed()
                async with asyncio.timeout(self._idle_timeout_s):
                    await self._send_changes(self._wanted.take_changes(at_most=_CHANGES_AT_A_TIME))
        except ConnectionClosed:
            return  # The reader tells how it ended.
        except TimeoutError:
            self._drop_half_open()
            return
        await self._close()

    async def _send_changes(self, changes: Changes) -> None:
        sent: dict[str, str] = {}
        try:
            for interaction_id in changes.unsubscribe:
                await self._connection.send(self._session.unsubscribe(interaction_id, request_id=str(uuid4())))
            for subscription in changes.subscribe:
                request_id = str(uuid4())
                await self._connection.send(self._subscribe_frame(subscription, request_id=request_id))
                sent[subscription.interaction_id] = request_id
        finally:
            self._tell_sent(sent, unsubscribed=changes.unsubscribe)

    def _subscribe_frame(self, subscription: Subscription, *, request_id: str) -> str:
        return self._session.subscribe(
            subscription,
            request_id=request_id,
            now_ms=self._clock(),
            context_window_s=self._defaults.context_window_s,
            suggestion_types=self._defaults.suggestion_types,
        )

    def _tell_sent(self, sent: Mapping[str, str], *, unsubscribed: Sequence[str]) -> None:
        self._wanted.sent(subscribed=sent, unsubscribed=unsubscribed)
        if sent:
            self._intake.subscribed(list(sent), request_ids=list(sent.values()), at_ms=self._clock())
        if sent or unsubscribed:
            self._emit(
                SubscriptionsSent(
                    socket=self._number,
                    subscribed=len(sent),
                    unsubscribed=len(unsubscribed),
                    subscriptions=self._wanted.live,
                )
            )

    # -- closing and watching ------------------------------------------------------------------------------------------

    async def _close_on_stop(self) -> None:
        await self._stop.wait()
        await self._close()

    async def _close(self) -> None:
        self._is_closed_by_us = True
        await self._connection.close()

    async def _watch(self) -> None:
        """Drops the connection if nothing comes any more, and tells now and then what has come."""
        tick_s = min(_TICK_S, self._idle_timeout_s / 6)
        heard_at_s, frames = self._monotonic(), self._frames
        pong: Awaitable[float] | None = None
        while self._connection.state is State.OPEN:
            await asyncio.sleep(tick_s)
            self._tell_counts()
            silent_s = self._monotonic() - heard_at_s
            # While we don't read, a pong that has come is not seen: the peer's silence is our own doing.
            if self._is_paused or frames != self._frames or _has_come(pong):
                heard_at_s, frames, pong = self._monotonic(), self._frames, None
            elif silent_s >= self._idle_timeout_s:
                self._drop_half_open()
            elif silent_s >= self._idle_timeout_s / 3 and pong is None:
                pong = await self._ping(timeout_s=tick_s)
        await self._drop_unless_closed()

    async def _ping(self, *, timeout_s: float) -> Awaitable[float] | None:
        try:
            async with asyncio.timeout(timeout_s):
                return await self._connection.ping()
        except (TimeoutError, ConnectionClosed):
            return None

    def _drop_half_open(self) -> None:
        self._is_half_open = True
        self._connection.transport.abort()

    async def _drop_unless_closed(self) -> None:
        # After the closing handshake it is the server that ends the connection (RFC 6455 section 7.1.1); some don't.
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._connection.wait_closed()
        except TimeoutError:
            self._connection.transport.abort()

    def _tell_counts(self) -> None:
        number = self._number
        if self._frames > self._frames_told:
            self._emit(FramesRead(socket=number, frames=self._frames - self._frames_told))
            self._frames_told = self._frames
        for kind, frames in self._notices.items():
            self._emit(NoticesRead(socket=number, type=kind, frames=frames))
        for dlq_class, frames in self._unreadable.items():
            self._emit(FramesUnreadable(socket=number, dlq_class=dlq_class, frames=frames))
        self._notices.clear()
        self._unreadable.clear()
        if self.is_good and not self._is_good_told:
            self._is_good_told = True
            self._emit(SocketProvedGood(socket=number))


def _has_come(pong: Awaitable[float] | None) -> bool:
    return isinstance(pong, asyncio.Future) and pong.done()
