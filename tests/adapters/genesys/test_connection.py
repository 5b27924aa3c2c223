"""The connection against the library that it builds on: whatever a server sends, both say the same."""

import asyncio
import os
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed, ConnectionClosedOK
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from bridge.adapters.genesys.connection import FrameConnection
from bridge.adapters.genesys.deflate import DeflateFactory

_MAX_BYTES = 200_000
_CHUNKS = st.lists(st.integers(1, 400), min_size=1, max_size=40)


class FakeTransport(asyncio.Transport):
    """Takes what is written, and tells whether reading is paused."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.unsent_bytes = 0
        self.is_paused = False
        self.is_aborted = False

    def write(self, data: Any) -> None:
        self.written += data

    def write_eof(self) -> None:
        pass

    def can_write_eof(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return self.unsent_bytes

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def is_closing(self) -> bool:
        return self.is_aborted

    def abort(self) -> None:
        self.is_aborted = True


class Heard(NamedTuple):
    """All messages, how the connection ended, and what was answered."""

    messages: list[bytes]
    ending: str
    answered: bytes


def _connection(kind: type[ClientConnection]) -> ClientConnection:
    protocol = ClientProtocol(parse_uri("ws://localhost/"), extensions=[DeflateFactory()], max_size=_MAX_BYTES)
    return kind(protocol, max_queue=None)


def _answer(request: bytes) -> bytes:
    """What a server answers to a handshake, compression agreed upon."""
    from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory  # noqa: PLC0415

    server = ServerProtocol(extensions=[ServerPerMessageDeflateFactory()])
    server.receive_data(request)
    (asked,) = server.events_received()
    assert isinstance(asked, Request)
    server.send_response(server.accept(asked))
    return b"".join(server.data_to_send())


@asynccontextmanager
async def _shaken(
    kind: type[ClientConnection], *, then: bytes = b""
) -> AsyncIterator[tuple[ClientConnection, FakeTransport]]:
    """An open connection; `then` came in the same read as the answer to the handshake."""
    connection, transport = _connection(kind), FakeTransport()
    connection.connection_made(transport)
    shaking = asyncio.create_task(connection.handshake())
    while not transport.written:
        await asyncio.sleep(0)
    answer = _answer(bytes(transport.written))
    transport.written.clear()
    connection.data_received(answer + then)
    await shaking
    try:
        yield connection, transport
    finally:
        if not connection.connection_lost_waiter.done():
            connection.connection_lost(None)


async def _hear(kind: type[ClientConnection], data: bytes, sizes: Sequence[int], *, with_answer: int) -> Heard:
    """What a connection makes of bytes that come in pieces, and end there."""
    messages: list[bytes] = []
    async with _shaken(kind, then=data[:with_answer]) as (connection, transport):
        reading = asyncio.create_task(_read_all(connection, messages))
        at = with_answer
        for size in [*sizes, len(data)]:
            while transport.is_paused:
                await asyncio.sleep(0)
            if at < len(data):
                connection.data_received(data[at : at + size])
            at += size
            await asyncio.sleep(0)
        while transport.is_paused:
            await asyncio.sleep(0)
        connection.eof_received()
        connection.connection_lost(None)
        ending = await reading
    return Heard(messages, ending, _unmasked(bytes(transport.written)))


async def _read_all(connection: ClientConnection, messages: list[bytes]) -> str:
    try:
        while True:
            messages.append(await connection.recv(decode=False))
    except ConnectionClosed as error:
        return f"{type(error).__name__} {error.rcvd} {error.sent} {error.rcvd_then_sent}"


def _unmasked(written: bytes) -> bytes:
    """The frames that a client wrote, without their masks, which are random."""
    server = ServerProtocol(max_size=None)
    server.state = server.state.OPEN
    server.parser = super(ServerProtocol, server).parse()
    next(server.parser)
    server.receive_data(written)
    return b"|".join(b"%d:%b" % (one.opcode, one.data) for one in server.events_received() if isinstance(one, Frame))


def _raw(first: int, body: bytes, *, spelled: int | None = None, is_masked: bool = False) -> bytes:
    """A frame with any first byte; `spelled` is a length that it only claims to have."""
    length = len(body) if spelled is None else spelled
    mask = 0x80 if is_masked else 0
    if length < 126:
        head = bytes((first, mask | length))
    elif length < 65_536:
        head = bytes((first, mask | 126)) + length.to_bytes(2, "big")
    else:
        head = bytes((first, mask | 127)) + length.to_bytes(8, "big")
    return head + (b"\0\0\0\0" if is_masked else b"") + body


def _compressed(body: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-15)
    return (deflater.compress(body) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]


_BODIES = st.binary(max_size=300) | st.sampled_from([b"", b"{}", b"x" * 125, b"x" * 126, b"x" * 65_535, b"x" * 65_536])
_MESSAGES = st.builds(_raw, st.sampled_from([0x81, 0x82]), _BODIES)
_FRAGMENTED = st.lists(_BODIES, min_size=1, max_size=4).map(
    lambda parts: b"".join(
        _raw((0x00 if number else 0x01) | (0x80 if number == len(parts) - 1 else 0), part)
        for number, part in enumerate(parts)
    )
)
_COMPRESSED = _BODIES.map(lambda body: _raw(0xC1, _compressed(body)))
_CONTROLS = st.builds(_raw, st.sampled_from([0x89, 0x8A]), st.binary(max_size=125))
_CLOSES = st.sampled_from([1000, 1001, 1002, 1011, 4001, 999, 1005]).map(
    lambda code: _raw(0x88, code.to_bytes(2, "big") + b"why")
)
_STRANGE = st.one_of(
    st.builds(_raw, st.integers(0, 255), st.binary(max_size=140), is_masked=st.booleans()),
    st.builds(_raw, st.just(0x82), st.binary(max_size=5), spelled=st.integers(0, 2**63)),
    st.binary(max_size=20),
)
_POLITE = st.lists(st.one_of(_MESSAGES, _MESSAGES, _FRAGMENTED, _COMPRESSED, _CONTROLS), max_size=12)
_STREAMS = st.tuples(_POLITE, st.lists(_CLOSES | _STRANGE, max_size=2), _POLITE).map(
    lambda parts: b"".join(one for part in parts for one in part)
)


@settings(deadline=None)
@given(data=_STREAMS, sizes=_CHUNKS, with_answer=st.integers(0, 50))
@example(data=_raw(0x81, b"x" * 70_000), sizes=[1], with_answer=3)
@example(data=_raw(0x01, b"a") + _raw(0x89, b"p") + _raw(0x80, b"b") + _raw(0x81, b"c"), sizes=[1], with_answer=0)
@example(data=_raw(0x01, b"a") + _raw(0x81, b"c"), sizes=[1], with_answer=0)
@example(data=_raw(0x81, b"x", spelled=10_000_000), sizes=[1], with_answer=0)
@example(data=_raw(0x81, b"") * 1_000 + _raw(0x88, b"\x03\xe8") + _raw(0x81, b"late"), sizes=[400], with_answer=9)
def test_it_says_what_the_library_says(data: bytes, sizes: list[int], with_answer: int) -> None:
    """Messages, their order, the close code, and what is answered to pings."""

    async def both() -> tuple[Heard, Heard]:
        theirs = await _hear(ClientConnection, data, sizes, with_answer=with_answer)
        return theirs, await _hear(FrameConnection, data, sizes, with_answer=with_answer)

    theirs, ours = asyncio.run(both())
    assert ours == theirs


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 401 No\r\nContent-Length: 4\r\n\r\nbody", b"garbage\r\n\r\n", b"x" * 70_000]
)
async def test_a_refused_handshake_is_the_librarys(answer: bytes) -> None:
    endings = []
    for kind in (ClientConnection, FrameConnection):
        connection, transport = _connection(kind), FakeTransport()
        connection.connection_made(transport)
        shaking = asyncio.create_task(connection.handshake())
        await asyncio.sleep(0)
        for at in range(0, len(answer), 1_000):
            connection.data_received(answer[at : at + 1_000])
        connection.eof_received()
        connection.connection_lost(None)
        (error,) = await asyncio.gather(shaking, return_exceptions=True)
        endings.append(repr(error))
    assert endings[0] == endings[1]


async def test_an_answer_that_ends_in_its_head_is_the_librarys() -> None:
    connection, transport = _connection(FrameConnection), FakeTransport()
    connection.connection_made(transport)
    shaking = asyncio.create_task(connection.handshake())
    await asyncio.sleep(0)
    connection.data_received(b"HTTP/1.1 101 Swi")
    connection.eof_received()
    connection.connection_lost(None)
    with pytest.raises(Exception, match="valid HTTP response"):
        await shaking


# -- how much is taken -------------------------------------------------------------------------------------------------


async def test_what_one_read_brings_is_taken_in_turns() -> None:
    """100,000 empty messages in 200 KB: others have their turn after 256 of them."""
    async with _shaken(FrameConnection) as (connection, transport):
        frames = cast("FrameConnection", connection)
        reading = asyncio.create_task(connection.recv())
        await asyncio.sleep(0)
        connection.data_received(_raw(0x81, b"{}") * 100_000)
        assert await reading == b"{}"
        assert transport.is_paused
        read = 1
        while read < 100_000:
            assert len(frames.waiting) <= 256
            assert await connection.recv() == b"{}"
            read += 1
        reading = asyncio.create_task(connection.recv())
        await asyncio.sleep(0)
        assert not transport.is_paused, "all is read: more may come"
        reading.cancel()


async def test_only_one_compressed_message_is_inflated_at_a_time() -> None:
    """One read may bring 256 KB, which would make 256 MB."""
    async with _shaken(FrameConnection) as (connection, transport):
        small = _raw(0xC1, _compressed(b"x" * 100_000))
        connection.data_received(small * 50)
        assert transport.is_paused
        assert len(connection.recv_messages.frames) == 1
        for _ in range(50):
            assert len(connection.recv_messages.frames) <= 1
            assert await connection.recv() == b"x" * 100_000


async def test_reading_pauses_while_nobody_asks_for_more() -> None:
    async with _shaken(FrameConnection) as (connection, transport):
        connection.data_received(_raw(0x81, b"one"))
        assert transport.is_paused
        assert await connection.recv() == b"one"
        asking = asyncio.create_task(connection.recv())
        await asyncio.sleep(0)
        assert not transport.is_paused
        connection.data_received(_raw(0x81, b"two"))
        assert await asking == b"two"


async def test_a_recv_that_is_cancelled_loses_nothing() -> None:
    async with _shaken(FrameConnection) as (connection, _):
        for body in (b"one", b"two"):
            asking = asyncio.create_task(connection.recv())
            await asyncio.sleep(0)
            connection.data_received(_raw(0x01, body[:1]) + _raw(0x80, body[1:]))
            asking.cancel()
            await asyncio.wait([asking])
            assert await connection.recv() == body


async def test_a_message_of_endless_fragments_ends_with_1009() -> None:
    async with _shaken(FrameConnection) as (connection, transport):
        reading = asyncio.create_task(connection.recv())
        connection.data_received(_raw(0x01, b""))
        for _ in range(40):
            while transport.is_paused:
                await asyncio.sleep(0)
            connection.data_received(_raw(0x00, b"") * 1_000)
            await asyncio.sleep(0)
        assert len(connection.recv_messages.frames) <= 4_097
        assert transport.written.count(b"\x88") >= 1
        connection.connection_lost(None)
        with pytest.raises(ConnectionClosed) as caught:
            await reading
        assert caught.value.sent is not None
        assert caught.value.sent.code == 1009


async def test_a_peer_that_pings_and_reads_no_pongs_is_dropped() -> None:
    async with _shaken(FrameConnection) as (connection, transport):
        connection.data_received(_raw(0x89, b"?"))
        assert transport.written
        transport.unsent_bytes = 1024 * 1024
        answered = len(transport.written)
        connection.data_received(_raw(0x89, b"?") * 100)
        assert transport.is_aborted
        assert len(transport.written) == answered


async def test_what_is_held_back_at_the_end_is_read_as_far_as_it_can_be_cut() -> None:
    async with _shaken(FrameConnection) as (connection, _):
        connection.data_received(_raw(0x82, b"x") * 600 + _raw(0x88, b"\x03\xe8"))
        connection.eof_received()
        connection.connection_lost(None)
        for _ in range(600):
            assert await connection.recv() == b"x"
        with pytest.raises(ConnectionClosed):
            await connection.recv()


# -- compression -------------------------------------------------------------------------------------------------------


async def test_a_compressed_stream_that_has_ended_is_an_error() -> None:
    """zlib would keep everything that follows, without a bound, and every message would be empty."""
    deflater = zlib.compressobj(wbits=-15)
    ended = deflater.compress(b"first") + deflater.flush(zlib.Z_FINISH)
    async with _shaken(FrameConnection) as (connection, _):
        connection.data_received(_raw(0xC1, ended) + _raw(0xC1, os.urandom(100)))
        connection.connection_lost(None)
        with pytest.raises(ConnectionClosed) as caught:
            await connection.recv()
        assert caught.value.sent is not None
        assert caught.value.sent.code == 1002


async def test_compression_is_agreed_upon_and_goes_on_over_messages() -> None:
    deflater = zlib.compressobj(wbits=-15)
    async with _shaken(FrameConnection) as (connection, _):
        assert [one.name for one in connection.protocol.extensions] == ["permessage-deflate"]
        for body in (b"the same " * 20, b"the same " * 20):
            data = (deflater.compress(body) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]
            connection.data_received(_raw(0xC2, data))
            assert await connection.recv() == body
        connection.data_received(_raw(0x88, b"\x03\xe8"))
        connection.connection_lost(None)
        with pytest.raises(ConnectionClosedOK):
            await connection.recv()


def test_frames_are_those_of_the_library() -> None:
    """The corpus of this file is made as the library makes frames."""
    for opcode, first in ((Opcode.TEXT, 0x81), (Opcode.BINARY, 0x82), (Opcode.PING, 0x89)):
        assert Frame(opcode, b"x" * 120).serialize(mask=False) == _raw(first, b"x" * 120)
