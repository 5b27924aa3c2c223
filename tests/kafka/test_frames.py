"""What ingress makes of frames that Genesys sends in strange ways, from a real socket to a real broker."""

import base64
import gzip
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from bridge.core.events.ingress import FrameSetAside
from bridge.core.records import header_of
from bridge.simulator.genesys import GenesysSimulator
from bridge.simulator.script import Garbage, SendFrame
from bridge.workers.ingress import Options as IngressOptions
from tests.kafka.cluster import Cluster
from tests.kafka.working import genesys_options, working

pytestmark = pytest.mark.broker

_FRAME = (
    b'{"type":"suggestions","interactionId":"i-1","suggestions":'
    b'[{"id":"s-1","confidence":0.850,"relevanceScore":12345678901234567890}]}'
)


@pytest.fixture
async def genesys() -> AsyncIterator[GenesysSimulator]:
    """It sends nothing but what it is asked for."""
    async with GenesysSimulator(frames_per_s=0) as simulator:
        yield simulator


def sections(genesys: GenesysSimulator) -> dict[str, Any]:
    return {"genesys": genesys_options(genesys), "ingress": IngressOptions(interactions=("i-1",))}


async def until_subscribed(genesys: GenesysSimulator) -> None:
    await genesys.until(lambda: "i-1" in genesys.state().subscriptions, timeout_s=60)


async def test_two_equal_frames_on_one_socket_are_two_records_and_two_lists(
    cluster: Cluster, genesys: GenesysSimulator
) -> None:
    """A socket never repeats a frame: an equal one is a new one, and is counted as one."""
    topics = cluster.topics
    async with working(cluster, "ingress", "ranker", **sections(genesys)):
        await until_subscribed(genesys)
        genesys.post(SendFrame(name="equal", body=_FRAME.decode(), times=2))
        lists = await cluster.read(topics.ranked_suggestions, until=lambda read: len(read) >= 2)
    records = await cluster.read(topics.raw_suggestions)
    assert [record.value for record in records] == [_FRAME] * 2
    assert len({header_of(record, "ce_id") for record in records}) == 2
    assert len({header_of(record, "ce_id") for record in lists}) == 2


async def test_the_same_frame_as_text_gzip_and_binary_is_written_alike(
    cluster: Cluster, genesys: GenesysSimulator
) -> None:
    """T5: what stands on the topic is the frame's JSON, byte for byte."""
    async with working(cluster, "ingress", **sections(genesys)):
        await until_subscribed(genesys)
        genesys.post(SendFrame(name="text", body=_FRAME.decode()), SendFrame(name="binary", body_binary=_FRAME))
        genesys.post(SendFrame(name="gzip", body_binary=gzip.compress(_FRAME)))
        records = await cluster.read(cluster.topics.raw_suggestions, until=lambda read: len(read) >= 3)
    assert [record.value for record in records] == [_FRAME] * 3


async def test_frames_that_nobody_can_read_are_dead_letters_with_their_bytes_and_the_socket_stays(
    cluster: Cluster, genesys: GenesysSimulator
) -> None:
    """T5, D7: text that is not UTF-8 among them."""
    topics = cluster.topics
    not_utf8 = b'{"type":"suggestions","interactionId":"i-1","suggestions":[],"x":"\xff"}'
    async with working(cluster, "ingress", **sections(genesys)) as ingress:
        await until_subscribed(genesys)
        genesys.post(Garbage(name="every kind", count=8), SendFrame(name="binary", body_binary=not_utf8))
        genesys.post(SendFrame(name="good", body=_FRAME.decode()))
        await cluster.read(topics.raw_suggestions, until=bool)
        letters = await cluster.read(topics.dlq_ingress, until=lambda read: len(read) >= 9)
        assert len(ingress.all(FrameSetAside)) == 9
        assert genesys.state().closes == []
    garbage = [frame for frame in genesys.sent if frame.kind == "garbage"]
    bodies = [base64.b64decode(frame.body or "") for frame in garbage]
    texts = [body for frame, body in zip(garbage, bodies, strict=True) if frame.encoding == "text"]
    assert any(map(_is_no_utf8, texts))
    assert sorted(letter.value or b"" for letter in letters) == sorted([*bodies, not_utf8])
    keys = {(header_of(letter, "x-dlq-class"), letter.key) for letter in letters}
    # JSON of another shape may name its interaction. What is not UTF-8 names i-1 here, but is no JSON.
    assert keys == {(b"decode", None), (b"schema", None), (b"schema", b"x"), (b"inflate", None)}
    assert {header_of(letter, "x-dlq-worker") for letter in letters} == {b"ingress"}
    assert {header_of(letter, "x-dlq-class") for letter in letters} == {b"decode", b"schema", b"inflate"}


async def test_a_frame_above_the_bound_is_a_dead_letter_cut_with_its_size(
    cluster: Cluster, genesys: GenesysSimulator
) -> None:
    large = b'{"type":"suggestions","interactionId":"i-1","suggestions":[{"id":"%b"}]}' % (b"x" * 600_000)
    async with working(cluster, "ingress", **sections(genesys)):
        await until_subscribed(genesys)
        genesys.post(SendFrame(name="large", body=large.decode()))
        (letter,) = await cluster.read(cluster.topics.dlq_ingress, until=bool)
    assert header_of(letter, "x-dlq-class") == b"oversize"
    assert header_of(letter, "x-dlq-size") == b"%d" % len(large)
    assert letter.value == large[: 512 * 1024]


async def test_a_stop_tells_the_gap_of_each_subscription_and_closes_with_1000(
    cluster: Cluster, genesys: GenesysSimulator
) -> None:
    """D4."""
    async with working(cluster, "ingress", **sections(genesys)):
        await until_subscribed(genesys)
        genesys.post(SendFrame(name="frame", body=_FRAME.decode()))
        await cluster.read(cluster.topics.raw_suggestions, until=bool)
    await genesys.until(lambda: len(genesys.state().closes) == 1)
    (close,) = genesys.state().closes
    assert (close.code, close.by) == (1000, "client")
    audit = [msgspec.json.decode(record.value or b"") for record in await cluster.read(cluster.topics.suggestion_audit)]
    (gap,) = [one for one in audit if one["event"] == "reception_gap"]
    assert (gap["interactionId"], gap["cause"]) == ("i-1", "stopped")


def _is_no_utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return True
    return False
