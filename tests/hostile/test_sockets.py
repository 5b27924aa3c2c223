"""Hostile bytes on a real socket: records, dead letters or a documented end; then the next good frame is written."""

import asyncio
import gzip
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.core.dialects.agentassist import MAX_FRAME_BYTES
from bridge.core.events.genesys import SocketClosed
from bridge.core.events.ingress import ReadingPaused
from bridge.core.reconnect import rule_of
from tests.adapters.genesys.server import GenesysServer, Peer, genesys_server
from tests.hostile.corpus import CORPUS, bomb_of_zeros, dead_letters, frame
from tests.hostile.stage import RAW, Stage, staged
from tests.hostile.streams import (
    BINARY,
    COMPRESSED,
    CONTINUATION,
    CUTS,
    FINAL,
    PING,
    STREAMS,
    TEXT,
    compressed,
    deflated,
    fragmented,
    raw,
    text,
)

_MIB = 1024 * 1024


@pytest.fixture
async def genesys() -> AsyncIterator[GenesysServer]:
    async with genesys_server() as server:
        yield server


async def _write(peer: Peer, *pieces: bytes) -> None:
    """Sends bytes as they are, as fast as the client takes them; ends early where it has gone."""
    with suppress(ConnectionError):
        for data in pieces:
            for at in range(0, len(data), 65_536):
                if peer._writer.is_closing():
                    return
                peer._writer.write(data[at : at + 65_536])
                await peer._writer.drain()


@contextmanager
def _at_most(bound_bytes: int) -> Iterator[None]:
    """The block never takes so much memory more, server and test included."""
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < bound_bytes, f"{peak / _MIB:.0f} MiB"


def _causes(stage: Stage) -> list[str]:
    causes = [event.cause for event in stage.events if isinstance(event, SocketClosed)]
    assert all(rule_of(cause) for cause in causes), "each end is a row of the table"
    return causes


# -- frame by frame ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [FINAL | TEXT, FINAL | BINARY])
async def test_the_corpus_is_written_or_set_aside_one_by_one_and_the_socket_lives(
    genesys: GenesysServer, first: int
) -> None:
    """D7: in order, byte for byte up to the frame bound, each dead letter with its class and its whole size."""
    async with staged(genesys) as stage:
        peer = await stage.peer()
        for hostile in CORPUS.values():
            await _write(peer, raw(first, hostile.data))
        await stage.survives()
        letters = [
            (letter.value, dict(letter.headers)["x-dlq-class"], dict(letter.headers)["x-dlq-size"])
            for letter in stage.dead_letters()
        ]
        assert letters == [
            (one.data[:MAX_FRAME_BYTES], one.becomes.encode(), b"%d" % len(one.data)) for _, one in dead_letters()
        ]
        written = [one.data for one in CORPUS.values() if one.becomes == "suggestions"]
        inflated = [gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data for data in written]
        assert stage.values(RAW)[:-1] == inflated
        assert _causes(stage) == []


async def test_frames_before_any_subscription_and_for_nobody_are_written(genesys: GenesysServer) -> None:
    async with staged(genesys) as stage:
        peer = await genesys.peer(0)
        early = frame(b"[1]", interaction_id=b'"never asked for"')
        await _write(peer, text(early) + text(b'{"type":"error","interactionId":"never asked for","code":"no"}'))
        await stage.survives()
        assert stage.values(RAW)[0] == early


async def test_control_frames_between_fragments_are_answered_and_the_message_is_whole(genesys: GenesysServer) -> None:
    async with staged(genesys) as stage:
        peer = await stage.peer()
        body = frame(b'[{"id":"cut"}]')
        parts = fragmented(body[:7], body[7:8], b"", body[8:])
        await _write(peer, parts[:9] + raw(FINAL | PING, b"?") + raw(FINAL | 0xA, b"unasked") + parts[9:])
        await stage.survives()
        assert stage.values(RAW)[0] == body


async def test_frames_of_nothing_are_dead_letters(genesys: GenesysServer) -> None:
    async with staged(genesys) as stage:
        peer = await stage.peer()
        await _write(peer, text(b"") + fragmented(b"", b"", b"") + raw(FINAL | BINARY, b"") + compressed(b""))
        await stage.survives()
        assert [letter.value for letter in stage.dead_letters()] == [b""] * 4


# -- what ends a connection --------------------------------------------------------------------------------------------

_ENDED_STREAM = zlib.compressobj(wbits=-15).flush(zlib.Z_FINISH)


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        pytest.param(raw(FINAL | TEXT, b"{}", spelled=10_000_000), "oversize", id="10 MB announced"),
        pytest.param(text(b" " * 10_000_000), "oversize", id="10 MB"),
        pytest.param(raw(FINAL | BINARY, b"", spelled=2**63), "oversize", id="8 EiB announced"),
        pytest.param(raw(TEXT, b"") + raw(CONTINUATION, b" " * 60_000) * 200, "oversize", id="fragments without end"),
        pytest.param(raw(TEXT, b"") + raw(CONTINUATION, b"") * 9_000, "oversize", id="empty fragments without end"),
        pytest.param(
            raw(FINAL | COMPRESSED | TEXT, bomb_of_zeros(1024 * _MIB, wbits=-15)), "oversize", id="a deflate bomb"
        ),
        pytest.param(
            raw(COMPRESSED | TEXT, bomb_of_zeros(64 * _MIB, wbits=-15)) + raw(CONTINUATION, b"") * 9_000,
            "oversize",
            id="a deflate bomb in fragments",
        ),
        pytest.param(raw(FINAL | COMPRESSED | TEXT, b"\xff" * 40), "broken", id="deflate that is none"),
        pytest.param(raw(FINAL | COMPRESSED | TEXT, _ENDED_STREAM), "broken", id="a deflate stream that ends"),
        pytest.param(raw(FINAL | TEXT, b"{}", is_masked=True), "broken", id="a masked frame"),
        pytest.param(raw(FINAL | 0x3, b"{}"), "broken", id="a reserved opcode"),
        pytest.param(raw(FINAL | 0x20 | TEXT, b"{}"), "broken", id="a reserved bit"),
        pytest.param(raw(CONTINUATION | FINAL, b"{}"), "broken", id="the end of nothing"),
        pytest.param(raw(TEXT, b"{") + text(b"{}"), "broken", id="a message within a message"),
        pytest.param(raw(FINAL | PING, b"p" * 126), "broken", id="a ping that is too long"),
        pytest.param(raw(PING, b"p"), "broken", id="a ping in fragments"),
        pytest.param(raw(FINAL | 0x8, b"\x03"), "broken", id="a close of one byte"),
        pytest.param(raw(FINAL | 0x8, b"\x03\xe8\xff"), "broken", id="a close whose reason is no UTF-8"),
    ],
)
async def test_what_breaks_the_protocol_ends_the_connection_and_the_next_one_is_good(
    genesys: GenesysServer, data: bytes, cause: str
) -> None:
    """In bounded memory; the gap has the cause, and nothing of it is written."""
    async with staged(genesys) as stage:
        with _at_most(len(data) + 48 * _MIB):
            peer = await stage.peer()
            await _write(peer, data)
            await genesys.seen.until(lambda: peer.is_gone, within_s=20)
        await stage.survives()
        assert _causes(stage) == [cause]
        assert stage.gaps() == [cause]
        assert len(stage.values(RAW)) == 1
        assert stage.dead_letters() == []


async def test_small_bombs_in_one_read_end_the_connection_before_they_fill_the_memory(genesys: GenesysServer) -> None:
    """256 KB of TCP hold 35 messages of 7 MB: before the library can pause they would take 245 MB."""
    bombs = raw(FINAL | COMPRESSED | BINARY, deflated(bytes(7 * _MIB))) * 35
    assert len(bombs) < 256 * 1024
    async with staged(genesys) as stage:
        peer = await stage.peer()
        with _at_most(96 * _MIB):
            await _write(peer, bombs)
            await genesys.seen.until(lambda: peer.is_gone, within_s=20)
        await stage.survives()
        assert _causes(stage) == ["oversize"]


async def test_large_messages_wait_in_the_kernel_while_nothing_is_read(genesys: GenesysServer) -> None:
    """A pause holds few of them, and all are set aside after it."""
    large = text(b" " * (7 * _MIB))
    async with staged(genesys, max_queue_frames=1, pause_max_s=60) as stage:
        peer = await stage.peer()
        stage.writer.go_away()
        peer.send(frame(b"[]"))
        await genesys.seen.until(lambda: any(isinstance(event, ReadingPaused) for event in stage.events))
        with _at_most(96 * _MIB):
            writing = asyncio.create_task(_write(peer, *[large] * 20))
            await asyncio.wait([writing], timeout=1)
            assert not writing.done(), "TCP pushes back"
            stage.writer.come_back()
            await writing
            await stage.writer.until(lambda: len(stage.dead_letters()) == 20)
        await stage.survives()


async def test_a_peer_that_pings_and_reads_no_pongs_is_dropped(genesys: GenesysServer) -> None:
    async with staged(genesys) as stage:
        peer = await stage.peer()
        peer.pause_reading()
        with _at_most(64 * _MIB):
            await _write(peer, raw(FINAL | PING, b"p" * 125) * 200_000)
            await genesys.seen.until(lambda: SocketClosed in {type(event) for event in stage.events}, within_s=20)
        peer.drop()
        await stage.survives()
        assert _causes(stage) == ["half-open"]


# -- floods ------------------------------------------------------------------------------------------------------------


async def test_garbage_without_end_while_kafka_is_away_stays_within_the_buffer(genesys: GenesysServer) -> None:
    """No dead letter is shed; what does not fit stays with the server, and is set aside once Kafka is back."""
    async with staged(genesys, hold_max_bytes=2 * _MIB, pause_max_s=0.1) as stage:
        peer = await stage.peer()
        stage.writer.go_away()
        with _at_most(64 * _MIB):
            writing = asyncio.create_task(_write(peer, text(b"?" * 1_000) * 20_000))
            await genesys.seen.until(lambda: any(isinstance(event, ReadingPaused) for event in stage.events))
            await asyncio.wait([writing], timeout=1)
            assert not writing.done(), "TCP pushes back"
            assert stage.held_bytes() < 2 * _MIB
        stage.writer.come_back()
        await writing
        await stage.survives()
        assert len(stage.dead_letters()) == 20_000


# -- anything ----------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(streams=st.lists(STREAMS, min_size=1, max_size=3), cuts=CUTS)
def test_any_bytes_leave_an_ingress_that_works(streams: list[bytes], cuts: list[int]) -> None:
    """Each stream goes to a socket of its own, and may end in the middle of a frame."""

    async def play() -> None:
        async with genesys_server() as genesys, staged(genesys) as stage:
            for stream in streams:
                peer = await stage.peer()
                at = 0
                for size in [*cuts, len(stream)]:
                    await _write(peer, stream[at : at + size])
                    at += size
                peer.drop()
                await genesys.seen.until(lambda peer=peer: peer.is_gone)  # type: ignore[misc]
            await stage.survives()
            assert len(_causes(stage)) == len(streams)
            assert stage.gaps()
            for letter in stage.dead_letters():
                assert dict(letter.headers)["x-dlq-size"] == b"%d" % len(letter.value or b"")

    asyncio.run(play())


async def test_the_server_of_these_tests_breaks_the_rules(genesys: GenesysServer) -> None:
    """What it writes raw arrives as it is: without this the tests above would prove nothing."""
    async with staged(genesys) as stage:
        peer = await stage.peer()
        await _write(peer, text(b"\xff"))
        await stage.survives()
        assert [letter.value for letter in stage.dead_letters()] == [b"\xff"]
