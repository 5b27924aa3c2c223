"""What `docs/topics.md` promises downstream teams is what the code writes and takes."""

import json
import re
from pathlib import Path

import pytest

from bridge.core.acceptance import Acceptance, decode_acceptance
from bridge.core.ranking import decode_ranked
from bridge.core.records import StoredRecord
from bridge.core.topics import Options, Topics, plans_of, topics_of
from bridge.core.values import decode_click, decode_subscription
from tests.fakes.world import World

_ROOT = Path(__file__).parent.parent
_PAGE = (_ROOT / "docs" / "topics.md").read_text(encoding="utf-8")
_TOPICS = topics_of(Options(partitions=1))
_DAY_MS = 24 * 60 * 60 * 1000


def _example(name: str) -> StoredRecord:
    (value,) = re.findall(rf"```json {name}\n(.*)\n```", _PAGE)
    key = json.loads(value)["interactionId"]
    return StoredRecord(topic=name, key=key.encode(), value=value.encode())


def test_its_examples_can_be_read() -> None:
    assert decode_subscription(_example("subscription")).expires_at
    assert decode_ranked(_example("ranked")).suggestion_ids == ("suggestion-001",)
    assert decode_click(_example("click")).click_id
    assert decode_acceptance(_example("acceptance")).accepted == 1


@pytest.mark.parametrize(
    ("name", "topic"),
    [
        ("ranked", _TOPICS.ranked_suggestions),
        ("acceptance", _TOPICS.interaction_acceptance),
        ("export", _TOPICS.acceptance_exports),
    ],
)
def test_its_examples_have_the_fields_that_are_written_in_their_order(name: str, topic: str) -> None:
    world = World(_TOPICS)
    world.frame("i-1", 0.9)
    world.rank()
    world.click("i-1", click_id="c-1")
    world.work()
    written = world.records[topic][0]
    assert list(json.loads(_example(name).value or b"")) == list(json.loads(written.value or b""))
    assert all(f"`{header}`" in _PAGE for header, _ in written.headers)


def test_it_names_every_field_of_an_acceptance() -> None:
    assert all(f"`{field}`" in _PAGE for field in Acceptance.__struct_encode_fields__)


def test_it_names_every_audit_event() -> None:
    """Those that the code names where it writes to the audit topic."""
    code = "\n".join(path.read_text(encoding="utf-8") for path in (_ROOT / "bridge").rglob("*.py"))
    called = re.findall(r"(?:_audit|audit_of|audit_from|_tell_click)\([^\"]*?\"([a-z]+_[a-z_]+)\"", code)
    assert {"subscription_started", "suggestions_superseded", "click_moved", "acceptance_exported"} <= set(called)
    assert [event for event in [*called, "input_lost"] if f"`{event}`" not in _PAGE] == []


def test_it_says_how_long_records_are_kept() -> None:
    for plan in plans_of(_TOPICS):
        kept_ms = plan.configs.get("retention.ms")
        kept = "(compacted)" if kept_ms is None else f"{int(kept_ms) // _DAY_MS} days"
        name = "dlq.*" if plan.name.startswith("dlq.") else plan.name
        (line,) = [line for line in _PAGE.splitlines() if line.startswith("|") and f"`{name}`" in line.split("|")[1]]
        assert kept in line


def test_topics_are_all_there() -> None:
    assert all(f"`{name}`" in _PAGE or name.startswith("dlq.") for name in Topics.names(_TOPICS))
