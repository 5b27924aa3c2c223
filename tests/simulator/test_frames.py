import gzip
import json
from random import Random
from typing import Any

from bridge.simulator.frames import garbage_frame, suggestions_frame


def frames(count: int, *, seed: int = 1) -> list[bytes]:
    chance = Random(seed)
    return [suggestions_frame(interaction_id="i-1", serial=n, at_ms=1_000 + n, chance=chance) for n in range(count)]


def suggestions_of(made: list[bytes]) -> list[dict[str, Any]]:
    return [suggestion for frame in made for suggestion in json.loads(frame)["suggestions"]]


def test_the_same_seed_makes_the_same_frames() -> None:
    assert frames(20) == frames(20)
    assert frames(20) != frames(20, seed=2)


def test_frames_have_the_size_and_the_fields_of_real_ones() -> None:
    made = [frame for frame in frames(300) if json.loads(frame)["suggestions"]]

    assert len(made) >= 290
    assert all(1_200 <= len(frame) <= 2_000 for frame in made)
    assert {len(json.loads(frame)["suggestions"]) for frame in made} == {3, 4, 5, 6}
    first = json.loads(made[0])
    assert first["serial"] == 0
    assert first["sentAt"] == 1_000
    assert first["metadata"]["processingLatencyMs"] >= 0


def test_confidences_are_good_low_missing_and_null() -> None:
    suggestions = suggestions_of(frames(300))
    confidences = [suggestion.get("confidence", "missing") for suggestion in suggestions]

    assert "missing" in confidences
    assert None in confidences
    assert any(isinstance(confidence, float) and confidence < 0.75 for confidence in confidences)
    assert any(isinstance(confidence, float) and confidence >= 0.75 for confidence in confidences)


def test_some_lists_have_nothing_above_the_threshold() -> None:
    best = [max((one.get("confidence") or 0 for one in suggestions_of([frame])), default=0) for frame in frames(300)]

    assert any(confidence < 0.75 for confidence in best)


def test_numbers_keep_digits_that_a_float_would_lose() -> None:
    assert any(b'0,"relevance' in frame for frame in frames(100))


def test_suggestion_ids_are_distinct_within_a_list() -> None:
    for frame in frames(100):
        ids = [suggestion["id"] for suggestion in json.loads(frame)["suggestions"]]
        assert len(ids) == len(set(ids))


def test_garbage_is_broken_in_eight_ways_and_named_by_its_serial() -> None:
    chance = Random(1)
    made = [garbage_frame(serial=serial, chance=chance) for serial in range(8)]

    assert len({body for body, _ in made}) == 8
    assert all(_is_unusable(body) for body, _ in made)
    plain = [body for body, _ in made if body[:2] != b"\x1f\x8b"]
    assert len(plain) == 6
    assert all(b"garbage %d" % serial in body for serial, (body, _) in enumerate(made) if body in plain)


def _is_unusable(body: bytes) -> bool:
    try:
        frame = json.loads(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)
    except (ValueError, OSError, EOFError):
        return True
    if not isinstance(frame, dict):
        return True
    is_suggestions = isinstance(frame.get("interactionId"), str) and isinstance(frame.get("suggestions"), list)
    return not is_suggestions and ("type" not in frame or "suggestions" in frame)
