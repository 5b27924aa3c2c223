import gzip
import json
import tracemalloc
import zlib
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.core.dialects import agentassist
from bridge.core.dialects.agentassist import (
    MAX_FRAME_BYTES,
    Notice,
    Refusal,
    Session,
    Suggestions,
    Unreadable,
    inflate,
)
from bridge.core.errors import MalformedError
from bridge.core.values import ContextWindow, Subscription

FRAME = (
    b'{"type":"suggestions","interactionId":"interaction-1","suggestions":[{"id":"s1","title":"Reset a router",'
    b'"type":"knowledge","confidence":0.910,"relevanceScore":0.84,"knowledgeArticleId":"a1","unknown":'
    b'12345678901234567890}],"metadata":{"processingLatencyMs":42}}'
)
NOW_MS = 1_767_607_200_000  # 2026-01-05T10:00:00Z


def subscribed(session: Session, interaction_id: str, request_id: str) -> dict[str, Any]:
    frame = session.subscribe(
        Subscription(interaction_id=interaction_id),
        request_id=request_id,
        now_ms=NOW_MS,
        context_window_s=300,
        suggestion_types=("knowledge", "process"),
    )
    decoded: dict[str, Any] = json.loads(frame)
    return decoded


def unreadable(data: bytes, *, session: Session | None = None) -> Unreadable:
    received = (session or Session()).receive(data)
    assert isinstance(received, Unreadable)
    return received


# -- what is sent ------------------------------------------------------------------------------------------------------


def test_a_subscription_is_asked_for_in_the_tutorials_words() -> None:
    """T4: what is left out is filled in, the window ending now."""
    assert subscribed(Session(), "interaction-1", "request-1") == {
        "type": "subscribe",
        "interactionId": "interaction-1",
        "contextWindow": {"start": "2026-01-05T09:55:00.000Z", "end": "2026-01-05T10:00:00.000Z"},
        "suggestionTypes": ["knowledge", "process"],
        "requestId": "request-1",
    }


def test_what_a_subscription_says_itself_is_kept() -> None:
    """T4."""
    frame = Session().subscribe(
        Subscription(
            interaction_id="interaction-1",
            context_window=ContextWindow(start="2026-01-05T09:00:00Z", end="2026-01-05T09:30:00Z"),
            suggestion_types=(),
        ),
        request_id="request-1",
        now_ms=NOW_MS,
        context_window_s=300,
        suggestion_types=("knowledge",),
    )
    assert json.loads(frame)["contextWindow"] == {"start": "2026-01-05T09:00:00Z", "end": "2026-01-05T09:30:00Z"}
    assert json.loads(frame)["suggestionTypes"] == []


def test_the_end_of_a_subscription_is_asked_for() -> None:
    frame = Session().unsubscribe("interaction-1", request_id="request-2")
    assert json.loads(frame) == {"type": "unsubscribe", "interactionId": "interaction-1", "requestId": "request-2"}


# -- suggestions -------------------------------------------------------------------------------------------------------


def test_suggestions_are_carried_byte_for_byte() -> None:
    """T5."""
    assert Session().receive(FRAME) == Suggestions(interaction_id="interaction-1", value=FRAME, occurrence=0)


def test_suggestions_in_gzip_are_carried_inflated() -> None:
    """T5: magic 1f 8b."""
    received = Session().receive(gzip.compress(FRAME))
    assert received == Suggestions(interaction_id="interaction-1", value=FRAME, occurrence=0)


@pytest.mark.parametrize(
    "frame",
    [
        b'{"suggestions":[],"interactionId":"interaction-1"}',
        b'{"type":7,"interactionId":"interaction-1","suggestions":[]}',
        b'{"type":"error","interactionId":"interaction-1","suggestions":[]}',
        b' { "interactionId" : "interaction-1" , "suggestions" : [ null ] } ',
        b'{"interactionId":"other","interactionId":"interaction-1","suggestions":[]}',
        '{"interactionId":"interaction-1","suggestions":["\U0001f600 \u00e9"]}'.encode(),
    ],
)
def test_any_object_with_an_interaction_and_an_array_is_suggestions(frame: bytes) -> None:
    assert Session().receive(frame) == Suggestions(interaction_id="interaction-1", value=frame, occurrence=0)


def test_equal_frames_on_one_socket_are_counted_gzip_or_not() -> None:
    session = Session()
    other = FRAME.replace(b"s1", b"s2")
    received = [session.receive(data) for data in (FRAME, other, gzip.compress(FRAME), FRAME, other)]
    assert [one.occurrence for one in received if isinstance(one, Suggestions)] == [0, 0, 1, 2, 1]


def test_equal_frames_on_two_sockets_are_the_same() -> None:
    assert Session().receive(FRAME) == Session().receive(FRAME)


def test_what_is_remembered_of_frames_is_bounded_and_a_count_never_falls_while_its_frame_is_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(agentassist, "_REMEMBERED", 4)
    session = Session()
    occurrences = []
    for number in range(40):
        session.receive(FRAME.replace(b"s1", b"other-%d" % number))
        received = session.receive(FRAME)
        assert isinstance(received, Suggestions)
        occurrences.append(received.occurrence)
    assert occurrences == list(range(40))
    assert len(session._occurrences._younger) + len(session._occurrences._older) <= 8


# -- notices and refusals ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "kind"),
    [
        (b'{"type":"heartbeat"}', "heartbeat"),
        (b'{"type":"subscribed","interactionId":"interaction-1","requestId":"request-1"}', "subscribed"),
        (b'{"type":"anything","interactionId":{"not":"a string"}}', "anything"),
        (b'{"type":"' + b"x" * 100 + b'"}', "x" * 64),
    ],
)
def test_an_object_with_a_type_and_no_suggestions_is_a_notice(frame: bytes, kind: str) -> None:
    assert Session().receive(frame) == Notice(type=kind)


def test_an_error_names_its_interaction_or_its_request_and_never_its_message() -> None:
    session = Session()
    subscribed(session, "interaction-1", "request-1")
    by_request = session.receive(b'{"type":"error","requestId":"request-1","code":"no","message":"Jane Doe"}')
    assert by_request == Refusal(interaction_id="interaction-1", code="no", request_id="request-1")
    by_interaction = session.receive(b'{"type":"error","interactionId":"interaction-2","code":"no"}')
    assert by_interaction == Refusal(interaction_id="interaction-2", code="no", request_id=None)
    by_both = session.receive(b'{"type":"error","interactionId":"interaction-1","requestId":"request-1","code":"no"}')
    assert by_both == by_request
    by_none = session.receive(b'{"type":"error","code":"no","requestId":"request-9"}')
    assert by_none == Refusal(interaction_id=None, code="no", request_id="request-9")


@pytest.mark.parametrize("named", [b"", b'"interactionId":"interaction-1",'])
def test_an_error_about_a_request_that_was_replaced_ends_nothing(named: bytes) -> None:
    session = Session()
    subscribed(session, "interaction-1", "request-1")
    session.unsubscribe("interaction-1", request_id="request-2")
    subscribed(session, "interaction-1", "request-3")
    for request_id in (b"request-1", b"request-2"):
        received = session.receive(b'{"type":"error",%s"requestId":"%s","code":"no"}' % (named, request_id))
        assert isinstance(received, Refusal)
        assert received.interaction_id is None
    received = session.receive(b'{"type":"error",%s"requestId":"request-3","code":"no"}' % named)
    assert isinstance(received, Refusal)
    assert received.interaction_id == "interaction-1"


@pytest.mark.parametrize(
    ("spelled", "code"),
    [
        (b'"' + b"x" * 100 + b'"', "x" * 64),
        (b"404", "404"),
        (b"9" * 100, "9" * 64),
        (b"9" * 5000, "unknown"),
        (b"1.5", "unknown"),
        (b"null", "unknown"),
        (b'{"a":1}', "unknown"),
    ],
)
def test_an_errors_code_is_kept_short(spelled: bytes, code: str) -> None:
    assert Session().receive(b'{"type":"error","code":%s}' % spelled) == Refusal(
        interaction_id=None, code=code, request_id=None
    )


# -- what cannot be read -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"plain text",
        b"\x00\x01\x02\x03",
        b'{"interactionId":"interaction-1","suggestions":[}',
        b'{"interactionId":"interaction-1","suggestions":[01]}',
        b'{"interactionId":"interaction-1","suggestions":[NaN]}',
        b'{"interactionId":"interaction-1","suggestions":[Infinity]}',
        b'{"interactionId":"interaction-1","suggestions":["\\ud800"]}',
        b'{"interactionId":"interaction-1","suggestions":["\x01"]}',
        b'{"interactionId":"interaction-1","suggestions":["\xff"]}',
        b'{"interactionId":"interaction-1","suggestions":["\xed\xa0\x80"]}',
        b'{"interactionId":"interaction-1","suggestions":[],"unknown":"\xc0\xaf"}',
        b'{"interactionId":"interaction-1","suggestions":[],"unknown":{"a" 1}}',
        b'{"interactionId":"interaction-1","suggestions":[]} and more',
        b'{"interactionId":"\\ud800","suggestions":[]}',
        b'{"interactionId":7,"suggestions":[1,}',
        b'{"suggestions":[]',
        b"[1,",
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
        b'{"interactionId":"interaction-1","suggestions":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"type":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"}",
    ],
)
def test_what_is_no_json_in_utf_8_is_a_decode_fault_with_its_bytes(frame: bytes) -> None:
    """D7: whatever is wrong inside `suggestions` is found here, although it is carried as it came."""
    dead = unreadable(frame)
    assert (dead.dlq_class, dead.value, dead.size) == ("decode", frame, len(frame))


@pytest.mark.parametrize(
    "frame",
    [
        b"7",
        b"null",
        b'"text"',
        b"[]",
        b"{}",
        b'{"type":7}',
        b'{"type":null,"interactionId":"interaction-1"}',
        b'{"suggestions":[]}',
        b'{"suggestions":[],"type":"suggestions"}',
        b'{"interactionId":"interaction-1","suggestions":{}}',
        b'{"interactionId":"interaction-1","suggestions":null,"type":"suggestions"}',
        b'{"interactionId":"","suggestions":[]}',
        b'{"interactionId":7,"suggestions":[]}',
        b'{"interactionId":null,"suggestions":[]}',
        b'{"interactionId":"' + b"x" * 257 + b'","suggestions":[]}',
    ],
)
def test_json_of_another_shape_is_a_schema_fault(frame: bytes) -> None:
    dead = unreadable(frame)
    assert (dead.dlq_class, dead.value, dead.size) == ("schema", frame, len(frame))


@pytest.mark.parametrize(
    ("frame", "dlq_class", "interaction_id"),
    [
        (b'{"interactionId":"i-1","suggestions":{}}', "schema", "i-1"),
        (gzip.compress(b'{"interactionId":"i-1","suggestions":null}'), "schema", "i-1"),
        (b'{"interactionId":"i-1"}', "schema", "i-1"),
        (b'{"interactionId":"","suggestions":[]}', "schema", None),
        (b'{"interactionId":7,"suggestions":[]}', "schema", None),
        (b'["interactionId"]', "schema", None),
        (b'{"interactionId":"i-1","suggestions":[', "decode", None),
    ],
)
def test_a_frame_of_another_shape_tells_the_interaction_that_it_names(
    frame: bytes, dlq_class: str, interaction_id: str | None
) -> None:
    dead = unreadable(frame)
    assert (dead.dlq_class, dead.interaction_id) == (dlq_class, interaction_id)


def test_an_interaction_id_of_256_characters_is_taken() -> None:
    interaction_id = "\u00e9" * 256
    received = Session().receive(f'{{"interactionId":"{interaction_id}","suggestions":[]}}'.encode())
    assert isinstance(received, Suggestions)
    assert received.interaction_id == interaction_id


def test_reasons_quote_nothing() -> None:
    for frame in (b'{"type":7,"title":"Jane Doe"}', b'{"Jane Doe', b'{"suggestions":[],"interactionId":["Jane Doe"]}'):
        assert "Jane" not in unreadable(frame).reason


def test_a_frame_above_the_bound_is_cut_and_tells_its_size() -> None:
    """D7: 512 KiB, the frame's beginning is kept."""
    fits = FRAME.replace(b"Reset", b"R" * (MAX_FRAME_BYTES - len(FRAME) + 5))
    assert len(fits) == MAX_FRAME_BYTES
    assert isinstance(Session().receive(fits), Suggestions)
    dead = unreadable(fits + b" ")
    assert (dead.dlq_class, dead.value, dead.size) == ("oversize", fits, MAX_FRAME_BYTES + 1)


# -- gzip --------------------------------------------------------------------------------------------------------------


def test_a_gzip_bomb_is_refused_at_the_bound_in_bounded_memory() -> None:
    """D7: 1 MB that would inflate to 1 GB."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(deflater.compress(bytes(1 << 20)) for _ in range(1024)) + deflater.flush()
    assert len(bomb) < 1_100_000
    session = Session()
    tracemalloc.start()
    try:
        dead = unreadable(bomb, session=session)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (dead.dlq_class, dead.value, dead.size) == ("inflate", bomb[:MAX_FRAME_BYTES], len(bomb))
    # What was inflated, what is kept of it, and the rest of the input, which zlib hands back.
    assert peak < 3 * MAX_FRAME_BYTES + len(bomb)


def test_gzip_inflates_up_to_the_bound_and_no_further() -> None:
    assert inflate(gzip.compress(b"x" * 1000), max_bytes=1000) == b"x" * 1000
    with pytest.raises(MalformedError, match="more than 999 bytes"):
        inflate(gzip.compress(b"x" * 1000), max_bytes=999)


def test_gzip_of_several_members_is_joined_and_their_sum_is_bounded() -> None:
    members = gzip.compress(b"one") + gzip.compress(b"") + gzip.compress(b"two")
    assert inflate(members, max_bytes=6) == b"onetwo"
    with pytest.raises(MalformedError, match="more than 5 bytes"):
        inflate(members, max_bytes=5)
    assert inflate(gzip.compress(b"") * 16, max_bytes=5) == b""
    with pytest.raises(MalformedError, match="more than 16 members"):
        inflate(gzip.compress(b"") * 17, max_bytes=5)


def test_zeros_after_gzip_are_padding_and_anything_else_is_a_fault() -> None:
    assert inflate(gzip.compress(b"one") + bytes(8), max_bytes=10) == b"one"
    with pytest.raises(MalformedError, match="something else follows"):
        inflate(gzip.compress(b"one") + b"{}", max_bytes=10)


def test_gzip_that_is_cut_off_anywhere_is_a_fault() -> None:
    whole = gzip.compress(FRAME)
    for length in range(2, len(whole)):
        assert unreadable(whole[:length]).dlq_class == "inflate"


@given(at=st.integers(2, 200), with_=st.binary(min_size=1, max_size=4))
def test_gzip_with_a_fault_inside_is_never_taken_for_what_it_was_not(at: int, with_: bytes) -> None:
    whole = gzip.compress(FRAME, mtime=0)
    received = Session().receive(whole[:at] + with_ + whole[at + len(with_) :])
    assert received == Session().receive(FRAME) or isinstance(received, Unreadable)


def test_gzip_of_what_is_no_json_is_a_decode_fault_with_the_bytes_as_received() -> None:
    whole = gzip.compress(b"plain text")
    dead = unreadable(whole)
    assert (dead.dlq_class, dead.value, dead.size) == ("decode", whole, len(whole))


# -- properties --------------------------------------------------------------------------------------------------------

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
_OBJECTS = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(("type", "interactionId", "suggestions", "requestId", "code", "message"), _JSON)
    | {"type": st.sampled_from(["error", "heartbeat", 7])},
)


@given(data=st.binary() | st.binary().map(lambda tail: b"\x1f\x8b\x08" + tail) | st.binary().map(gzip.compress))
@example(data=b"\x1f\x8b")
def test_any_bytes_are_received(data: bytes) -> None:
    received = Session().receive(data)
    if isinstance(received, Unreadable):
        assert received.dlq_class in {"decode", "schema", "oversize", "inflate"}
        assert (received.value, received.size) == (data, len(data))


@given(message=_OBJECTS, escaped=st.booleans(), compressed=st.booleans())
def test_any_object_is_received_and_suggestions_are_valid_json(
    message: dict[str, Any], *, escaped: bool, compressed: bool
) -> None:
    data = json.dumps(message, ensure_ascii=escaped).encode(errors="surrogatepass")
    received = Session().receive(gzip.compress(data) if compressed else data)
    if isinstance(received, Suggestions):
        assert received.value == data
        decoded = json.loads(received.value.decode())
        assert isinstance(decoded["suggestions"], list)
        assert decoded["interactionId"] == received.interaction_id
        received.interaction_id.encode()


@given(tail=st.binary(max_size=20), at=st.integers(0, len(FRAME)))
def test_a_frame_with_a_fault_inside_is_unreadable_or_still_valid(tail: bytes, at: int) -> None:
    received = Session().receive(FRAME[:at] + tail + FRAME[at + len(tail) :])
    if isinstance(received, Suggestions):
        json.loads(received.value.decode())
