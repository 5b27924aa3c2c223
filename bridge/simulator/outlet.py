"""One socket of the simulated Genesys as a place to send frames to, and what was sent there."""

import asyncio
import base64
import gzip
from collections import deque
from typing import Literal

import msgspec

from bridge.core.records import digest
from bridge.simulator.memory import Remembered
from bridge.simulator.socket import Connection
from bridge.simulator.times import Changes, Elapsed, now_ms, wait_for

Kind = Literal["suggestions", "garbage", "verbatim"]

_HEARTBEAT = b'{"type":"heartbeat"}'
_OUTBOX_FRAMES = 64
# A client that reads takes a frame within much less; one that takes longer has stopped reading.
PAUSE_S = 0.2


class SentFrame(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A frame that was sent.

    `serial` counts frames as they are made; a frame that went to two sockets stands here twice with one serial.
    `at_ms` is when it was handed to the socket, `completed` whether the kernel took it whole before the connection
    ended. `digest` is `bridge.core.records.digest` of it before any gzip. `body` is base64 of what was sent, only where
    that is not suggestions.
    """

    serial: int
    interaction_id: str | None
    at_ms: int
    kind: Kind
    socket: int
    completed: bool
    encoding: Literal["text", "gzip", "binary"]
    digest: str
    body: str | None = None


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """A frame that was made and waits to be sent."""

    serial: int
    kind: Kind
    plain: bytes
    interaction_id: str | None = None
    is_gzip: bool = False
    is_text: bool = True


class Outlet:
    """A socket: what it has subscribed to, the frames that wait for it, and how often its client stopped reading.

    `log` takes what was sent; sockets share one. `changes` is told after each frame.
    """

    def __init__(
        self, number: int, connection: Connection, *, log: Remembered[SentFrame], changes: Changes, elapsed: Elapsed
    ) -> None:
        self.number = number
        self.connection = connection
        self.interactions: set[str] = set()
        self.pauses = 0
        self.paused_s = 0.0
        self._outbox: deque[Frame] = deque()
        self._log = log
        self._changes = changes
        self._elapsed = elapsed
        self._wake = asyncio.Event()
        self._is_sending = False

    @property
    def has_room(self) -> bool:
        """True while a frame may be put here."""
        return len(self._outbox) < _OUTBOX_FRAMES and self.connection.is_open

    @property
    def is_empty(self) -> bool:
        """True when nothing waits to be sent or to be taken."""
        return not self._outbox and not self._is_sending

    def put(self, frame: Frame) -> None:
        """Sends a frame as soon as those before it were taken."""
        self._outbox.append(frame)
        self._wake.set()

    def drop(self, interaction_id: str) -> None:
        """Unsubscribes, and forgets the frames of this interaction that wait."""
        self.interactions.discard(interaction_id)
        self._outbox = deque(frame for frame in self._outbox if frame.interaction_id != interaction_id)

    def end(self) -> None:
        """The connection is gone: nothing is sent any more."""
        self._outbox.clear()
        self._wake.set()

    async def deliver(self, *, heartbeat_s: float, patience_s: float) -> None:
        """Sends what is put here, and a heartbeat whenever nothing was for `heartbeat_s`, until the socket closes.

        A client that takes nothing for `patience_s` is reset.
        """
        while self.connection.is_open:
            if self._outbox:
                self._is_sending = True
                await self._send(self._outbox.popleft(), patience_s=patience_s)
                self._is_sending = False
                self._changes.tell()
                continue
            self._wake.clear()
            if not await wait_for(self._wake, timeout_s=heartbeat_s):
                self.connection.write(_HEARTBEAT, is_text=True)

    async def _send(self, frame: Frame, *, patience_s: float) -> None:
        body = gzip.compress(frame.plain, mtime=0) if frame.is_gzip else frame.plain
        is_text = frame.is_text and not frame.is_gzip
        if not self.connection.write(body, is_text=is_text):
            return
        sent = SentFrame(
            serial=frame.serial,
            interaction_id=frame.interaction_id,
            at_ms=now_ms(),
            kind=frame.kind,
            socket=self.number,
            completed=False,
            encoding="text" if is_text else "gzip" if body[:2] == b"\x1f\x8b" else "binary",
            digest=digest(frame.plain),
            body=None if frame.kind == "suggestions" else base64.b64encode(body).decode(),
        )
        number = self._log.add(sent)
        if await self._is_taken(patience_s):
            self._log.replace(number, msgspec.structs.replace(sent, completed=True))

    async def _is_taken(self, patience_s: float) -> bool:
        if await self.connection.drained(timeout_s=PAUSE_S):
            return True
        began_s = self._elapsed() - PAUSE_S
        self.pauses += 1
        self._changes.tell()
        is_taken = await self.connection.drained(timeout_s=patience_s - PAUSE_S)
        self.paused_s += self._elapsed() - began_s
        if not is_taken and not self.connection.lost.is_set():
            self.connection.abort()
        return is_taken
