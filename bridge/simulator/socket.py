"""One WebSocket connection in the server's hands, down to its TCP connection.

The ASGI interface of uvicorn neither resets a connection, nor sends text that isn't UTF-8, nor tells when the kernel
has taken a frame; and websockets' own server refuses requests with a body, so it cannot serve the REST pages. So the
sockets are websockets' sans-I/O protocol on an asyncio transport, and uvicorn hands them the connections that ask for
an upgrade (its option `ws` takes a protocol class). REST and sockets share one port that way.
"""

import asyncio
import socket
import struct
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Protocol, cast

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from bridge.simulator.times import wait_for

_CLOSE_TIMEOUT_S = 5.0
_END_TIMEOUT_S = 1.0
# Small, so that a client that stops reading is felt at the rates of a demo and not only after megabytes.
_SEND_BUFFER_BYTES = 32 * 1024
# Only answers to what the client sends wait here, because frames wait for the buffer to be empty.
_MAX_UNREAD_BYTES = 1024 * 1024


class Peer(Protocol):
    """Who is told what a client does. Nothing here may wait."""

    def knocked(self, connection: "Connection", request: Request) -> None:
        """A client asks for a socket: `accept` or `reject` it."""

    def heard(self, connection: "Connection", text: bytes) -> None:
        """A message, text or binary, has arrived whole."""

    def ended(self, connection: "Connection") -> None:
        """The TCP connection is gone; told once for each connection that knocked."""


class Connection(asyncio.Protocol):
    """A WebSocket connection; `lost` is set when its TCP connection is gone."""

    def __init__(self, peer: Peer) -> None:
        self.lost = asyncio.Event()
        self._peer = peer
        self._protocol = ServerProtocol()
        self._transport: asyncio.Transport
        self._writable = asyncio.Event()
        self._writable.set()
        self._fragments: list[bytes] = []
        self._deadline: asyncio.TimerHandle | None = None
        self._has_knocked = False
        self._is_mute = False

    @property
    def is_open(self) -> bool:
        """True between the accepted handshake and the first close frame."""
        return self._protocol.state is State.OPEN

    @property
    def closed_by_client(self) -> int | None:
        """The close code that the client sent first, 1006 where it left without one, None where the server closed."""
        sent, received = self._protocol.close_sent, self._protocol.close_rcvd
        if received is None:
            return 1006 if sent is None else None
        return received.code if self._protocol.close_rcvd_then_sent else None

    @property
    def closed_by_server(self) -> int | None:
        """The close code that the server sent first, or None."""
        sent = self._protocol.close_sent
        return sent.code if sent is not None and not self._protocol.close_rcvd_then_sent else None

    # -- what the server does ------------------------------------------------------------------------------------------

    def accept(self, request: Request) -> int:
        """Answers the handshake; returns the status, which is not 101 where the request is no proper handshake."""
        response = self._protocol.accept(request)
        self._protocol.send_response(response)
        self._flush()
        return response.status_code

    def reject(self, status: int, *, headers: Mapping[str, str] = MappingProxyType({}), body: str = "") -> None:
        """Answers the handshake with another status than 101 and ends the connection."""
        response = self._protocol.reject(status, body)
        response.headers.update(headers)
        self._protocol.send_response(response)
        self._flush()

    def write(self, body: bytes, *, is_text: bool) -> bool:
        """Hands a frame to the transport; False if the socket is no longer open, or mute. Never waits."""
        if not self.is_open or self._is_mute or self._transport.is_closing():
            return False
        if is_text:
            self._protocol.send_text(body)  # As it is: nobody checks that it is UTF-8.
        else:
            self._protocol.send_binary(body)
        self._flush()
        return True

    async def drained(self, *, timeout_s: float) -> bool:
        """Waits until the kernel has taken all that was written; False if the connection or the time ended first."""
        return await wait_for(self._writable, timeout_s=timeout_s) and not self.lost.is_set()

    def close(self, code: int) -> None:
        """Sends a close frame; the connection is reset if the client does not answer within 5 s."""
        if self.is_open:
            self._protocol.send_close(code)
            self._flush()
            self._end_within(_CLOSE_TIMEOUT_S)

    def write_half_a_frame(self) -> None:
        """Hands the first bytes of a text frame of 100 bytes to the transport, and never the others."""
        self._transport.write(b"\x81\x64" + b"x" * 50)

    def mute(self) -> None:
        """Says and hears nothing any more; the TCP connection stays open."""
        self._is_mute = True

    def abort(self) -> None:
        """Resets the TCP connection."""
        # A linger time of 0 makes the kernel send RST instead of FIN.
        raw = self._transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    # -- what the transport tells --------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        raw = transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        # With both limits at 0 the transport tells as soon as the kernel has not taken, or has taken, everything.
        self._transport.set_write_buffer_limits(high=0)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._protocol.receive_eof()
        self.lost.set()
        self._writable.set()
        if self._deadline is not None:
            self._deadline.cancel()
        if self._has_knocked:
            self._peer.ended(self)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def eof_received(self) -> None:
        self._protocol.receive_eof()
        self._flush()

    def data_received(self, data: bytes) -> None:
        if self._is_mute:
            return
        self._protocol.receive_data(data)
        self._flush()
        for event in self._protocol.events_received():
            if isinstance(event, Request):
                self._has_knocked = True
                self._peer.knocked(self, event)
            elif isinstance(event, Frame):
                self._take(event)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _take(self, frame: Frame) -> None:
        if frame.opcode in {Opcode.PING, Opcode.PONG, Opcode.CLOSE}:
            return  # Answered by the protocol itself.
        self._fragments.append(bytes(frame.data))
        if frame.fin:
            text, self._fragments = b"".join(self._fragments), []
            self._peer.heard(self, text)

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if self._transport.is_closing():
                return
            if self._is_mute:
                continue
            if data:
                self._transport.write(data)
            else:
                # Half a close: with all of it, unread data of the client would turn into a reset that eats the answer.
                self._transport.write_eof()
                self._end_within(_END_TIMEOUT_S)
        if self._transport.get_write_buffer_size() > _MAX_UNREAD_BYTES:
            self.abort()

    def _end_within(self, timeout_s: float) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = asyncio.get_running_loop().call_later(timeout_s, self._transport.abort)


def protocol_for(peer: Peer) -> Callable[..., Connection]:
    """What uvicorn's option `ws` takes: makes a connection for each upgrade, whatever arguments uvicorn passes."""

    def make(**_uvicorn: object) -> Connection:
        return Connection(peer)

    return make
