"""T9: what is kept of a list, in which order, and that each suggestion comes out as it went in."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core import ranking
from bridge.core.errors import MalformedError
from bridge.core.ranking import Options, decode_ranked, rank
from bridge.core.records import StoredRecord

_AT_MS = 1_767_607_200_120


def _frame(*suggestions: str, rest: str = "") -> bytes:
    return f'{{"interactionId":"i","suggestions":[{",".join(suggestions)}]{rest}}}'.encode()


def _ids(value: bytes | None, options: Options | None = None) -> list[object]:
    ranked = rank(value, at_ms=_AT_MS, options=options or Options())
    return [] if ranked.value is None else [each["id"] for each in json.loads(ranked.value)["rankedSuggestions"]]


def _suggestion(name: str, confidence: object, relevance: object) -> str:
    return json.dumps({"id": name, "confidence": confidence, "relevanceScore": relevance})


def test_keeps_confidence_of_at_least_0_75_and_sorts_by_the_weighted_scores() -> None:
    """T9: 0.6·relevance + 0.4·confidence, descending."""
    value = _frame(
        _suggestion("below", 0.7499999, 1),
        _suggestion("second", 0.75, 0.9),  # 0.84
        _suggestion("third", 1, 0.7),  # 0.82
        _suggestion("first", 0.9, 0.85),  # 0.87
    )
    assert _ids(value) == ["first", "second", "third"]


@pytest.mark.parametrize(
    ("fresh_for_s", "at_ms", "is_fresh"),
    [(30, 1_000, True), (30, 999, False), (30, 40_000, True), (0, 0, True), (0.5, 30_400, False)],
)
def test_a_list_is_fresh_for_a_while(fresh_for_s: float, at_ms: int, is_fresh: bool) -> None:
    assert ranking.is_fresh(at_ms, now_ms=31_000, options=Options(fresh_for_s=fresh_for_s)) is is_fresh


def test_ties_keep_the_order_in_which_they_came() -> None:
    value = _frame(*(_suggestion(name, 0.8, 0.5) for name in "dacb"))
    assert _ids(value) == ["d", "a", "c", "b"]


def test_weights_and_threshold_are_options() -> None:
    value = _frame(_suggestion("a", 0.5, 0.9), _suggestion("b", 0.9, 0.1), _suggestion("c", 0.4, 1))
    assert _ids(value, Options(min_confidence=0.5, relevance_weight=0, confidence_weight=1)) == ["b", "a"]
    assert _ids(value, Options(min_confidence=0, relevance_weight=1, confidence_weight=0)) == ["c", "a", "b"]


def test_the_ranked_list_is_these_bytes() -> None:
    """Golden: ranking again gives them again."""
    value = _frame(
        '{ "id":"b", "confidence":0.850, "relevanceScore":12345678901234567890 ,"x":[1,\n2.00, "\\u00e4é"]}',
        '{"id":"a","confidence":9.0e-1,"serial":98765432109876543210}',
        rest=',"metadata":{"processingLatencyMs":42.50},"type":"suggestions"',
    )
    ranked = rank(value, at_ms=_AT_MS, options=Options())
    assert ranked == rank(value, at_ms=_AT_MS, options=Options())
    assert (
        ranked.value
        == (
            '{"interactionId":"i","timestamp":"2026-01-05T10:00:00.120Z","rankedSuggestions":['
            '{ "id":"b", "confidence":0.850, "relevanceScore":12345678901234567890 ,"x":[1,\n2.00, "\\u00e4é"]},'
            '{"id":"a","confidence":9.0e-1,"serial":98765432109876543210}],"latencyMs":42.50}'
        ).encode()
    )
    assert (ranked.interaction_id, ranked.received, ranked.ranked) == ("i", 2, 2)


_text = st.text(st.characters(codec="utf-8"))
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
    max_leaves=5,
)
_score = st.none() | st.integers(-5, 5) | st.floats(-5, 5)


@given(
    drawn=st.lists(st.tuples(_score, _score, _json, st.sampled_from(["", " ", "\n\t"])), max_size=8),
    is_ascii=st.booleans(),
)
def test_every_suggestion_comes_out_byte_for_byte_in_a_stable_order(
    *, drawn: list[tuple[float | None, float | None, object, str]], is_ascii: bool
) -> None:
    spelled = [
        json.dumps({"confidence": confidence, "relevanceScore": relevance, "x": x}, ensure_ascii=is_ascii).replace(
            "{", "{" + space, 1
        )
        for confidence, relevance, x, space in drawn
    ]
    ranked = rank(_frame(*spelled), at_ms=0, options=Options())
    kept = [
        (0.6 * (relevance or 0) + 0.4 * confidence, text)
        for (confidence, relevance, _, _), text in zip(drawn, spelled, strict=True)
        if confidence is not None and confidence >= 0.75
    ]
    in_order = ",".join(text for _, text in sorted(kept, key=lambda pair: -pair[0]))
    assert (ranked.received, ranked.ranked) == (len(drawn), len(kept))
    assert (ranked.value or b"").decode() == (
        f'{{"interactionId":"i","timestamp":"1970-01-01T00:00:00.000Z","rankedSuggestions":[{in_order}],"latencyMs":0}}'
        if kept
        else ""
    )


def test_a_score_that_is_absent_or_null_counts_as_0() -> None:
    value = _frame('{"id":"a","confidence":null}', '{"id":"b"}', '{"id":"c","confidence":0.8,"relevanceScore":null}')
    assert _ids(value) == ["c"]
    assert _ids(value, Options(min_confidence=0)) == ["c", "a", "b"]


@pytest.mark.parametrize("field", ["confidence", "relevanceScore"])
@pytest.mark.parametrize("score", ["true", '"0.9"', "[1]", "{}", "1e999", "1" + "0" * 400])
def test_a_score_that_is_no_number_of_a_double_makes_the_record_a_dead_letter(field: str, score: str) -> None:
    with pytest.raises(MalformedError) as refused:
        rank(_frame(f'{{"{field}":{score}}}'), at_ms=0, options=Options())
    assert refused.value.dlq_class == "schema"
    assert field in refused.value.reason


@pytest.mark.parametrize(
    ("suggestion", "reason"),
    [
        ('{"confidence":"high"}', "Expected `float | null`, got `str` - at `$.suggestions[1].confidence`"),
        ("7", "Expected `object`, got `int` - at `$.suggestions[1]`"),
    ],
)
def test_the_reason_names_the_place_in_the_whole_list(suggestion: str, reason: str) -> None:
    with pytest.raises(MalformedError) as refused:
        rank(_frame('{"confidence":0.9}', suggestion), at_ms=0, options=Options())
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("value", "dlq_class"),
    [
        (None, "schema"),
        (b"", "decode"),
        (b"\xff", "decode"),
        (b"{]", "decode"),
        (_frame('{"x":NaN}'), "decode"),
        (_frame('{"x":01}'), "decode"),
        (_frame('{"x":"?"}').replace(b"?", b"\xff"), "decode"),
        (_frame('{"x":"?"}').replace(b"?", b"\xed\xa0\x80"), "decode"),
        (_frame() + b"x", "decode"),
        (_frame("[" * 5_000 + "]" * 5_000), "decode"),
        (b"[]", "schema"),
        (b"{}", "schema"),
        (b'{"interactionId":"i"}', "schema"),
        (b'{"suggestions":[]}', "schema"),
        (b'{"interactionId":5,"suggestions":[]}', "schema"),
        (b'{"interactionId":"","suggestions":[]}', "schema"),
        (b'{"interactionId":"%b","suggestions":[]}' % (b"i" * 257), "schema"),
        (b'{"interactionId":"i","suggestions":{}}', "schema"),
        (_frame("5"), "schema"),
        (_frame("{}", "null"), "schema"),
        (_frame('"s"'), "schema"),
    ],
)
def test_what_cannot_be_ranked_says_why(value: bytes | None, dlq_class: str) -> None:
    with pytest.raises(MalformedError) as refused:
        rank(value, at_ms=0, options=Options())
    assert refused.value.dlq_class == dlq_class


@pytest.mark.parametrize(
    ("metadata", "latency_ms"),
    [
        ('{"processingLatencyMs":42}', b"42"),
        ('{"processingLatencyMs":0.850}', b"0.850"),
        ('{"x":1}', b"0"),
        ('{"processingLatencyMs":null}', b"0"),
        ('{"processingLatencyMs":"42"}', b"0"),
        ('{"processingLatencyMs":true}', b"0"),
        ('{"processingLatencyMs":1e999}', b"0"),
        ("null", b"0"),
        ("5", b"0"),
    ],
)
def test_a_latency_keeps_its_digits_and_is_0_where_it_is_no_number(metadata: str, latency_ms: bytes) -> None:
    ranked = rank(_frame(_suggestion("a", 1, 1), rest=f',"metadata":{metadata}'), at_ms=0, options=Options())
    assert bytes(ranked.latency_ms) == latency_ms
    assert ranked.value is not None
    assert ranked.value.endswith(b'"latencyMs":%b}' % latency_ms)


def test_an_empty_list_and_one_with_nothing_left_have_no_value() -> None:
    assert rank(_frame(), at_ms=0, options=Options()).value is None
    nothing_left = rank(_frame(_suggestion("a", 0.1, 1)), at_ms=0, options=Options())
    assert (nothing_left.value, nothing_left.received, nothing_left.ranked) == (None, 1, 0)


def test_the_version_follows_from_the_options() -> None:
    assert ranking.version(Options()) == ranking.version(Options(relevance_weight=0.6))
    versions = {
        ranking.version(options)
        for options in (
            Options(),
            Options(min_confidence=0.7),
            Options(relevance_weight=0.4),
            Options(confidence_weight=0.6),
        )
    }
    assert len(versions) == 4
    assert all(len(version) == 16 for version in versions)


def _ranked_record(value: bytes | None, *, key: bytes = b"i") -> StoredRecord:
    return StoredRecord(topic="ranked-suggestions", key=key, value=value)


def test_reads_the_ids_of_what_it_ranked() -> None:
    value = rank(_frame(_suggestion("a", 1, 0), _suggestion("b", 1, 1)), at_ms=0, options=Options()).value
    ranked = decode_ranked(_ranked_record(value))
    assert (ranked.interaction_id, ranked.suggestion_ids) == ("i", ("b", "a"))


@pytest.mark.parametrize("spelled", ['{"x":1}', '{"id":null}', '{"id":5}', '{"id":1e999}', '{"id":["a"]}'])
def test_an_id_that_is_no_string_is_left_out(spelled: str) -> None:
    value = f'{{"interactionId":"i","rankedSuggestions":[{spelled},{{"id":"\\u0061"}}]}}'.encode()
    assert decode_ranked(_ranked_record(value)).suggestion_ids == ("a",)


def test_an_id_that_is_no_text_is_left_out() -> None:
    value = b'{"interactionId":"i","rankedSuggestions":[{"id":"\xff"}]}'
    assert decode_ranked(_ranked_record(value)).suggestion_ids == ()


@pytest.mark.parametrize(
    ("record", "dlq_class"),
    [
        (_ranked_record(None), "schema"),
        (_ranked_record(b"{"), "decode"),
        (_ranked_record(b'{"interactionId":"i"}'), "schema"),
        (_ranked_record(b'{"interactionId":"i","rankedSuggestions":[5]}'), "schema"),
        (_ranked_record(b'{"interactionId":"i","rankedSuggestions":[]}', key=b"j"), "key-mismatch"),
    ],
)
def test_a_list_that_someone_else_wrote_is_refused(record: StoredRecord, dlq_class: str) -> None:
    with pytest.raises(MalformedError) as refused:
        decode_ranked(record)
    assert refused.value.dlq_class == dlq_class


def test_a_ranked_list_is_json_for_everyone() -> None:
    ranked = rank(_frame(_suggestion("a", 1, 1)).replace(b'"i"', b'"\\"\\u0001\\\\"'), at_ms=0, options=Options())
    assert ranked.interaction_id == '"\x01\\'
    assert ranked.value is not None
    assert json.loads(ranked.value) == msgspec.json.decode(ranked.value)
    assert json.loads(ranked.value)["interactionId"] == '"\x01\\'
