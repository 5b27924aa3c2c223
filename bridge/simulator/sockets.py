"""The suggestion sockets of the simulated Genesys: who gets one, what its client says, and how it ends."""

import asyncio
from collections.abc import Collection
from typing import Literal

import msgspec
from websockets.http11 import Request

from bridge.simulator.door import Door, TurnedAway
from bridge.simulator.feed import Feed
from bridge.simulator.memory import Remembered
from bridge.simulator.outlet import Outlet, SentFrame
from bridge.simulator.requests import ErrorFrame, Subscribe, Unsubscribe, decode_request, subscribed, unsubscribed
from bridge.simulator.socket import Connection
from bridge.simulator.times import Changes, Elapsed, now_ms, wait_for

SOCKET_PATH = "/api/v2/agentassist/websocket"


class Close(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How a socket ended: who sent the first close frame and with what code; 1006 where there was none."""

    socket: int
    code: int
    by: Literal["client", "server"]
    at_ms: int


class Sockets:
    """Takes connections, at most `max_connections`; subscriptions of `refuse` are answered with an error."""

    def __init__(
        self,
        *,
        door: Door,
        feed: Feed,
        max_connections: int,
        refuse: Collection[str],
        heartbeat_s: float,
        patience_s: float,
        elapsed: Elapsed,
        changes: Changes,
    ) -> None:
        self.sent: Remembered[SentFrame] = Remembered()
        self.closes: Remembered[Close] = Remembered()
        self.pauses = 0
        self.paused_s = 0.0
        self._door = door
        self._feed = feed
        self._max_connections = max_connections
        self._refuse = frozenset(refuse)
        self._heartbeat_s = heartbeat_s
        self._patience_s = patience_s
        self._elapsed = elapsed
        self._changes = changes
        self._connections: set[Connection] = set()
        self._outlets: dict[Connection, Outlet] = {}
        self._opened = 0
        self._tasks: asyncio.TaskGroup | None = None

    @property
    def open_count(self) -> int:
        """How many sockets are open: accepted, and no close frame sent or received yet."""
        return sum(connection.is_open for connection in self._outlets)

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Takes connections from now on; each lives in a task of its own."""
        self._tasks = tasks

    async def stop(self, *, timeout_s: float) -> None:
        """Closes all connections with 1001, resets those that are still there after `timeout_s`, takes no more."""
        self._tasks = None
        self.close_all(1001)
        try:
            await self._changes.until(lambda: not self._connections, timeout_s=timeout_s)
        except TimeoutError:
            for connection in list(self._connections):
                connection.abort()

    def close_all(self, code: int) -> None:
        """Closes every open socket with a close code."""
        for connection in list(self._outlets):
            connection.close(code)

    def abort_all(self, *, mid_frame: bool = False) -> None:
        """Resets the TCP connection of every open socket, after half a frame or not."""
        for connection in list(self._outlets):
            if mid_frame:
                connection.write_half_a_frame()
            connection.abort()

    def mute_all(self) -> None:
        """Makes every open socket half-open."""
        for connection in list(self._outlets):
            connection.mute()

    # -- what the connections tell -------------------------------------------------------------------------------------

    def knocked(self, connection: Connection, request: Request) -> None:
        """A client asks for a socket."""
        self._connections.add(connection)
        if self._tasks is None:
            connection.reject(503)
        else:
            self._tasks.create_task(self._attend(connection, request))

    def heard(self, connection: Connection, text: bytes) -> None:
        """A client has said something."""
        outlet = self._outlets[connection]
        match decode_request(text):
            case Subscribe(interaction_id=interaction_id) as request if interaction_id in self._refuse:
                self._say(connection, _refusal_of(request))
            case Subscribe() as request:
                connection.write(subscribed(request), is_text=True)
                self._feed.subscribe(outlet, request.interaction_id)
            case Unsubscribe() as request:
                self._feed.unsubscribe(outlet, request.interaction_id)
                connection.write(unsubscribed(request), is_text=True)
            case ErrorFrame() as error:
                self._say(connection, error)

    def ended(self, connection: Connection) -> None:
        """A TCP connection is gone."""
        self._connections.discard(connection)
        outlet = self._outlets.pop(connection, None)
        if outlet is not None:
            self.pauses += outlet.pauses
            self.paused_s += outlet.paused_s
            self.closes.add(_close_of(outlet))
            self._feed.remove(outlet)
        self._changes.tell()

    # -- inside --------------------------------------------------------------------------------------------------------

    async def _attend(self, connection: Connection, request: Request) -> None:
        delay_s = self._door.delay_s("handshake", request.path.partition("?")[0])
        if await wait_for(connection.lost, timeout_s=delay_s):
            return
        if self._door.aborts():
            connection.abort()
            return
        refusal = self._refusal(request)
        if refusal is not None:
            connection.reject(refusal.status, headers=refusal.headers(), body=refusal.body or "")
            self._door.note("handshake", refusal.status)
            return
        status = connection.accept(request)
        self._door.note("handshake", status)
        if status == 101:
            await self._open(connection).deliver(heartbeat_s=self._heartbeat_s, patience_s=self._patience_s)

    def _refusal(self, request: Request) -> TurnedAway | None:
        path = request.path.partition("?")[0]
        if path != SOCKET_PATH:
            return TurnedAway(404)
        refusal = self._door.scripted("handshake", path)
        refusal = refusal or self._door.unauthorized(request.headers.get("Authorization", ""))
        if refusal is None and self.open_count >= self._max_connections:
            return TurnedAway(429, "1")
        return refusal

    def _open(self, connection: Connection) -> Outlet:
        self._opened += 1
        outlet = Outlet(self._opened, connection, log=self.sent, changes=self._changes, elapsed=self._elapsed)
        self._outlets[connection] = outlet
        self._feed.add(outlet)
        return outlet

    def _say(self, connection: Connection, error: ErrorFrame) -> None:
        connection.write(msgspec.json.encode(error), is_text=True)


def _refusal_of(request: Subscribe) -> ErrorFrame:
    return ErrorFrame(
        code="forbidden",
        message="suggestions for this interaction are not allowed",
        request_id=request.request_id,
        interaction_id=request.interaction_id,
    )


def _close_of(outlet: Outlet) -> Close:
    by_server = outlet.connection.closed_by_server
    by: Literal["client", "server"] = "client" if by_server is None else "server"
    code = outlet.connection.closed_by_client if by_server is None else by_server
    return Close(socket=outlet.number, code=1006 if code is None else code, by=by, at_ms=now_ms())
