"""config/bridge.toml documents every option as the code has it."""

import re
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from bridge.core.options import OneOf, Within
from bridge.settings import SECTIONS, Settings, load

_FILE = Path(__file__).parent.parent / "config" / "bridge.toml"
_UNITS = {
    "_ms": "Milliseconds",
    "_s": "Seconds",
    "_bytes": "Bytes",
    "_frames": "Frames",
    "_records": "Records",
}
_OPTIONS = [(section, option.name) for section, options in SECTIONS.items() for option in fields(options)]


def _documented() -> dict[str, dict[str, str]]:
    """The comment above each option, by section and option; the line itself is its last line."""
    sections: dict[str, dict[str, str]] = {}
    comment: list[str] = []
    for line in _FILE.read_text(encoding="utf-8").splitlines():
        if found := re.fullmatch(r"\[(\w+)\]", line):
            sections[found[1]] = {}
        elif found := re.match(r"(?:# )?(\w+) = ", line):
            list(sections.values())[-1][found[1]] = " ".join([*comment, line])
        comment = [*comment, line.removeprefix("# ")] if line.startswith("# ") else []
    return sections


def _rule(section: str, option: str) -> Within | OneOf | None:
    hint: Any = get_type_hints(SECTIONS[section], include_extras=True)[option]
    return next(iter(getattr(hint, "__metadata__", ())), None)


def test_the_file_as_it_is_gives_the_defaults() -> None:
    assert load(_FILE) == Settings()


def test_the_file_has_every_option_and_no_other_in_the_order_of_the_code() -> None:
    documented = [(section, option) for section, options in _documented().items() for option in options]
    assert documented == _OPTIONS


@pytest.mark.parametrize(("section", "option"), _OPTIONS)
def test_every_option_has_its_range_and_unit_above_it(section: str, option: str) -> None:
    text = _documented()[section][option]
    match _rule(section, option):
        case Within(low=low, high=high):
            assert f"{low:.15g} to {high:.15g}" in text
        case OneOf(words=words):
            assert f"One of {', '.join(words)}" in text
    unit = next((unit for suffix, unit in _UNITS.items() if option.endswith(suffix)), "")
    assert unit in text


@pytest.mark.parametrize(
    ("section", "option"),
    [(section, option.name) for section, options in SECTIONS.items() for option in fields(options) if not option.repr],
)
def test_a_secret_stands_there_as_a_comment_only(section: str, option: str) -> None:
    assert f"# {option} = " in _FILE.read_text(encoding="utf-8")
    assert f"BRIDGE_{section.upper()}__{option.upper()}" in _documented()[section][option]
