"""A WebSocket connection that cuts messages straight out of what TCP brings, and takes no more than it can hold."""

import asyncio
from collections import deque
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.frames import CloseCode
from websockets.protocol import State

# Larger frames are left to the library, which collects what comes in pieces.
_MAX_CUT_BYTES = 64 * 1024
# One TCP read may bring 100,000 small frames: after so many, others have their turn, and a pause may begin.
_MAX_AT_A_TIME = 256
_MAX_FRAGMENTS = 4_096
# Beyond it a peer pings and does not read the pongs.
_MAX_UNSENT_BYTES = 256 * 1024
_END_OF_HEAD = b"\r\n\r\n"
# RFC 6455 section 5.2: a final frame, text or binary, without extension bits.
_WHOLE_MESSAGES = (0x81, 0x82)
_FIRST_CONTROL_OPCODE = 0x8


class FrameConnection(ClientConnection):
    """A client's connection that gives every message as bytes, text and binary alike.

    The library takes 3 microseconds for a frame, and inflates and holds all that one TCP read brings. Here a message of
    one frame, neither masked nor compressed nor large, is cut out in a tenth of that. All else (handshake, control
    frames, fragments, permessage-deflate, faults) is the library's, a frame at a time; nothing more is taken while a
    message that it has made waits, because what a compressed one becomes is not known before.

    Make it with `max_queue=None`: it is this class that pauses reading.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.waiting: deque[bytes] = deque()
        """Messages that `recv` would return next, without a wait."""
        self._unread = b""
        self._at = 0
        self._owed_bytes = 0
        self._fragments = 0
        self._made_by_library = 0
        self._is_open = False
        self._is_over = False
        self._is_lost = False
        self._is_held_back = False
        self._awaited: asyncio.Future[None] | None = None

    async def recv(self, decode: bool | None = None) -> bytes:  # type: ignore[override]  # noqa: ARG002, FBT001
        """The next message; raises ConnectionClosed. Cancelled, it loses nothing. One call at a time."""
        while not self.waiting:
            if self._is_message_made or (self._is_over and self._made_by_library):
                message = await super().recv(decode=False)
                self._made_by_library -= 1
                return message
            if self._is_held_back:
                await asyncio.sleep(0)
                self._take()
            elif self._is_lost:
                return await super().recv(decode=False)  # It raises what the connection ended with.
            else:
                await self._until_more()
        return self.waiting.popleft()

    async def _until_more(self) -> None:
        self.transport.resume_reading()
        self._awaited = self.loop.create_future()
        try:
            await self._awaited
        finally:
            self._awaited = None

    def _wake(self) -> None:
        if self._awaited is not None and not self._awaited.done():
            self._awaited.set_result(None)

    # -- what the transport tells --------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Takes as much as there is room for."""
        self._unread = self._unread[self._at :] + data if self._at < len(self._unread) else data
        self._at = 0
        if self._is_open or self._has_opened():
            self._take()

    def eof_received(self) -> None:
        """Ends what was being received. Of what is held back, only what can be cut will be read."""
        if not self._is_held_back:
            super().data_received(self._unread[self._at :])
        super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wakes whoever waits for more."""
        super().connection_lost(exc)
        self._is_lost = True
        self._wake()

    def _has_opened(self) -> bool:
        # Frames may follow the answer to the handshake in the same read.
        end = self._unread.find(_END_OF_HEAD) + len(_END_OF_HEAD)
        if end < len(_END_OF_HEAD):
            if len(self._unread) <= _MAX_CUT_BYTES:
                return False
            end = len(self._unread)
        super().data_received(self._unread[:end])
        self._at, self._is_open = end, True
        self._is_over = self.protocol.state is not State.OPEN
        return True

    # -- taking --------------------------------------------------------------------------------------------------------

    def _take(self) -> None:
        """Takes frames until the rest is no whole one, or there are enough for now."""
        self._is_held_back = False
        for _ in range(_MAX_AT_A_TIME):
            if not self._has_room or not (self._cut() or self._hand_over()):
                break
        else:
            self._is_held_back = self._at < len(self._unread)
        if self._is_held_back or (self.waiting and self._awaited is None):
            self.transport.pause_reading()
        if self.waiting or self._made_by_library or self._is_held_back:
            self._wake()

    @property
    def _is_message_made(self) -> bool:
        return self._made_by_library > 0 and not self._fragments and not self._owed_bytes

    @property
    def _has_room(self) -> bool:
        has_room = self._is_over or (len(self.waiting) < _MAX_AT_A_TIME and not self._is_message_made)
        self._is_held_back = not has_room and self._at < len(self._unread)
        return has_room

    def _cut(self) -> bool:
        """Takes whole messages as long as there are any; False if there was none."""
        if self._is_over or self._owed_bytes or self._made_by_library:
            return False
        data, begin, keep = self._unread, self._at, self.waiting.append
        at, room, end = begin, _MAX_AT_A_TIME - len(self.waiting), len(data)
        while room and end - at >= 4 and data[at] in _WHOLE_MESSAGES:
            length, start = data[at + 1], at + 2
            if length == 126:
                length, start = data[at + 2] << 8 | data[at + 3], at + 4
            elif length > 126:  # Large, or masked.
                break
            stop = start + length
            if stop > end:
                break
            keep(data[start:stop])
            at, room = stop, room - 1
        self._at = at
        return at > begin

    def _hand_over(self) -> bool:
        """Gives the library the next frame, or what is there of a large one; False if more must come first."""
        size = self._size_for_library()
        if not size:
            return False
        piece = self._unread[self._at : self._at + size]
        if not self._owed_bytes and not self._is_over:
            self._notice(piece[0])
        if self.transport.is_closing():
            return False
        self._at += len(piece)
        self._owed_bytes = size - len(piece)
        super().data_received(piece)
        protocol = self.protocol
        self._is_over = self._is_over or protocol.close_rcvd is not None or protocol.parser_exc is not None
        return True

    def _size_for_library(self) -> int:
        """How many bytes it gets before anything else; 0 where it must wait."""
        there = len(self._unread) - self._at
        if self._is_over or not there:
            return there
        if self._owed_bytes:
            return self._owed_bytes
        size = _size_of_frame(self._unread, self._at)
        return size if size <= there or size > _MAX_CUT_BYTES else 0

    def _notice(self, first: int) -> None:
        """Follows where messages begin and end, by the first byte of a frame."""
        is_final, opcode = first & 0x80, first & 0x0F
        if opcode >= _FIRST_CONTROL_OPCODE:
            if self.transport.get_write_buffer_size() > _MAX_UNSENT_BYTES:
                self._is_over = True
                self.transport.abort()
            return
        self._made_by_library += opcode != 0
        self._fragments = 0 if is_final else self._fragments + 1
        if self._fragments > _MAX_FRAGMENTS:
            self._is_over = True
            self.protocol.fail(CloseCode.MESSAGE_TOO_BIG, "too many fragments")


def _size_of_frame(data: bytes, at: int) -> int:
    """How many bytes the frame at `at` has, its header included; 0 where too little of it is there to tell."""
    if len(data) < at + 2:
        return 0
    length, start = data[at + 1] & 0x7F, at + 2
    if length > 125:
        start += 2 if length == 126 else 8
        if len(data) < start:
            return 0
        length = int.from_bytes(data[at + 2 : start], "big")
    is_masked = data[at + 1] & 0x80
    return start + length + (4 if is_masked else 0) - at
