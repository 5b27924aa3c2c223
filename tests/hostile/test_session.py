"""Any bytes through the dialect, without a socket: known outcomes, in bounded time and memory."""

import gzip
import json
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core import ranking
from bridge.core.dialects.agentassist import (
    MAX_FRAME_BYTES,
    Notice,
    Received,
    Refusal,
    Session,
    Suggestions,
    Unreadable,
)
from bridge.core.errors import MalformedError
from bridge.workers.intake import RawRecords
from tests.hostile.corpus import CORPUS, Hostile, frame

_AT_MS = 1_767_607_200_000
# What a frame may take in memory beside itself: what it inflates to and its copies on the way.
_ROOM_BYTES = 4 * MAX_FRAME_BYTES
_TIME_S = 2.0
_GOOD = frame(b'[{"id":"s-1","confidence":0.9}]')


def _kind_of(received: Received) -> str:
    match received:
        case Suggestions():
            return "suggestions"
        case Notice():
            return "notice"
        case Refusal():
            return "refusal"
        case Unreadable(dlq_class=dlq_class):
            return dlq_class


@contextmanager
def _bounded(size: int, *, times: int = 1) -> Iterator[None]:
    """The block takes little time, and little memory beside so many times `size`, which is what it was given."""
    tracemalloc.start()
    began_s = time.process_time()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < _ROOM_BYTES + times * size, f"{peak} bytes for {size}"
    assert time.process_time() - began_s < _TIME_S


@pytest.mark.parametrize("name", CORPUS)
def test_a_hostile_frame_becomes_what_it_must_in_bounded_time_and_memory(name: str) -> None:
    """D7; and the socket's memory is as it was: the next frame is read."""
    hostile, session = CORPUS[name], Session()
    with _bounded(len(hostile.data)):
        received = session.receive(hostile.data)
    assert _kind_of(received) == hostile.becomes
    _check(received, hostile.data)
    assert session.receive(_GOOD) == Suggestions(interaction_id="interaction-1", value=_GOOD, occurrence=0)


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, one in CORPUS.items()
        if len(one.data) <= MAX_FRAME_BYTES and not one.data.startswith(b"\x1f\x8b")  # Gzip in gzip is not looked into.
    ],
)
def test_a_hostile_frame_in_gzip_becomes_the_same(name: str) -> None:
    hostile = CORPUS[name]
    assert _kind_of(Session().receive(gzip.compress(hostile.data, mtime=0))) == hostile.becomes


@pytest.mark.parametrize("name", [name for name, one in CORPUS.items() if one.becomes == "suggestions"])
def test_what_is_written_to_raw_suggestions_is_ranked_or_set_aside(name: str) -> None:
    """The ranker gets everything that ingress lets through."""
    received = Session().receive(CORPUS[name].data)
    assert isinstance(received, Suggestions)
    # An object for each suggestion, and the shortest has 2 bytes.
    with _bounded(len(received.value), times=32):
        try:
            ranked = ranking.rank(received.value, at_ms=_AT_MS, options=ranking.Options())
        except MalformedError as error:
            assert error.dlq_class in {"decode", "schema"}  # noqa: PT017 - it may as well not be raised
        else:
            assert ranked.value is None or json.loads(ranked.value)["interactionId"] == received.interaction_id


def _check(received: Received, data: bytes) -> None:
    """What holds for every frame."""
    match received:
        case Suggestions(interaction_id=interaction_id, value=value):
            # Python's own reader refuses numbers of more than 4,300 digits; JSON (RFC 8259) does not.
            assert isinstance(json.loads(value.decode(), parse_int=str), dict)
            record, size = RawRecords(topic="raw-suggestions", partitions=12).make(received, at_ms=_AT_MS)
            assert (record.key, record.value) == (interaction_id.encode(), value)
            assert len(value) <= size < len(value) + 8_192
        case Unreadable(value=value, size=size, reason=reason):
            assert (value, size) == (data[:MAX_FRAME_BYTES], len(data))
            assert reason.isascii()
            assert len(reason) < 100
        case Notice(type=word) | Refusal(code=word):
            assert len(word) <= 64


# -- anything ----------------------------------------------------------------------------------------------------------

_small = [one.data for one in CORPUS.values() if len(one.data) < 2_000]
_JSON = st.recursive(
    st.sampled_from([b"null", b"true", b"1e999", b"-0", b"NaN", b'"\\ud800"', b'"x"', b"[]", b"{}", b"7" * 400]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda parts: b"[" + b",".join(parts) + b"]")
        | st.lists(
            st.tuples(st.sampled_from([b"id", b"type", b"interactionId", b"suggestions", b"\xff"]), inner), max_size=4
        ).map(lambda pairs: b"{" + b",".join(b'"%b":%b' % pair for pair in pairs) + b"}")
    ),
    max_leaves=10,
)
_SPLICED = st.tuples(
    st.sampled_from(_small),
    st.sampled_from(_small),
    st.integers(0, 2_000),
    st.integers(0, 2_000),
    st.binary(max_size=6),
).map(lambda cut: cut[0][: cut[2]] + cut[4] + cut[1][cut[3] :])
_ANY = st.one_of(st.binary(max_size=400), _JSON, _SPLICED)
_FRAMES = _ANY | _ANY.map(lambda data: gzip.compress(data, mtime=0))


@given(frames=st.lists(_FRAMES, max_size=12))
def test_any_frames_in_any_order_are_received(frames: list[bytes]) -> None:
    """Nothing is raised, each is one of the four things; what came before changes the count of equals alone."""
    session = Session()
    for data in frames:
        received = session.receive(data)
        _check(received, data)
        alone = Session().receive(data)
        if isinstance(received, Suggestions) and isinstance(alone, Suggestions):
            assert received.value == alone.value
            assert received.occurrence <= len(frames)
        else:
            assert received == alone


@given(data=_FRAMES)
def test_whatever_is_let_through_the_ranker_can_tell(data: bytes) -> None:
    received = Session().receive(data)
    if isinstance(received, Suggestions):
        try:
            ranking.rank(received.value, at_ms=_AT_MS, options=ranking.Options())
        except MalformedError as error:
            assert error.dlq_class == "schema"  # noqa: PT017 - it may as well not be raised


def test_interactions_without_end_take_bounded_memory() -> None:
    """A socket that brings another interaction with each frame fills no table without a bound."""
    session, raw = Session(), RawRecords(topic="raw-suggestions", partitions=12)

    def bring(numbers: range) -> int:
        tracemalloc.start()
        try:
            for number in numbers:
                received = session.receive(frame(interaction_id=b'"%064d"' % number))
                assert isinstance(received, Suggestions)
                raw.make(received, at_ms=_AT_MS)
            return tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()

    assert bring(range(17_000)) < 48 * 1024 * 1024
    # From here on what is remembered anew takes the place of what is forgotten, but for the memory of equal frames.
    assert bring(range(17_000, 18_000)) < 8 * 1024 * 1024


def test_the_corpus_has_a_frame_of_each_outcome() -> None:
    outcomes = {one.becomes for one in CORPUS.values()}
    assert outcomes == {"suggestions", "notice", "refusal", "decode", "schema", "inflate", "oversize"}
    assert all(isinstance(one, Hostile) for one in CORPUS.values())
